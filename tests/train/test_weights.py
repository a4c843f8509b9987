"""Weights of samples and classes, masks, labels that are ignored and shares of classes, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import (
    BigmodelError,
    ConfigError,
    DataError,
    GraphError,
    ShapeError,
    UsageError,
)

_generator = np.random.default_rng(1)
X = _generator.normal(size=(10, 6)).astype(np.float32)
LABELS = _generator.integers(0, 3, 10)
WEIGHT = _generator.uniform(0, 2, 10).astype(np.float32)
SHARES = _generator.dirichlet([1, 1, 1], 10).astype(np.float32)
CLASS_WEIGHT = [1.0, 5.0, 0.5]
IGNORED = np.where(np.arange(10) % 3 == 0, -100, LABELS)


def _built(units: int = 3) -> Any:
    model = bm.layers.Dense(units)
    model.build(bm.Spec(("N", 6)), seed=5)
    return model


CASES = {
    "class weights": ({"class_weight": dict(enumerate(CLASS_WEIGHT))}, LABELS, {"weight": CLASS_WEIGHT}),
    "ignored": ({"ignore": -100}, IGNORED, {"ignore_index": -100}),
    "both": (
        {"class_weight": CLASS_WEIGHT, "ignore": -100},
        IGNORED,
        {"weight": CLASS_WEIGHT, "ignore_index": -100},
    ),
    "all, smoothed": (
        {"class_weight": CLASS_WEIGHT, "ignore": -100, "label_smoothing": 0.1},
        IGNORED,
        {"weight": CLASS_WEIGHT, "ignore_index": -100, "label_smoothing": 0.1},
    ),
    "ignored, smoothed": (
        {"ignore": -100, "label_smoothing": 0.2},
        IGNORED,
        {"ignore_index": -100, "label_smoothing": 0.2},
    ),
    "shares": ({}, SHARES, {}),
    "shares, weighted and smoothed": (
        {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.1},
        SHARES,
        {"weight": CLASS_WEIGHT, "label_smoothing": 0.1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cross_entropy_weights_as_pytorch_does(torch: Any, case: str):
    """The loss and five steps of a model."""
    options, target, theirs = CASES[case]
    weight = theirs.get("weight")
    reference = torch.nn.CrossEntropyLoss(
        **{**theirs, **({"weight": torch.tensor(weight)} if weight else {})}
    )
    model = _built()
    twin = {path: torch.tensor(array, requires_grad=True) for path, array in model.state().items()}
    optimizer = torch.optim.SGD(twin.values(), lr=0.3)
    step = bm.compile(model, bm.losses.CrossEntropy(**options), bm.optimizers.SGD(0.3))
    for _ in range(5):
        optimizer.zero_grad()
        expected = reference(torch.tensor(X) @ twin["weight"] + twin["bias"], torch.tensor(target))
        expected.backward()
        optimizer.step()
        assert step(X, target) == pytest.approx(expected.item(), abs=1e-5)
    for path, array in model.state().items():
        np.testing.assert_allclose(array, twin[path].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "huber", "binary_cross_entropy"])
def test_the_mean_is_over_the_weights_of_samples(torch: Any, loss: str):
    model = _built()
    target = LABELS if loss == "cross_entropy" else SHARES
    functional = torch.nn.functional
    each = {
        "cross_entropy": functional.cross_entropy,
        "huber": functional.huber_loss,
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    }[loss]
    twin = {path: torch.tensor(array, requires_grad=True) for path, array in model.state().items()}
    optimizer, weight = torch.optim.SGD(twin.values(), lr=0.3), torch.tensor(WEIGHT)
    step = bm.compile(model, loss, bm.optimizers.SGD(0.3))
    for _ in range(5):
        optimizer.zero_grad()
        found = each(torch.tensor(X) @ twin["weight"] + twin["bias"], torch.tensor(target), reduction="none")
        expected = (found.reshape(10, -1).mean(1) * weight).sum() / weight.sum()
        expected.backward()
        optimizer.step()
        assert step(X, target, WEIGHT) == pytest.approx(expected.item(), abs=1e-5)
    for path, array in model.state().items():
        np.testing.assert_allclose(array, twin[path].detach().numpy(), atol=1e-5)


def test_two_classes_of_one_score_weigh_as_two_scores_do(torch: Any):
    model, target = _built(1), LABELS % 2
    weights = torch.tensor([1.0, 5.0])
    scores = model(X)
    both = torch.tensor(np.concatenate([np.zeros_like(scores), scores], 1))
    expected = torch.nn.functional.cross_entropy(both, torch.tensor(target), weights).item()
    for y in (target, target.astype(np.float32)):
        loss = bm.losses.BinaryCrossEntropy(class_weight={0: 1.0, 1: 5.0})
        assert bm.value_and_grad(model, loss)(X, y)[0] == pytest.approx(expected, abs=1e-6)
    kept = np.arange(10) % 3 > 0
    expected = bm.value_and_grad(model, "binary_cross_entropy")(X[kept], target[kept])[0]
    found = bm.value_and_grad(model, "binary_cross_entropy:ignore=-1")(X, np.where(kept, target, -1))[0]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("units", [1, 3])
def test_hinge_leaves_out_what_is_ignored_and_weighs_classes(units: int):
    model, kept = _built(units), np.arange(10) % 3 > 0
    target = LABELS % 2 if units == 1 else LABELS
    weights = [1.0, 5.0] if units == 1 else CLASS_WEIGHT
    each = [bm.value_and_grad(model, "hinge")(X[i : i + 1], target[i : i + 1])[0] for i in range(10)]
    own = np.array(weights)[target] * kept
    loss = bm.losses.Hinge(class_weight=weights, ignore=-7)
    found = bm.value_and_grad(model, loss)(X, np.where(kept, target, -7))[0]
    assert found == pytest.approx((own * each).sum() / own.sum(), abs=1e-5)


class Steps(bm.Layer):
    """Scores of each step of a sequence: (N, T, 6) to (N, T, 3)."""

    def __call__(self, x):
        return bm.layers.Dense(3)(x)


LONG = _generator.normal(size=(4, 5, 6)).astype(np.float32)
STEPS = _generator.integers(0, 3, (4, 5))
MASK = np.arange(5) < np.array([[5], [3], [1], [4]])


def test_a_mask_of_steps_and_an_ignored_label_are_the_same(torch: Any):
    model = Steps()
    model.build(bm.Spec(("N", "T", 6)))
    padded = np.where(MASK, STEPS, -100)
    masked = bm.value_and_grad(model, "cross_entropy")(LONG, STEPS, MASK)
    ignored = bm.value_and_grad(model, "cross_entropy:ignore=-100")(LONG, padded)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(model(LONG)).transpose(1, 2), torch.tensor(padded), ignore_index=-100
    )
    assert masked[0] == pytest.approx(expected.item(), abs=1e-6) == pytest.approx(ignored[0], abs=1e-6)
    for path, gradient in masked[1].items():
        np.testing.assert_allclose(gradient, ignored[1][path], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_evaluation_leaves_out_what_counts_nothing_for_any_batch_size(batch_size: int):
    model = Steps()
    model.build(bm.Spec(("N", 5, 6)))
    padded = np.where(MASK, STEPS, -100)
    right = (model(LONG).argmax(-1) == STEPS)[MASK].mean()
    by_label = bm.Trainer(model, "cross_entropy:ignore=-100", metrics=["accuracy", "f1"])
    by_mask = bm.Trainer(model, "cross_entropy", metrics=["accuracy", "f1"])
    found = by_label.evaluate((LONG, padded), batch_size)
    assert found == pytest.approx(by_mask.evaluate((LONG, STEPS, MASK), batch_size), abs=1e-6)
    assert found["accuracy"] == pytest.approx(right)
    assert found["loss"] == pytest.approx(
        bm.value_and_grad(model, "cross_entropy")(LONG, STEPS, MASK)[0], abs=1e-6
    )


def test_metrics_ignore_a_label_and_take_shares():
    scores = _generator.normal(size=(10, 3))
    kept = IGNORED != -100
    for name in ("accuracy", "confusion_matrix", "precision", "recall", "f1", "top_k_accuracy:k=2"):
        metric = bm.registry.config.make("metric", f"{name}{',' if ':' in name else ':'}ignore=-100")
        plain = bm.registry.config.make("metric", name)
        np.testing.assert_array_equal(metric(scores, IGNORED), plain(scores[kept], LABELS[kept]))
    accuracy = bm.metrics.Accuracy()
    assert accuracy(scores, SHARES) == accuracy(scores, SHARES.argmax(1))


def test_training_takes_weights_from_tuples_and_splits():
    def trained(data: Any) -> dict[str, np.ndarray]:
        model = _built()
        bm.Trainer(model, "cross_entropy", "sgd").fit(data, epochs=2, batch_size=4, verbose=False)
        return model.state()

    kept = WEIGHT > 1
    by_tuple, by_split = trained((X, LABELS, WEIGHT)), trained(bm.Split(X, LABELS, weight=WEIGHT))
    for path, array in by_tuple.items():
        np.testing.assert_array_equal(array, by_split[path])
    assert not np.array_equal(by_tuple["weight"], trained((X, LABELS))["weight"])
    whole, part = _built(), _built()
    bm.compile(whole, "cross_entropy", "sgd")(X, LABELS, kept)
    bm.compile(part, "cross_entropy", "sgd")(X[kept], LABELS[kept])
    np.testing.assert_allclose(whole.state()["weight"], part.state()["weight"], atol=1e-6)


def test_batches_that_are_accumulated_count_by_their_weights():
    whole, parts = _built(), _built()
    bm.compile(whole, "cross_entropy:ignore=-100", "sgd")(X, IGNORED, WEIGHT)
    step = bm.compile(parts, "cross_entropy:ignore=-100", "sgd")
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        step.accumulate(X[rows], IGNORED[rows], WEIGHT[rows])
    step.apply()
    np.testing.assert_allclose(parts.state()["weight"], whole.state()["weight"], atol=1e-6)


class Heads(bm.Layer):
    """Three outputs of one body."""

    def __call__(self, x: Any) -> Any:
        body = bm.ops.tanh(bm.layers.Dense(4)(x))
        return {"a": bm.layers.Dense(3)(body), "b": bm.layers.Dense(3)(body), "c": bm.layers.Dense(3)(body)}


HEADS_LOSS = {
    "a": "cross_entropy:ignore=-100",
    "b": ["huber", ("mean_squared_error", 0.5)],
    "c": ("huber", 2.0),
}
HEADS_TARGET = {"a": IGNORED, "b": SHARES, "c": 1 - SHARES}
HEADS_WEIGHT = {
    "a": WEIGHT[::-1].copy(),
    "b": WEIGHT * (np.arange(10) >= 4),
}  # nothing of b in the first rows


def _heads() -> Any:
    model = Heads()
    model.build(bm.Spec(("N", 6)), seed=5)
    return model


def _rows(tree: Any, rows: slice) -> Any:
    return {name: array[rows] for name, array in tree.items()}


def _losses_of_heads(torch: Any, parameters: Any) -> Any:
    """What each sample adds to the loss, in PyTorch."""
    F = torch.nn.functional
    body = torch.tanh(torch.tensor(X) @ parameters["dense_1/weight"] + parameters["dense_1/bias"])
    a, b, c = (body @ parameters[f"dense_{n}/weight"] + parameters[f"dense_{n}/bias"] for n in (2, 3, 4))
    of_a, of_b = (torch.tensor(HEADS_WEIGHT[name]) for name in "ab")
    of_a = of_a * torch.tensor(IGNORED != -100)
    shares = torch.tensor(SHARES)
    first = F.cross_entropy(a, torch.tensor(IGNORED), ignore_index=-100, reduction="none") * of_a / of_a.sum()
    second = (F.huber_loss(b, shares, reduction="none") + F.mse_loss(b, shares, reduction="none") / 2).mean(1)
    third = F.huber_loss(c, 1 - shares, reduction="none").mean(1) * 2 / len(X)
    return first + second * of_b / of_b.sum() + third


def test_losses_that_count_differently_are_accumulated_to_those_of_the_large_batch(torch: Any):
    """Each batch has other sums of weights in each loss; one has none."""
    whole, parts = _heads(), _heads()
    twin = {path: torch.tensor(array, requires_grad=True) for path, array in whole.state().items()}
    optimizer = torch.optim.SGD(twin.values(), 0.3, momentum=0.9)
    large, small = (
        bm.compile(model, HEADS_LOSS, bm.optimizers.SGD(0.3, momentum=0.9)) for model in (whole, parts)
    )
    for _ in range(3):
        optimizer.zero_grad()
        _losses_of_heads(torch, twin).sum().backward()
        optimizer.step()
        large(X, HEADS_TARGET, HEADS_WEIGHT)
        for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
            small.accumulate(X[rows], _rows(HEADS_TARGET, rows), _rows(HEADS_WEIGHT, rows))
        small.apply()
    for path, array in parts.state().items():
        np.testing.assert_allclose(array, whole.state()[path], atol=1e-6, err_msg=path)
        np.testing.assert_allclose(array, twin[path].detach(), atol=1e-6, err_msg=path)


def test_a_trainer_accumulates_losses_that_count_differently():
    models = _heads(), _heads()
    for model, (size, accumulate) in zip(models, ((10, 1), (4, 3)), strict=True):
        trainer = bm.Trainer(model, HEADS_LOSS, "adam", accumulate=accumulate)
        trainer.fit((X, HEADS_TARGET, HEADS_WEIGHT), 3, size, verbose=False)
        trainer.fit((X, HEADS_TARGET), 1, size, verbose=False)  # all count alike
    for path, array in models[0].state().items():
        np.testing.assert_allclose(models[1].state()[path], array, atol=1e-6, err_msg=path)


class Seen(bm.Callback):
    """Keeps the loss of each update."""

    def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
        trainer.callback_state(self).setdefault("losses", []).append(logs["loss"])


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("case", ["weights", "classes", "heads"])
def test_the_logged_loss_is_the_mean_over_all_that_counts(torch: Any, case: str, accumulate: int):
    """Of batches of 4, 4 and 2 samples, in which other weights are, at a rate of 0."""
    model = _heads() if case == "heads" else _built()
    state = {path: torch.tensor(array) for path, array in model.state().items()}
    if case == "heads":
        loss, data = HEADS_LOSS, (X, HEADS_TARGET, HEADS_WEIGHT)
        expected = _losses_of_heads(torch, state).sum().item()
    else:
        scores = torch.tensor(X) @ state["weight"] + state["bias"]
        each = torch.nn.functional.cross_entropy(scores, torch.tensor(LABELS), reduction="none")
        counts = torch.tensor(WEIGHT)
        loss, data = "cross_entropy", (X, LABELS, WEIGHT)
        if case == "classes":
            counts = torch.tensor(CLASS_WEIGHT)[LABELS] * torch.tensor(IGNORED != -100)
            loss, data = bm.losses.CrossEntropy(class_weight=CLASS_WEIGHT, ignore=-100), (X, IGNORED)
        expected = ((each * counts).sum() / counts.sum()).item()
    trainer = bm.Trainer(model, loss, bm.optimizers.SGD(0.0), accumulate=accumulate, callbacks=[Seen()])
    history = trainer.fit(data, 2, 4, verbose=False)
    assert history["loss"] == pytest.approx([expected] * 2, rel=1e-6)
    found = trainer.evaluate(data)
    for name in ("loss", *trainer.step.losses):
        assert history.last[name] == pytest.approx(found[name], rel=1e-6)
    if accumulate == 3:
        assert trainer.callback_state(trainer.callbacks[0])["losses"] == pytest.approx([expected] * 2)


def test_an_epoch_in_which_nothing_counts_has_a_loss_of_0():
    history = bm.Trainer(_built(), "cross_entropy", "sgd").fit((X, LABELS, np.zeros(10)), 1, 4, verbose=False)
    assert history.last["loss"] == 0


def test_gradients_of_samples_that_count_differently_in_several_losses(torch: Any):
    model = _heads()
    state = {path: torch.tensor(array) for path, array in model.state().items()}
    expected = torch.func.jacrev(lambda parameters: _losses_of_heads(torch, parameters) * len(X))(state)
    step = bm.compile(model, HEADS_LOSS, "sgd")
    losses, grads = step.gradients(X, HEADS_TARGET, HEADS_WEIGHT, per_sample=True)
    np.testing.assert_allclose(losses, _losses_of_heads(torch, state) * len(X), atol=1e-5)
    for path, array in expected.items():
        np.testing.assert_allclose(grads[path], array, atol=1e-5, err_msg=path)


def test_a_batch_in_which_nothing_counts_changes_nothing():
    model = _built()
    before = model.state()
    assert bm.compile(model, "cross_entropy", "sgd")(X, LABELS, np.zeros(10)) == 0
    np.testing.assert_array_equal(model.state()["weight"], before["weight"])
    with pytest.raises(DataError, match="no sample counts"):
        bm.Trainer(model, "cross_entropy").evaluate((X, LABELS, np.zeros(10)))


def test_weights_by_output():
    class Two(bm.Layer):
        def __call__(self, x):
            return {"a": bm.layers.Dense(3)(x), "b": bm.layers.Dense(3)(x)}

    loss, target = {"a": "cross_entropy", "b": "huber"}, {"a": LABELS, "b": SHARES}
    model = Two()
    model.build(bm.Spec(("N", 6)))
    step = bm.compile(model, loss, bm.optimizers.SGD(1e-9))
    step(X, target, {"a": WEIGHT})
    alone = bm.Trainer(model, loss).evaluate((X, target, {"a": WEIGHT}))
    assert step.losses["a_loss"] == pytest.approx(alone["a_loss"], abs=1e-6)
    assert step.counted == {"a_loss": pytest.approx(WEIGHT.sum())}
    assert step.losses["b_loss"] == pytest.approx(bm.Trainer(model, loss).evaluate((X, target))["b_loss"])
    with pytest.raises(BigmodelError, match="no output 'c'"):
        step(X, target, {"c": WEIGHT})


@pytest.mark.parametrize(
    ("loss", "weight", "error", "words"),
    [
        ("cross_entropy", WEIGHT[:5], ShapeError, "weight"),
        ("cross_entropy", -WEIGHT, DataError, "negative"),
        ("cross_entropy", WEIGHT[:, np.newaxis], ShapeError, r"weights of shape \(N, 1\)"),
        (lambda output, target: bm.ops.mean(output), WEIGHT, ShapeError, "not their mean"),
        ("cross_entropy", {"y": WEIGHT}, DataError, "one loss takes all"),
    ],
    ids=["too few", "negative", "another shape", "a mean", "a dict"],
)
def test_weights_that_do_not_fit_are_told(loss: Any, weight: Any, error: Any, words: str):
    with pytest.raises(error, match=words):
        bm.compile(_built(), loss, "sgd")(X, LABELS, weight)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_of_classes_hold_no_label_to_ignore(smoothing: float):
    """As in PyTorch, where `ignore_index` is refused with targets that are floats."""
    loss, model = bm.losses.CrossEntropy(ignore=-100, label_smoothing=smoothing), _built()
    for run, first in (
        (bm.compile(model, loss, "sgd"), X),
        (bm.value_and_grad(model, loss), X),
        (bm.function(loss), SHARES),
    ):
        with pytest.raises(UsageError, match="ignores the label -100, and .* shares") as caught:
            run(first, SHARES)
        assert "weight of 0" in str(caught.value)


def test_options_that_make_no_sense_are_told():
    with pytest.raises(ConfigError, match="no weight for class 1"):
        bm.losses.CrossEntropy(class_weight={0: 1.0, 2: 5.0})
    with pytest.raises(ConfigError, match=r"no weight for class 3, but one for class 7.*\n.*leave 7 out"):
        bm.losses.CrossEntropy(class_weight={0: 1, 1: 1, 2: 1, 7: 5})
    for wrong in (-1, "a", 1.5):
        with pytest.raises(ConfigError, match=f"{wrong!r} is no class"):
            bm.losses.CrossEntropy(class_weight={0: 1, 1: 1, wrong: 5})
    with pytest.raises(ConfigError, match="no weights"):
        bm.losses.CrossEntropy(class_weight=[1.0, -1.0])
    with pytest.raises(ShapeError, match="2 class weights and 3 classes"):
        bm.compile(_built(), bm.losses.CrossEntropy(class_weight=[1.0, 2.0]), "sgd")(X, LABELS)
    step = bm.compile(_built(), "cross_entropy", "sgd")
    step(X, LABELS)
    with pytest.raises(DataError, match="the first one had none"):
        step(X, LABELS, WEIGHT)


def test_samples_are_told_apart_from_targets_and_weights_that_are_too_few():
    trainer = bm.Trainer(_built(), "cross_entropy", "sgd")
    with pytest.raises(DataError, match="inputs and targets differ in length: 10, 4") as caught:
        trainer.fit((X, LABELS[:4]), verbose=False)
    assert "one target for each sample" in str(caught.value)
    with pytest.raises(DataError, match="inputs and weights differ in length: 10, 5") as caught:
        trainer.fit((X, LABELS, WEIGHT[:5]), verbose=False)
    assert "one weight for each sample" in str(caught.value)
    with pytest.raises(DataError, match="inputs and targets of 'b' differ in length: 10, 4"):
        trainer.fit((X, {"a": LABELS, "b": LABELS[:4]}), verbose=False)
    with pytest.raises(DataError, match="input 1 and input 2 differ in length: 10, 4"):
        trainer.fit(((X, X[:4]), LABELS), verbose=False)


@pytest.mark.parametrize(
    ("options", "target", "weight"),
    [
        ({}, LABELS, WEIGHT),
        ({"class_weight": CLASS_WEIGHT}, LABELS, None),
        ({"class_weight": CLASS_WEIGHT, "ignore": -100}, IGNORED, WEIGHT),
    ],
    ids=["weights", "class weights", "all"],
)
def test_gradients_of_each_sample_count_as_samples_do(torch: Any, options: Any, target: Any, weight: Any):
    """Those of samples alone, in PyTorch, times what each counts among all."""
    model = _built()
    own = np.ones(10) if weight is None else weight.astype(float)
    if "class_weight" in options:
        own = own * np.array(CLASS_WEIGHT)[LABELS]
    own = np.where(target == -100, 0, own)
    state = {path: torch.tensor(array) for path, array in model.state().items()}

    def loss_of(parameters: Any, sample: Any, label: Any) -> Any:
        scores = sample @ parameters["weight"] + parameters["bias"]
        return torch.nn.functional.cross_entropy(scores[None], label[None])

    alone = torch.func.vmap(torch.func.grad(loss_of), (None, 0, 0))(
        state, torch.tensor(X), torch.tensor(LABELS)
    )
    step = bm.compile(model, bm.losses.CrossEntropy(**options), "sgd")
    losses, grads = step.gradients(X, target, weight, per_sample=True)
    for path, array in alone.items():
        share = (own * 10 / own.sum()).reshape(-1, *(1,) * (array.ndim - 1))
        np.testing.assert_allclose(grads[path], array.numpy() * share, atol=1e-5, err_msg=path)
    loss, mean = step.gradients(X, target, weight)
    assert losses.mean() == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(grads["weight"].mean(0), mean["weight"], atol=1e-6)


def test_a_loss_with_a_mean_of_its_own_takes_no_weights():
    class Own(bm.Loss):
        def each(self, prediction, target):
            return bm.ops.square(prediction)

        def __call__(self, prediction, target):
            return bm.ops.max(self.each(prediction, target))

    with pytest.raises(GraphError, match="a mean of its own"):
        bm.compile(_built(), Own(), "sgd")(X, LABELS, WEIGHT)


def test_a_batch_without_weights_counts_alike_where_others_have_some():
    step = bm.compile(_built(), "cross_entropy", bm.optimizers.SGD(1e-9))
    step(X, LABELS, WEIGHT)
    assert step(X, LABELS) == pytest.approx(bm.value_and_grad(_built(), "cross_entropy")(X, LABELS)[0])
