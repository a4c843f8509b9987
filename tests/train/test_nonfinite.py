"""A loss, gradient, moment or update that is not finite: an error that says so, and nothing changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import NumericsError
from bigmodel_core.kernels.cpu.engine import threads

L, O = bm.layers, bm.optimizers
OPTIMIZERS = [
    O.SGD(0.1),
    O.SGD(0.1, momentum=0.9, nesterov=True),
    O.Adam(0.1),
    O.AdamW(0.1),
    O.RMSprop(0.1, momentum=0.5),
    O.Adagrad(0.1),
    O.SGD(0.1, clip_norm=1.0),
    O.Adam(0.1, clip_value=1.0),
]


@dataclass(frozen=True)
class Root(bm.Layer):
    """x, and the root of 0: its derivative is infinite there, and infinity times 0 is no number."""

    def __call__(self, x: Any) -> Any:
        return x + bm.ops.sqrt(x * 0.0)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def state_of(step: Any) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = step.state()
    return found


def assert_same(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> None:
    assert before.keys() == after.keys()
    for path, array in before.items():
        np.testing.assert_array_equal(after[path], array, err_msg=path)


def refused(step: Any, x: np.ndarray, y: np.ndarray, match: str | None = None) -> NumericsError:
    """The error of a step, which changed nothing."""
    before = state_of(step)
    with pytest.raises(NumericsError, match=match) as caught:
        step(x, y)
    assert_same(before, state_of(step))
    return caught.value


# Gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_gradient_that_is_not_finite_changes_nothing(optimizer: Any) -> None:
    model = bm.Sequential(L.Dense(8), L.BatchNorm(), Root(), L.Dense(3))
    step = bm.compile(model, "cross_entropy", optimizer)
    x, y = normal(16, 5), np.arange(16) % 3
    step.build([x], y)
    refused(step, x, y, r"(?s)Root.*gradient of '.*' is NaN or infinite at step 1, though the")
    assert step.steps == 0


def _dense(width: int) -> bm.Layer:
    return bm.Sequential(L.Dense(width), Root(), L.Dense(2))


def _image(width: int) -> bm.Layer:
    return bm.Sequential(L.Conv2d(width, 3), Root(), L.Flatten(), L.Dense(2))


MODELS: dict[str, tuple[Callable[[], bm.Layer], tuple[int, ...]]] = {
    "checked by its operands": (lambda: _dense(256), (4, 300)),
    "looked at": (lambda: _dense(8), (4, 5)),
    "filters": (lambda: _image(4), (2, 3, 6, 6)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_layer_is_named_whose_gradient_is_not_finite_and_where_it_began(name: str) -> None:
    made, shape = MODELS[name]
    step = bm.compile(made(), "cross_entropy", O.SGD(0.1, momentum=0.9))
    x, y = normal(*shape), np.arange(shape[0]) % 2
    step.build([x], y)
    error = refused(step, x, y)
    assert "root_1 (Root)" in str(error)
    assert "weight' is NaN or infinite" in error.message
    assert error.fix and "nothing was changed" in error.fix
    assert "clip_norm" not in error.fix


def test_a_long_recurrence_whose_gradient_overflows_under_clipping() -> None:
    model = bm.Sequential(L.RNN(32, return_sequences=False), L.Dense(1))
    model.build(bm.Spec(("N", 300, 1)))
    state = model.state()
    state["rnn_1/recurrent_weight"] = normal(32, 32) * np.float32(0.8)
    model.load_state(state)
    step = bm.compile(model, "mean_squared_error", O.SGD(0.01, clip_norm=1.0))
    with pytest.raises(
        NumericsError, match=r"(?s)rnn_1 \(RNN\).*though the loss is finite.*clipping cannot help"
    ):
        step(normal(8, 300, 1) * np.float32(0.01), np.zeros((8, 1), "float32"))
    assert_same(state, model.state())


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_large_numbers_that_are_finite_train_as_they_should(rows: int) -> None:
    """Where the bound of a product proves nothing, its gradient is looked at: the step is the exact one."""
    x, y = normal(rows, 300, seed=1) * np.float32(1e12), normal(rows, 256, seed=2) * np.float32(1e12)
    step = bm.compile(L.Dense(256), "mean_squared_error", O.SGD(1e-24))
    step.build([x], y)
    assert step.programs["step"].program.steps
    before = {path: array.astype("float64") for path, array in state_of(step).items()}
    step(x, y)
    error = x.astype("float64") @ before["weight"] + before["bias"] - y
    expected = before["weight"] - 1e-24 * (2 / error.size) * x.T.astype("float64") @ error
    np.testing.assert_allclose(state_of(step)["weight"], expected, rtol=1e-4, atol=1e-5)


def test_large_dense_gradients_stay_tiles_of_their_product() -> None:
    """The gate does not cost what it is for: the update still follows the product, tile by tile."""
    step = bm.compile(L.Dense(256), "mean_squared_error", O.Adam())
    step.build([bm.Spec(("N", 300))], bm.Spec(("N", 256)))
    epilogues = [kernel.epilogue for planned in step.kernels(64) for kernel in planned.kernels]
    assert any("Sqrt" in epilogue for epilogue in epilogues)


def test_training_has_the_same_bits_at_any_number_of_threads() -> None:
    def trained(count: int) -> dict[str, np.ndarray]:
        usual = threads.num_threads()
        threads.set_num_threads(count)
        try:
            model = bm.Sequential(L.Dense(256), L.Relu(), L.Dense(3))
            step = bm.compile(model, "cross_entropy", O.Adam(clip_norm=0.1))
            for _ in range(3):
                step(normal(400, 300), np.arange(400) % 3)
        finally:
            threads.set_num_threads(usual)
        return state_of(step)

    assert_same(trained(1), trained(2))


# Losses, batches, states ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surprise(bm.Loss):
    """Infinite where a target is 0, though its gradient knows nothing of targets."""

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        return prediction - bm.ops.log(target.astype(prediction.dtype))


def test_a_loss_that_is_not_finite_changes_nothing_though_its_gradients_are() -> None:
    step = bm.compile(L.Dense(1), Surprise(), O.SGD(0.1))
    x, y = normal(4, 3), np.array([[1], [0], [1], [1]], "float32")
    step.build([x], y)
    before = state_of(step)
    with pytest.raises(NumericsError, match="the loss is NaN or infinite at step 1") as caught:
        step(x, y)
    assert not caught.value.is_written
    assert_same(before, state_of(step))


def test_a_batch_that_is_not_finite_is_named() -> None:
    step = bm.compile(L.Dense(1), "mean_squared_error", O.SGD(0.1))
    x = normal(4, 3)
    x[2, 1] = np.nan
    with pytest.raises(NumericsError, match="because the batch's 'x' is"):
        step(x, normal(4, 1))


def test_a_variable_that_is_not_finite_is_named() -> None:
    step = bm.compile(L.Dense(1), "mean_squared_error", O.SGD(0.1))
    x, y = normal(4, 3), normal(4, 1)
    step(x, y)
    step.load_state({**state_of(step), "weight": np.full((3, 1), np.inf, "float32")}, 1)
    with pytest.raises(NumericsError, match="because 'weight' already is"):
        step(x, y)


# Moments, updates, rates ------------------------------------------------------------------------------------


def test_a_moment_that_overflows_is_not_written() -> None:
    """The variance of inputs of 1e20 is beyond float32; the loss is finite all the same."""
    step = bm.compile(bm.Sequential(L.BatchNorm(), L.Dense(2)), "cross_entropy", "sgd")
    x, y = normal(16, 4), np.arange(16) % 2
    step(x, y)
    refused(step, x * np.float32(1e25), y)


@pytest.mark.parametrize("optimizer", [O.Adam(), O.RMSprop(), O.Adagrad()], ids=str)
def test_squares_that_overflow_are_an_error_and_not_a_step_of_nothing(optimizer: Any) -> None:
    step = bm.compile(L.Dense(1, use_bias=False), "mean_squared_error", optimizer)
    x, y = np.full((1, 1), 1e10, "float32"), np.zeros((1, 1), "float32")
    step.build([x], y)
    refused(step, x, y, r"(?s)new value of 'optimizer/.*/weight' is NaN or infinite.*clip_norm")


def test_parameters_that_grow_until_they_overflow_are_never_silent() -> None:
    """Decay times rate above 2 makes a weight grow that the loss does not see."""
    step = bm.compile(L.Dense(1), "mean_absolute_error", O.SGD(10.0, weight_decay=1.0))
    x, y = np.zeros((2, 3), "float32"), np.zeros((2, 1), "float32")
    with pytest.raises(NumericsError, match="overflowed: 'weight' became NaN or infinite") as caught:
        for _ in range(100):
            step(x, y)
    assert caught.value.is_written


@pytest.mark.parametrize("rate", [1e300, float("inf"), float("nan")])
def test_a_learning_rate_that_no_parameter_can_follow(rate: float) -> None:
    step = bm.compile(L.Dense(3), "cross_entropy", O.SGD(0.1))
    x, y = normal(4, 2), np.zeros(4, "int64")
    step(x, y)
    step.rate_scale = rate
    refused(step, x, y, re.escape(f"the learning rate is {rate * 0.1} at step 2"))


def test_a_step_too_far_is_undone_before_it_is_done() -> None:
    step = bm.compile(L.Dense(1), "mean_squared_error", O.SGD(1e25))
    x, y = np.full((2, 3), 1e8, "float32"), np.zeros((2, 1), "float32")
    step.build([x], y)
    refused(step, x, y, "new value of 'weight' is NaN or infinite")


# Clipping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [-30, -20, 0, 8, 10, 15])
def test_clipping_by_the_norm_at_any_magnitude(dtype: str, power: int) -> None:
    """With y = 0 and weights of 1 the gradient is 2 x (sum of x): its direction is x, whatever its norm."""
    scale = 10.0 ** (power if dtype == "float32" else power * 9)
    if dtype == "float64" and power == 15:
        scale = 1e150
    x = np.array([[3.0, 4.0]]) * scale
    model = L.Dense(1, use_bias=False)
    model.build(bm.Spec(("N", 2), dtype), dtype=dtype)
    model.load_state({"weight": np.ones((2, 1), dtype)})
    step = bm.compile(model, "mean_squared_error", O.SGD(0.1, clip_norm=1.0))
    step(x.astype(dtype), np.zeros((1, 1), dtype))
    gradient = np.longdouble(2) * x.T.astype(np.longdouble) * x.astype(np.longdouble).sum()
    norm = np.sqrt((gradient**2).sum())
    expected = 1 - np.longdouble(0.1) * gradient * min(1 / (norm + np.longdouble(1e-6)), np.longdouble(1))
    rtol = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(model.state()["weight"], expected.astype("float64"), rtol=rtol)


def test_the_norm_of_many_parameters_together(torch: Any) -> None:
    model = bm.Sequential(L.Dense(40), L.Relu(), L.Dense(3))
    x, y = normal(16, 30) * np.float32(3e4), np.arange(16) % 3
    model.build(x)
    start = {path: torch.tensor(array, requires_grad=True) for path, array in model.state().items()}
    hidden = torch.relu(torch.tensor(x) @ start["dense_1/weight"] + start["dense_1/bias"])
    scores = hidden @ start["dense_2/weight"] + start["dense_2/bias"]
    torch.nn.functional.cross_entropy(scores, torch.tensor(y)).backward()
    torch.nn.utils.clip_grad_norm_(start.values(), 0.5)
    torch.optim.SGD(start.values(), 0.1).step()
    bm.compile(model, "cross_entropy", O.SGD(0.1, clip_norm=0.5))(x, y)
    for path, array in model.state().items():
        np.testing.assert_allclose(array, start[path].detach().numpy(), rtol=1e-4, atol=1e-5, err_msg=path)


# Training loops ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_run_keeps_the_checkpoint_from_before(tmp_path: Path, epochs: int) -> None:
    model = bm.Sequential(L.Dense(8), Root(), L.Dense(1))
    trainer = bm.Trainer(model, "mean_squared_error", O.Adam(0.1), out=tmp_path / "run")
    with pytest.raises(NumericsError, match=r"(?s)Root.*last good checkpoint is .*last"):
        trainer.fit((normal(64, 3), normal(64, 1)), epochs=epochs, batch_size=64, verbose=False)
    for file in (tmp_path / "run").glob("*.safetensors"):
        assert all(np.isfinite(array).all() for array in bm.load(file).state().values())
    assert (tmp_path / "run" / "last.safetensors").is_file()


def test_a_model_without_trainable_parameters_cannot_be_trained() -> None:
    from bigmodel_core.errors import GraphError

    step = bm.compile(bm.Sequential(L.Relu(), L.Flatten()), "mean_squared_error", "sgd")
    with pytest.raises(GraphError, match="no trainable parameters"):
        step(normal(4, 2), normal(4, 2))
    with pytest.raises(GraphError, match="no trainable parameters"):
        bm.Trainer(L.Relu(), "mean_squared_error", "sgd").fit((normal(4, 2), normal(4, 2)), verbose=False)
