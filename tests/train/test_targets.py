"""Targets, losses, metrics and weights by the outputs of a model, against PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import (
    BigmodelError,
    CheckpointError,
    ConfigError,
    DataError,
    GraphError,
    ShapeError,
    UnknownNameError,
    UsageError,
)

_generator = np.random.default_rng(0)
X = _generator.normal(size=(12, 5)).astype(np.float32)
LABELS = _generator.integers(0, 3, 12)
BOXES = _generator.normal(size=(12, 4)).astype(np.float32)
Y = {"class": LABELS, "box": BOXES}


class Pair(NamedTuple):
    kind: Any
    box: Any


@dataclass(frozen=True)
class Detector(bm.Layer):
    """Classes and boxes of one body."""

    form: str = "dict"
    body: bm.Layer = field(default_factory=lambda: bm.layers.Dense(8))
    head: bm.Layer = field(default_factory=lambda: bm.layers.Dense(3))
    box: bm.Layer = field(default_factory=lambda: bm.layers.Dense(4))

    def __call__(self, x):
        hidden = bm.ops.tanh(self.body(x))
        kind, box = self.head(hidden), self.box(hidden)
        if self.form == "dict":
            return {"class": kind, "box": box}
        return Pair(kind, box) if self.form == "named" else (kind, box)


LOSS = {"class": "cross_entropy", "box": ("huber", 0.5)}
FORMS = {
    "dict": (LOSS, Y, ("class", "box")),
    "named": (
        {"kind": "cross_entropy", "box": ("huber", 0.5)},
        {"kind": LABELS, "box": BOXES},
        ("kind", "box"),
    ),
    "tuple": (["cross_entropy", ("huber", 0.5)], (LABELS, BOXES), ("y_1", "y_2")),
    "tuple by name": ({"y_2": ("huber", 0.5), "y_1": "cross_entropy"}, (LABELS, BOXES), ("y_1", "y_2")),
    "dict by place": (["cross_entropy", ("huber", 0.5)], (LABELS, BOXES), ("class", "box")),
}


def _built(name: str = "dict", seed: int = 3) -> Detector:
    model = Detector(name.split()[0])
    model.build(bm.Spec(("N", 5)), seed=seed)
    return model


def _torch_twin(torch: Any, model: Any) -> dict[str, Any]:
    return {path: torch.tensor(array, requires_grad=True) for path, array in model.state().items()}


def _torch_outputs(torch: Any, p: dict[str, Any], x: np.ndarray) -> tuple[Any, Any]:
    hidden = torch.tanh(torch.tensor(x) @ p["body/weight"] + p["body/bias"])
    return hidden @ p["head/weight"] + p["head/bias"], hidden @ p["box/weight"] + p["box/bias"]


def _torch_loss(torch: Any, p: dict[str, Any]) -> Any:
    kind, box = _torch_outputs(torch, p, X)
    functional = torch.nn.functional
    return functional.cross_entropy(kind, torch.tensor(LABELS)) + 0.5 * functional.huber_loss(
        box, torch.tensor(BOXES)
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_and_its_gradients_are_those_of_the_weighted_sum(torch: Any, form: str):
    loss, target, _ = FORMS[form]
    model = _built(form)
    twin = _torch_twin(torch, model)
    expected = _torch_loss(torch, twin)
    expected.backward()
    found, gradients = bm.value_and_grad(model, loss)(X, target)
    assert found == pytest.approx(expected.item(), abs=1e-6)
    for path, gradient in gradients.items():
        np.testing.assert_allclose(gradient, twin[path].grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_five_steps_reach_the_parameters_of_pytorch(torch: Any, form: str):
    loss, target, _ = FORMS[form]
    model = _built(form)
    twin = _torch_twin(torch, model)
    optimizer = torch.optim.SGD(twin.values(), lr=0.1, momentum=0.9)
    step = bm.compile(model, loss, bm.optimizers.SGD(0.1, momentum=0.9))
    for _ in range(5):
        optimizer.zero_grad()
        expected = _torch_loss(torch, twin)
        expected.backward()
        optimizer.step()
        assert step(X, target) == pytest.approx(expected.item(), abs=1e-5)
    for path, array in model.state().items():
        np.testing.assert_allclose(array, twin[path].detach().numpy(), atol=1e-5)


def test_any_number_of_losses_stands_for_an_output(torch: Any):
    model = _built()
    loss = {"class": "cross_entropy", "box": ["huber", ("mean_absolute_error", 0.1), ("huber:delta=2", 2)]}
    step = bm.compile(model, loss, "sgd")
    twin = _torch_twin(torch, model)
    kind, box = _torch_outputs(torch, twin, X)
    functional, boxes = torch.nn.functional, torch.tensor(BOXES)
    parts = {
        "class_loss": functional.cross_entropy(kind, torch.tensor(LABELS)),
        "box_huber_1_loss": functional.huber_loss(box, boxes),
        "box_mean_absolute_error_loss": functional.l1_loss(box, boxes),
        "box_huber_3_loss": functional.huber_loss(box, boxes, delta=2.0),
    }
    weights = [1, 1, 0.1, 2]
    total = sum(part * weight for part, weight in zip(parts.values(), weights, strict=True))
    total.backward()
    found, gradients = bm.value_and_grad(model, loss)(X, Y)
    for path, gradient in gradients.items():
        np.testing.assert_allclose(gradient, twin[path].grad.numpy(), atol=1e-6)
    assert step(X, Y) == pytest.approx(total.item(), abs=1e-6) == pytest.approx(found, abs=1e-6)
    assert step.losses == pytest.approx({name: part.item() for name, part in parts.items()}, abs=1e-6)


def test_losses_of_the_same_name_are_told_apart_by_numbers():
    """One object twice, and an output that is called as a loss of another one."""

    class Two(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return {"a": x * self.parameter("scale", (), 1.0), "a_mean_squared_error": x + 1.0}

    once, y = bm.losses.MeanAbsoluteError(), {"a": X / 2, "a_mean_squared_error": X}
    loss = {"a": ["mean_squared_error", once, (once, 2.0)], "a_mean_squared_error": "mean_squared_error"}
    model = Two()
    step, expected = bm.compile(model, loss, bm.optimizers.SGD(0.0)), np.abs(X / 2).mean()
    parts = {
        "a_mean_squared_error_loss": (X**2).mean() / 4,
        "a_mean_absolute_error_2_loss": expected,
        "a_mean_absolute_error_3_loss": expected,
        "a_mean_squared_error_loss_2": 1.0,
    }
    total = (X**2).mean() / 4 + 3 * expected + 1.0
    assert step(X, y) == pytest.approx(total, abs=1e-5)
    assert step.losses == pytest.approx(parts, abs=1e-5)
    found = bm.Trainer(model, loss).evaluate((X, y))
    assert found == pytest.approx({"loss": total, **parts}, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_each_loss_and_metric_is_logged_by_the_name_of_its_output(form: str):
    loss, target, (first, second) = FORMS[form]
    trainer = bm.Trainer(
        Detector(form.split()[0]), loss, "adam", {first: ["accuracy"], second: "mean_absolute_error"}
    )
    logs = trainer.fit((X, target), epochs=2, batch_size=5, validation=0.25, verbose=False).last
    names = {"loss", f"{first}_loss", f"{second}_loss"}
    measured = {f"{first}_accuracy", f"{second}_mean_absolute_error"}
    assert {*names, *(f"val_{name}" for name in names | measured)} <= set(logs)
    assert logs["val_loss"] == pytest.approx(logs[f"val_{first}_loss"] + 0.5 * logs[f"val_{second}_loss"])
    assert logs["loss"] == pytest.approx(logs[f"{first}_loss"] + 0.5 * logs[f"{second}_loss"])
    assert trainer.evaluate((X, target)).keys() == names | measured


def test_the_loss_of_an_output_can_decide_the_best_epoch():
    trainer = bm.Trainer(Detector(), LOSS, "adam", monitor="val_box_loss")
    history = trainer.fit((X, Y), epochs=2, validation=0.25, verbose=False)
    assert trainer.state.best.value == min(history["val_box_loss"])


def test_an_output_without_a_loss_is_left_alone():
    before = (model := _built()).state()["head/weight"]
    bm.compile(model, {"box": "huber"}, "sgd")(X, {"box": BOXES})
    np.testing.assert_array_equal(model.state()["head/weight"], before)
    bm.compile(_built(), [None, "huber"], "sgd")(X, (LABELS, BOXES))


@pytest.mark.parametrize(
    ("loss", "target", "error", "words"),
    [
        ({"clas": "cross_entropy"}, Y, UnknownNameError, ["no output 'clas'", "did you mean 'class'"]),
        (LOSS, {"class": LABELS, "boxes": BOXES}, UnknownNameError, ["'boxes'", "did you mean 'box'"]),
        (LOSS, {"class": LABELS}, DataError, ["no 'box'"]),
        (LOSS, LABELS, DataError, ["one array", "class, box"]),
        (LOSS, (LABELS, BOXES, BOXES), DataError, ["3 targets", "2 outputs"]),
        (LOSS, (LABELS, None), DataError, ["no target '1'"]),
        (["huber", "huber", "huber"], Y, UsageError, ["3 outputs", "returns 2"]),
        ({"class": ("cross_entropy", float("nan"))}, Y, ConfigError, ["weight of the loss of 'class'"]),
        (("cross_entropy", 0.5), Y, UsageError, ["a pair of a loss and a weight"]),
        ({}, Y, UsageError, ["no loss"]),
        ({"class": "cross_entrop"}, Y, UnknownNameError, ["cross_entropy"]),
        (LOSS, {"class": LABELS[:5], "box": BOXES}, ShapeError, ["target 'class'"]),
    ],
    ids=lambda item: None,
)
def test_what_does_not_match_is_told(loss: Any, target: Any, error: Any, words: list[str]):
    with pytest.raises(error) as caught:
        bm.compile(_built(), loss, "sgd")(X, target)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_metrics_of_an_unknown_output_are_told_before_training():
    trainer = bm.Trainer(Detector(), LOSS, "sgd", {"clas": ["accuracy"]})
    with pytest.raises(UnknownNameError, match="no output 'clas'"):
        trainer.fit((X, Y), verbose=False)


def test_a_metric_of_one_output_says_what_to_do():
    trainer = bm.Trainer(Detector(), LOSS, "sgd", "accuracy")
    with pytest.raises(UsageError, match=r"returns 2 outputs \(class, box\), and accuracy") as caught:
        trainer.fit((X, Y), verbose=False)
    assert 'metrics={"class": "accuracy"}' in str(caught.value)


def test_a_run_with_losses_by_output_resumes_to_the_same_bits(tmp_path):
    def trained(folder: Any, epochs: int) -> bm.Trainer:
        trainer = bm.Trainer(Detector(), LOSS, "adam", {"class": ["accuracy"]}, out=folder)
        trainer.fit((X, Y), epochs=epochs, batch_size=5, validation=0.25, verbose=False)
        return trainer

    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "part", 2)
    again = bm.Trainer.resume(tmp_path / "part")
    history = again.fit((X, Y), epochs=4, verbose=False)
    for path, array in whole.network.state().items():
        np.testing.assert_array_equal(again.network.state()[path], array)
    assert history["val_class_accuracy"] == whole.history["val_class_accuracy"]
    with pytest.raises(CheckpointError, match="another loss"):
        bm.Trainer(bm.load(tmp_path / "part"), {**LOSS, "box": "huber"}, "adam").fit(
            (X, Y), 4, 5, 0.25, resume=tmp_path / "part", verbose=False
        )


# Functions as losses ----------------------------------------------------------------------------------------


def test_a_function_of_values_is_a_loss(torch: Any):
    model = bm.layers.Dense(4)
    model.build(bm.Spec(("N", 5)))

    def cubed(output, target):
        return bm.ops.absolute(output - target) ** 3.0

    value, gradients = bm.value_and_grad(model, cubed)(X, BOXES)
    twin = _torch_twin(torch, model)
    expected = ((torch.tensor(X) @ twin["weight"] + twin["bias"] - torch.tensor(BOXES)).abs() ** 3).mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradients["weight"], twin["weight"].grad.numpy(), rtol=1e-4, atol=1e-5)
    scalar = bm.value_and_grad(model, lambda output, target: bm.ops.mean(cubed(output, target)))(X, BOXES)
    assert scalar[0] == pytest.approx(value)


def test_a_function_takes_all_outputs_and_targets_in_their_form():
    def both(output, target):
        return bm.losses.CrossEntropy()(output["class"], target["class"]) + 0.5 * bm.losses.Huber()(
            output["box"], target["box"]
        )

    model = _built()
    found, expected = (bm.value_and_grad(model, loss)(X, Y) for loss in (both, LOSS))
    assert found[0] == pytest.approx(expected[0])
    by_output = {"class": "cross_entropy", "box": lambda output, target: bm.ops.huber(output - target) * 0.5}
    assert bm.value_and_grad(model, by_output)(X, Y)[0] == pytest.approx(expected[0])


def test_a_function_that_returns_something_else_is_told():
    for wrong in (lambda output, target: 3.0, lambda output, target: None):
        with pytest.raises(GraphError, match=r"<lambda> returned a (float|NoneType), expected a Value"):
            bm.compile(bm.layers.Dense(4), wrong, "sgd")(X, BOXES)
    with pytest.raises(BigmodelError, match="returned bool"):
        bm.compile(bm.layers.Dense(4), lambda output, target: output > target, "sgd")(X, BOXES)


def test_a_loss_that_takes_one_argument_is_told():
    class One(bm.Loss):
        def each(self, prediction):
            return bm.ops.square(prediction)

    for wrong, name in ((lambda output: output, "<lambda>"), (One(), "One.each"), ({"y": One()}, "One.each")):
        with pytest.raises(
            UsageError, match=rf"{name} is not a loss: it takes \(\w+\), and a loss is called with two"
        ) as caught:
            bm.compile(bm.layers.Dense(4), wrong, "sgd")
        assert "(output, target)" in str(caught.value)


def test_a_loss_called_on_arrays_is_told_and_compiled_it_takes_them(torch: Any):
    scores = _generator.normal(size=(12, 3)).astype(np.float32)
    for loss in (bm.losses.CrossEntropy(), bm.losses.Huber()):
        with pytest.raises(UsageError, match="its prediction is of type ndarray") as caught:
            loss(scores, LABELS)
        assert "bm.function(loss)(prediction, target)" in str(caught.value)
    found = bm.function(bm.losses.CrossEntropy())(scores, LABELS)
    expected = torch.nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(LABELS))
    assert found == pytest.approx(expected.item(), abs=1e-6)


def test_a_run_with_a_function_asks_for_it_again(tmp_path):
    def squared(output, target):
        return bm.ops.square(output - target)

    def trained(folder: Any, epochs: int) -> bm.Trainer:
        trainer = bm.Trainer(bm.Sequential(bm.layers.Dense(4)), squared, "adam", out=folder)
        trainer.fit((X, BOXES), epochs=epochs, verbose=False)
        return trainer

    whole = trained(tmp_path / "whole", 3)
    trained(tmp_path / "part", 2)
    with pytest.raises(CheckpointError, match=r"(?s)squared belongs to no plugin.*pass loss="):
        bm.Trainer.resume(tmp_path / "part")
    again = bm.Trainer.resume(tmp_path / "part", loss=squared)
    again.fit((X, BOXES), epochs=3, verbose=False)
    for path, array in whole.network.state().items():
        np.testing.assert_array_equal(again.network.state()[path], array)


# First dimensions of any name -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["batch", "unk__653", 6])
@pytest.mark.parametrize(
    "loss", ["cross_entropy", "hinge", "mean_squared_error", "huber", "binary_cross_entropy"]
)
def test_the_first_dimension_has_any_name_or_size(torch: Any, first: Any, loss: str):
    model = bm.Sequential(bm.layers.Dense(4))
    model.build(bm.Spec((first, 5)))
    target = LABELS if loss in ("cross_entropy", "hinge") else (BOXES > 0).astype(np.float32)
    same = bm.Sequential(bm.layers.Dense(4))
    same.build(bm.Spec(("N", 5)))
    same.load_state(model.state())
    step, other = bm.compile(model, loss, "sgd"), bm.compile(same, loss, "sgd")
    assert step(X[:6], target[:6]) == pytest.approx(other(X[:6], target[:6]), rel=1e-6)
    trainer = bm.Trainer(model, loss, "sgd")
    history = trainer.fit((X, target), epochs=1, batch_size=6, validation=(X, target), verbose=False)
    again = bm.Trainer(same, loss, "sgd")
    expected = again.fit((X, target), epochs=1, batch_size=6, validation=(X, target), verbose=False)
    assert history.last["val_loss"] == pytest.approx(expected.last["val_loss"], rel=1e-5)
    np.testing.assert_allclose(trainer.predict(X), again.predict(X), rtol=1e-5)


def test_a_fixed_batch_that_samples_do_not_fill_is_told():
    model = bm.Sequential(bm.layers.Dense(4))
    model.build(bm.Spec((6, 5)))
    trainer = bm.Trainer(model, "huber", "sgd")
    with pytest.raises(ConfigError, match="batches of 6"):
        trainer.fit((X, BOXES), batch_size=4, verbose=False)
    with pytest.raises(DataError, match=r"10 samples.*batches of 6"):
        trainer.fit((X[:10], BOXES[:10]), verbose=False)
