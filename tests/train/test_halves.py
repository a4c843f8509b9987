"""A step in two halves: gradients as data, and their update; several batches added up for one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import (
    BigmodelWarning,
    ConfigError,
    GraphError,
    NumericsError,
    ShapeError,
    UsageError,
)

from .conftest import assert_same_bits, copy_dense, crashed_and_resumed, labelled, network_with_dropout

L, O = bm.layers, bm.optimizers


def net() -> Any:
    return bm.Sequential(L.Dense(16), L.Tanh(), L.Dense(3))


def built(model: Any, seed: int = 3) -> Any:
    model.build(bm.Spec(("N", 5)), seed=seed)
    return model


def mirrored(torch: Any, model: Any) -> Any:
    """The same network in PyTorch, with the parameters of a built one."""
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    copy_dense(model.state(), {"dense_1": theirs[0], "dense_2": theirs[2]})
    return theirs


def assert_same(one: Any, other: Any, **tolerance: float) -> None:
    for path, array in one.state().items():
        np.testing.assert_allclose(other.state()[path], array, err_msg=path, **(tolerance or {"rtol": 0}))


def batches(size: int = 16) -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = labelled(60)
    return [(x[at : at + size], y[at : at + size]) for at in range(0, 60, size)]


@pytest.mark.parametrize(
    "optimizer",
    [O.SGD(0.1, momentum=0.9, weight_decay=0.01), O.AdamW(0.01, clip_norm=0.5)],
    ids=["sgd", "adamw"],
)
def test_both_halves_are_the_whole_step_dropout_included(optimizer: Any) -> None:
    whole, halves = built(network_with_dropout()), built(network_with_dropout())
    step, apart = (bm.compile(model, "cross_entropy", optimizer, seed=5) for model in (whole, halves))
    for x, y in batches():
        loss, grads = apart.gradients(x, y)
        apart.apply(grads)
        assert step(x, y) == pytest.approx(loss, rel=1e-6)
    assert (apart.steps, apart.draws) == (4, 4)
    assert_same(whole, halves, rtol=1e-5, atol=1e-7)


def test_gradients_are_pytorchs_and_five_applied_steps_too(torch: Any) -> None:
    model = built(net())
    theirs = mirrored(torch, model)
    optimizer = torch.optim.Adam(theirs.parameters(), 0.01)
    step = bm.compile(model, "cross_entropy", O.Adam(0.01))
    x, y = labelled(60)
    for _ in range(5):
        optimizer.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        expected.backward()
        optimizer.step()
        loss, grads = step.gradients(x, y)
        step.apply(grads)
        assert loss == pytest.approx(expected.item(), abs=1e-5)
        np.testing.assert_allclose(grads["dense_1/weight"], theirs[0].weight.grad.T, atol=1e-5)
        np.testing.assert_allclose(grads["dense_2/bias"], theirs[2].bias.grad, atol=1e-5)
    np.testing.assert_allclose(model.state()["dense_1/weight"], theirs[0].weight.detach().T, atol=1e-5)


def test_noise_on_gradients_trains_as_in_pytorch(torch: Any) -> None:
    """With the variance 0.3 / (1 + t) ** 0.55 at step t (Neelakantan et al., 2015); draws are float64."""
    model, draw = built(net()), np.random.default_rng(0)
    theirs = mirrored(torch, model)
    optimizer = torch.optim.Adam(theirs.parameters(), 0.01)
    step = bm.compile(model, "cross_entropy", O.Adam(0.01))
    (x, y), paths = labelled(60), ("dense_1/weight", "dense_1/bias", "dense_2/weight", "dense_2/bias")
    for number in range(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        _, grads = step.gradients(x, y)
        for path, parameter in zip(paths, theirs.parameters(), strict=True):
            noise = draw.normal(0, (0.3 / (1 + number) ** 0.55) ** 0.5, grads[path].shape)
            parameter.grad += torch.tensor(noise.T)
            grads[path] = grads[path] + noise
        optimizer.step()
        step.apply(grads)
    for path, parameter in zip(paths, theirs.parameters(), strict=True):
        np.testing.assert_allclose(model.state()[path], parameter.detach().numpy().T, atol=1e-5)


def test_gradients_of_two_processes_averaged_are_those_of_the_whole_batch() -> None:
    one, other = built(net()), built(net())
    (x, y), optimizer = labelled(64), O.SGD(0.1, momentum=0.9)
    whole = bm.compile(one, "cross_entropy", optimizer)
    parts = bm.compile(other, "cross_entropy", optimizer)
    for _ in range(3):
        whole(x, y)
        first, second = parts.gradients(x[:32], y[:32])[1], parts.gradients(x[32:], y[32:])[1]
        parts.apply({path: (first[path] + second[path]) / 2 for path in first})
    assert_same(one, other, atol=1e-6)


def test_running_statistics_follow_the_batch_whose_gradients_are_taken() -> None:
    one, other = (built(bm.Sequential(L.Dense(4), L.BatchNorm(), L.Dense(3))) for _ in range(2))
    x, y = labelled(60)
    bm.compile(one, "cross_entropy", "sgd")(x, y)
    bm.compile(other, "cross_entropy", "sgd").gradients(x, y)
    path = "batch_norm_1/running_mean"
    np.testing.assert_array_equal(one.state()[path], other.state()[path])
    assert np.any(one.state()["dense_1/weight"] != other.state()["dense_1/weight"])


def test_wrong_gradients_are_named_and_change_nothing() -> None:
    model = built(net())
    step = bm.compile(model, "cross_entropy", O.Adam(0.1))
    with pytest.raises(GraphError, match="not built"):
        step.apply({})
    _, grads = step.gradients(*labelled(8))
    before = model.state()
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            {**grads, "dense_3/weight": grads["dense_1/weight"]},
            ShapeError,
            "'dense_3/weight' is not a parameter",
        ),
        (
            {path: grads[path] for path in list(grads)[1:]},
            ShapeError,
            "gradient of 'dense_1/weight' is missing",
        ),
        (
            {**grads, "dense_1/weight": grads["dense_1/weight"].T},
            ShapeError,
            r"dense_1/weight: expected shape \(5, 16\)",
        ),
        (
            {**grads, "dense_1/bias": np.full(16, np.nan)},
            NumericsError,
            "the gradient of 'dense_1/bias' is NaN",
        ),
        ([1, 2], UsageError, "expected arrays by path"),
        (None, UsageError, "no gradients to apply"),
    ]
    for wrong, error, message in cases:
        with pytest.raises(error, match=message):
            step.apply(wrong)
    assert_same_bits(before, model.state())
    assert step.steps == 0


# Accumulation -----------------------------------------------------------------------------------------------


def test_accumulated_batches_are_one_large_batch_ragged_ones_too() -> None:
    """Batches of 16, 16, 16 and 12: every sample counts the same; clipped once."""
    one, other = built(net()), built(net())
    x, y = labelled(60)
    optimizer = O.SGD(0.5, momentum=0.9, weight_decay=0.01, clip_norm=0.05)
    large, small = (bm.compile(model, "cross_entropy", optimizer) for model in (one, other))
    for _ in range(3):
        loss = large(x, y)
        losses = [(small.accumulate(*batch), len(batch[1])) for batch in batches()]
        small.apply()
        assert sum(item * count for item, count in losses) / 60 == pytest.approx(loss, rel=1e-6)
    assert_same(one, other, atol=1e-6)
    assert (small.steps, small.draws) == (3, 12)


@pytest.mark.parametrize("samples", [64, 90, 70])
def test_a_trainer_that_accumulates_is_one_with_larger_batches(samples: int) -> None:
    """90 samples: a window of four batches of 16, then one of 16 and 10; 70: the last has 6 samples."""
    optimizer, data = O.Adam(0.01, clip_norm=1.0), labelled(samples)
    models = [built(net()), built(net())]
    for model, (size, accumulate) in zip(models, ((64, 1), (16, 4)), strict=True):
        trainer = bm.Trainer(model, "cross_entropy", optimizer, accumulate=accumulate)
        trainer.fit(data, 3, size, verbose=False)
        assert trainer.state.steps == 3 * -(-samples // 64)
    assert_same(models[0], models[1], atol=1e-6)


def test_clipped_once_per_window_as_pytorch_clips(torch: Any) -> None:
    model = built(net())
    theirs = mirrored(torch, model)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.5)
    step = bm.compile(model, "cross_entropy", O.SGD(0.5, clip_norm=0.05))
    for _ in range(2):
        optimizer.zero_grad()
        for x, y in batches():
            loss = torch.nn.functional.cross_entropy(
                theirs(torch.tensor(x)), torch.tensor(y), reduction="sum"
            )
            (loss / 60).backward()
            step.accumulate(x, y)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        optimizer.step()
        step.apply()
    np.testing.assert_allclose(model.state()["dense_1/weight"], theirs[0].weight.detach().T, atol=1e-6)


def with_a_bad_sample() -> tuple[np.ndarray, np.ndarray]:
    x, y = labelled(64)
    x[37] = np.nan
    return x, y


def test_a_bad_batch_drops_its_window_and_says_so() -> None:
    x, y = with_a_bad_sample()
    trainer = bm.Trainer(built(net()), "cross_entropy", O.SGD(0.1), accumulate=2)
    with pytest.warns(
        BigmodelWarning, match=r"the batches \d+ to \d+ of this epoch changed nothing: .*'x' is"
    ):
        history = trainer.fit((x, y), 1, 8, verbose=False)
    assert trainer.step.steps == 3  # of four windows
    assert np.isfinite(history.last["loss"])
    assert all(np.isfinite(array).all() for array in trainer.step.state().values())


def test_the_windows_beside_a_bad_one_train_as_without_it() -> None:
    one, other = built(net()), built(net())
    first, second, *_ = batches()
    bad = (np.full((4, 5), np.nan, "float32"), np.zeros(4, "int64"))
    step, clean = (bm.compile(model, "cross_entropy", O.SGD(0.1)) for model in (one, other))
    step.accumulate(*first)
    with pytest.raises(NumericsError, match="'x' is"):
        step.accumulate(*bad)
    step.discard()
    for at_work in (step, clean):
        at_work.accumulate(*second)
        at_work.apply()
    assert_same_bits(one.state(), other.state())


def test_batches_that_count_nothing_update_as_one_large_batch_of_them_does() -> None:
    """Momentum goes on, and the parameters with it."""
    one, other = built(net()), built(net())
    optimizer, (x, y) = O.SGD(0.1, momentum=0.9), labelled(32)
    large, small = (bm.compile(model, "cross_entropy", optimizer) for model in (one, other))
    for weight in (np.ones(32, "float32"), np.zeros(32, "float32"), np.arange(32, dtype="float32") % 3):
        large(x, y, weight)
        for rows in (slice(0, 12), slice(12, 32)):
            small.accumulate(x[rows], y[rows], weight[rows])
        small.apply()
        assert_same(one, other, atol=1e-6)


def test_a_sum_of_gradients_that_overflows_is_not_kept() -> None:
    """Gradients of 2e38, each of which float32 can hold, and not their sum."""
    model = bm.layers.Dense(1, use_bias=False)
    model.build(bm.Spec(("N", 1)))
    model.load_state({"weight": np.zeros((1, 1), "float32")})
    step = bm.compile(model, lambda output, target: ops.sum(output * target), O.SGD(1e-38))
    x, y = np.full((1, 1), 1e19, "float32"), np.full((1, 1), 2e19, "float32")
    step.accumulate(x, y)
    with pytest.raises(NumericsError):
        step.accumulate(x, y)
    step.apply()
    assert model.state()["weight"][0, 0] == pytest.approx(-2.0)


def test_an_epoch_without_any_good_window_is_an_error() -> None:
    x, y = labelled(64)
    trainer = bm.Trainer(built(net()), "cross_entropy", O.SGD(0.1), accumulate=2)
    with warnings.catch_warnings(), pytest.raises(NumericsError, match="'x' is"):
        warnings.simplefilter("ignore", BigmodelWarning)
        trainer.fit((x * np.nan, y), 1, 16, verbose=False)


def test_a_bad_batch_alone_is_still_an_error() -> None:
    with pytest.raises(NumericsError):
        bm.Trainer(built(net()), "cross_entropy", O.SGD(0.1)).fit(with_a_bad_sample(), 1, 8, verbose=False)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_run_that_accumulates_resumes_to_the_same_bits(tmp_path: Path, step: int) -> None:
    def run(out: Path | None, *callbacks: Any) -> bm.Trainer:
        made = bm.Trainer(
            built(network_with_dropout()),
            "cross_entropy",
            O.Adam(0.01),
            seed=2,
            accumulate=3,
            out=out,
            callbacks=callbacks,
        )
        made.fit(labelled(90), 2, 16, verbose=False, checkpoint_every=1)
        return made

    whole = run(tmp_path / "whole")
    resumed = crashed_and_resumed(run, tmp_path / "run", step, labelled(90))
    assert resumed.accumulate == 3
    assert (resumed.step.steps, resumed.step.draws) == (whole.step.steps, whole.step.draws) == (4, 12)
    assert_same_bits(whole.step.state(), resumed.step.state())


def test_wrong_numbers_of_batches() -> None:
    for wrong in (0, 1.5, True):
        with pytest.raises(ConfigError, match="accumulate is"):
            bm.Trainer(net(), "cross_entropy", "sgd", accumulate=wrong)  # type: ignore[arg-type]  # it is refused


# Gradients of each sample -----------------------------------------------------------------------------------


def test_gradients_of_each_sample_are_pytorchs(torch: Any) -> None:
    model, (x, y) = built(net()), labelled(12)
    state = {path: torch.tensor(array) for path, array in model.state().items()}

    def loss_of(weights: Any, sample: Any, label: Any) -> Any:
        hidden = torch.tanh(sample @ weights["dense_1/weight"] + weights["dense_1/bias"])
        scores = hidden @ weights["dense_2/weight"] + weights["dense_2/bias"]
        return torch.nn.functional.cross_entropy(scores[None], label[None])

    expected = torch.func.vmap(torch.func.grad(loss_of), (None, 0, 0))(
        state, torch.tensor(x), torch.tensor(y)
    )
    step = bm.compile(model, "cross_entropy", "sgd")
    losses, grads = step.gradients(x, y, per_sample=True)
    for path, array in expected.items():
        np.testing.assert_allclose(grads[path], array, atol=1e-5, err_msg=path)
    loss, mean = step.gradients(x, y)
    assert losses.mean() == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(grads["dense_1/weight"].mean(0), mean["dense_1/weight"], atol=1e-6)


def test_statistics_of_the_batch_leave_no_gradient_to_a_sample() -> None:
    model, (x, y) = bm.Sequential(L.Dense(4), L.BatchNorm(), L.Dense(3)), labelled(12)
    with pytest.raises(GraphError, match="takes statistics of the batch") as caught:
        bm.compile(model, "cross_entropy", "sgd").gradients(x, y, per_sample=True)
    assert caught.value.where == "batch_norm_1"
    step = bm.compile(model, "cross_entropy", "sgd", freeze="batch_norm_1/*")
    assert step.gradients(x, y, per_sample=True)[1]["dense_1/bias"].shape == (12, 4)


def test_a_model_of_batches_of_one_size_has_no_gradients_of_samples() -> None:
    model, (x, y) = net(), labelled(12)
    model.build(bm.Spec((12, 5)))
    with pytest.raises(GraphError, match="takes batches of 12 only"):
        bm.compile(model, "cross_entropy", "sgd").gradients(x, y, per_sample=True)
