"""The compiled training step: what it shares with other steps and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError, UsageError
from bigmodel_core.plan import capacity

from .conftest import assert_same_bits


def test_a_new_step_on_a_trained_model_starts_with_a_fresh_optimizer() -> None:
    x, y = np.eye(4, dtype="float32"), np.arange(4)
    trained, untouched = bm.layers.Dense(4), bm.layers.Dense(4)
    first = bm.compile(trained, "cross_entropy", bm.optimizers.Adam(0.1))
    for _ in range(3):
        first(x, y)
    untouched.build(x)
    untouched.load_state(trained.state())
    for model in (trained, untouched):
        bm.compile(model, "cross_entropy", bm.optimizers.Adam(0.1))(x, y)
    for path, array in untouched.state().items():
        np.testing.assert_array_equal(trained.state()[path], array)


def _problem() -> tuple[Any, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x, y = (
        random.standard_normal((64, 5)).astype("float32"),
        random.standard_normal((64, 1)).astype("float32"),
    )
    model = bm.layers.Dense(1, use_bias=False)
    model.build(bm.Spec(("N", 5)))
    model.load_state({"weight": np.ones((5, 1), "float32")})
    return model, x, y


def test_two_steps_on_one_model_keep_their_own_momentum() -> None:
    """Six steps with momentum, another optimizer in between that moves nothing: as by the formula, in
    float64."""
    model, x, y = _problem()
    first = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.05, momentum=0.9))
    found = [first(x, y) for _ in range(3)]
    second = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.0, momentum=0.9))
    second(x, y)
    found += [first(x, y) for _ in range(3)]
    weight, velocity, expected = np.ones((5, 1)), np.zeros((5, 1)), []
    for _ in range(6):
        error = x.astype("float64") @ weight - y
        expected.append(float((error**2).mean()))
        velocity = 0.9 * velocity + 2 * x.T.astype("float64") @ error / 64
        weight = weight - 0.05 * velocity
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_step_has_the_state_of_its_own_optimizer_and_the_models_parameters() -> None:
    model, x, y = _problem()
    first = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.05, momentum=0.9))
    second = bm.compile(model, "mean_squared_error", bm.optimizers.Adam(0.05))
    first(x, y)
    second(x, y)
    assert set(first.state()) == {"weight", "optimizer/velocity/weight"}
    assert set(second.state()) == {"weight", "optimizer/mean/weight", "optimizer/square/weight"}
    np.testing.assert_array_equal(first.state()["weight"], second.state()["weight"])
    before = second.state()
    with pytest.raises(
        ShapeError, match=r"fit the step \(missing: .*/velocity/weight; unknown: .*/mean/weight,"
    ):
        first.load_state(second.state(), 1)
    with pytest.raises(UsageError, match="expected arrays by path"):
        first.load_state(None, 1)  # type: ignore[arg-type]  # what is refused
    first.load_state({**first.state(), "optimizer/velocity/weight": np.ones((5, 1), "float32")}, 1)
    np.testing.assert_array_equal(second.state()["optimizer/mean/weight"], before["optimizer/mean/weight"])


def test_two_trainers_of_one_model_save_and_resume_each_their_own(tmp_path: Path) -> None:
    def trainer(model: Any, name: str, momentum: float) -> Any:
        optimizer = bm.optimizers.SGD(0.05, momentum=momentum)
        return bm.Trainer(model, "mean_squared_error", optimizer, out=tmp_path / name)

    model, x, y = _problem()
    one, other = trainer(model, "one", 0.9), trainer(model, "other", 0.5)
    one.fit((x, y), epochs=2, verbose=False)
    kept = one.step.state()["optimizer/velocity/weight"]
    other.fit((x, y), epochs=1, verbose=False)
    np.testing.assert_array_equal(one.step.state()["optimizer/velocity/weight"], kept)
    resumed = bm.Trainer.resume(tmp_path / "one")
    resumed.fit((x, y), epochs=2, verbose=False)
    np.testing.assert_array_equal(resumed.step.state()["optimizer/velocity/weight"], kept)


def test_gradients_in_training_draw_the_masks_that_steps_draw() -> None:
    """Call by call the masks are those of a training step with the same seed, and never the same twice."""

    def masks(seed: int) -> list[np.ndarray]:
        model = bm.Sequential(bm.layers.Dropout(0.5), bm.layers.Dense(1, use_bias=False))
        found = bm.value_and_grad(model, "mean_absolute_error", seed=seed, training=True)
        x, y = np.ones((1, 64), "float32"), np.full((1, 1), 1e6, "float32")
        return [found(x, y)[1]["dense_1/weight"][:, 0] != 0 for _ in range(3)]

    def of_step(seed: int) -> list[np.ndarray]:
        model = bm.Sequential(bm.layers.Dropout(0.5), bm.layers.Dense(1, use_bias=False))
        step = bm.compile(model, "mean_absolute_error", bm.optimizers.SGD(1.0), seed=seed)
        x, y = np.ones((1, 64), "float32"), np.full((1, 1), 1e6, "float32")
        step.build([x], y)
        drawn = []
        for _ in range(3):
            before = model.state()["dense_1/weight"]
            step(x, y)
            drawn.append((model.state()["dense_1/weight"] != before)[:, 0])
        return drawn

    first = masks(3)
    assert not any(np.array_equal(a, b) for a, b in [(first[0], first[1]), (first[1], first[2])])
    np.testing.assert_array_equal(first, masks(3))
    np.testing.assert_array_equal(first, of_step(3))
    assert not np.array_equal(first, masks(4))


def test_a_batch_that_was_refused_is_refused_or_run_as_a_whole_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there was no memory for it: not with the plan of the batch before it, on some of its samples."""
    x, y = np.random.default_rng(1).normal(size=(64, 5)).astype("float32"), np.arange(64) % 3
    step, other = (bm.compile(bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(0.1)) for _ in range(2))
    for made in (step, other):
        made(x[:32], y[:32])
    with monkeypatch.context() as patch:
        patch.setattr(capacity, "capacity", lambda: 1)
        for _ in range(2):
            with pytest.raises(bm.errors.OutOfMemoryError):
                step(x, y)
    assert step(x, y) == other(x, y)


def test_of_the_optimizer_of_a_built_step_only_rates_can_change(tmp_path: Path) -> None:
    x, y = np.eye(4, 5, dtype="float32"), np.arange(4) % 3
    O, groups = bm.optimizers, {"bias": {"learning_rate": 0.5, "momentum": 0.3}}
    first, second = bm.layers.Dense(3), bm.layers.Dense(3)
    for model in (first, second):
        model.build(bm.Spec(("N", 5)), seed=1)
    step = bm.compile(first, "cross_entropy", O.SGD(0.1, momentum=0.9, groups=groups))
    step.optimizer = O.SGD(0.2, momentum=0.9, groups={"bias": {"learning_rate": 0.0, "momentum": 0.3}})
    step(x, y)
    np.testing.assert_array_equal(first.state()["bias"], 0)
    other = bm.compile(
        second, "cross_entropy", O.SGD(0.2, momentum=0.9, groups={"bias": {"learning_rate": 0}})
    )
    other(x, y)
    np.testing.assert_array_equal(first.state()["weight"], second.state()["weight"])
    before, found = step.state(), step.gradients(x, y)[1]
    for wrong in (O.Adam(0.2), O.SGD(0.2, momentum=0.8, groups=groups), O.SGD(0.2, momentum=0.9)):
        step.optimizer = wrong
        for run in (lambda: step(x, y), lambda: step.apply(found)):
            with pytest.raises(UsageError, match=f"built with SGD.* is now {type(wrong).__name__}"):
                run()
    assert_same_bits(step.state(), before)
    step.optimizer = O.SGD(bm.schedules.Constant(0.2), momentum=0.9, groups=groups)
    step(x, y)
    trainer = bm.Trainer(first, "cross_entropy", O.SGD(0.1))
    trainer.fit((x, y), verbose=False)
    trainer.optimizer = O.Adam(0.1)
    trainer.out = tmp_path / "run"
    with pytest.raises(UsageError, match="built with SGD"):
        trainer.fit((x, y), verbose=False)
    assert not trainer.out.exists()
