"""What is not finite stops a step before anything is overwritten; large finite numbers are taken exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import GraphError, NumericsError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((64, 3)).astype("float32"), RNG.standard_normal((64, 1)).astype("float32")


@dataclass(frozen=True)
class RootOfNothing(bm.Layer):
    """sqrt(0 x): 0, with an infinite derivative times 0, which is NaN."""

    def __call__(self, x: Any) -> Any:
        return bm.ops.sqrt(x * 0.0)


def broken(wide: int = 512) -> bm.Layer:
    """A model whose loss is finite and whose gradients are not: those of a large product, of a small one and
    of a normalisation, and moments that would move."""
    return bm.Sequential(
        bm.layers.Dense(wide),
        bm.layers.BatchNorm(),
        bm.layers.Dense(256),
        RootOfNothing(),
        bm.layers.Dense(1),
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        bm.optimizers.SGD(0.1),
        bm.optimizers.SGD(0.1, momentum=0.9, clip_norm=1.0),
        bm.optimizers.Adam(1e-3),
        bm.optimizers.AdamW(1e-3, weight_decay=0.1),
        bm.optimizers.RMSprop(1e-3, clip_value=1.0),
        bm.optimizers.Adagrad(1e-2),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_gradient_that_is_not_finite_changes_nothing(optimizer: bm.Optimizer) -> None:
    step = bm.compile(broken(), "mean_squared_error", optimizer)
    step.build([bm.Spec(("N", 3))], bm.Spec(("N", 1)))
    before = step.state()
    with pytest.raises(
        NumericsError, match=r"gradient of 'dense_1/weight' .* though the loss is finite"
    ) as found:
        step(X, Y)
    assert "RootOfNothing" in str(found.value) and "nothing was changed" in str(found.value)
    after = step.state()
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert step.steps == 0


def test_a_gradient_that_overflows_is_told_from_an_undefined_derivative() -> None:
    model = bm.layers.Dense(1, use_bias=False)
    model.build(bm.Spec(("N", 1)))
    model.load_state({"weight": np.zeros((1, 1), "float32")})
    step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.1))
    with pytest.raises(NumericsError, match="gradient of 'weight'") as found:
        step(np.array([[1e28]], "float32"), np.array([[1e12]], "float32"))
    assert "grew beyond" in str(found.value)
    assert model.state()["weight"] == 0


def test_clipping_does_not_let_the_gradient_of_an_exploding_recurrence_through() -> None:
    model = bm.Sequential(bm.layers.RNN(16, return_sequences=False), bm.layers.Dense(1))
    model.build(bm.Spec(("N", 400, 1)))
    state = model.state()
    for path in state:
        if "recurrent_weight" in path:
            state[path] = (RNG.standard_normal(state[path].shape) * 6 / 4).astype("float32")
    model.load_state(state)
    step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.01, clip_norm=1.0))
    x = (RNG.standard_normal((8, 400, 1)) * 0.01).astype("float32")
    try:
        loss = step(x, np.zeros((8, 1), "float32"))
    except NumericsError as error:
        assert "gradient of 'rnn_1" in str(error)
        assert all(np.array_equal(model.state()[path], state[path]) for path in state)
    else:
        assert np.isfinite(loss) and all(np.isfinite(array).all() for array in model.state().values())


def test_a_fit_of_one_step_says_so_and_its_checkpoints_are_finite(tmp_path: Path) -> None:
    trainer = bm.Trainer(broken(8), "mean_squared_error", bm.optimizers.SGD(0.1), out=tmp_path / "run")
    with pytest.raises(NumericsError, match="gradient"):
        trainer.fit((X, Y), epochs=1, batch_size=64, verbose=False)
    for file in (tmp_path / "run").glob("*.safetensors"):
        assert all(np.isfinite(array).all() for array in bm.load(file).state().values())


def test_checkpoints_of_before_stay_where_a_later_batch_breaks_the_step(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Root(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return bm.ops.sqrt(bm.ops.sum(x * x, axis=1, keepdims=True))

    model = bm.Sequential(bm.layers.Dense(1, use_bias=False), Root())
    trainer = bm.Trainer(model, "mean_squared_error", bm.optimizers.SGD(1e-3), out=tmp_path / "run")
    trainer.fit((X, Y), epochs=2, verbose=False)
    kept = bm.load(tmp_path / "run" / "last").state()
    zero = np.concatenate([X, np.zeros((1, 3), "float32")]), np.zeros((65, 1), "float32")
    with pytest.raises(NumericsError, match=r"last good checkpoint is .*last\.safetensors"):
        trainer.fit(zero, epochs=1, batch_size=65, verbose=False)
    now = bm.load(tmp_path / "run" / "last").state()
    assert all(np.array_equal(now[path], kept[path]) for path in kept)


# Large and small numbers that are finite -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_gradients_of_a_large_layer_are_taken_exactly(dtype: str) -> None:
    model = bm.layers.Dense(300, use_bias=False)
    model.build(bm.Spec(("N", 400), dtype), dtype=dtype)
    model.load_state({"weight": np.zeros((400, 300), dtype)})
    step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(1e-20))
    x = (RNG.standard_normal((8, 400)) * 1e11).astype(dtype)
    y = (RNG.standard_normal((8, 300)) * 1e7).astype(dtype)
    step(x, y)
    expected = 1e-20 * 2 / y.size * x.astype("float64").T @ y.astype("float64")
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model.state()["weight"], expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("size", [1e-18, 1e-3, 1e8, 1e9, 1e10])
def test_clipping_by_norm_neither_overflows_nor_underflows(size: float) -> None:
    model = bm.layers.Dense(1, use_bias=False)
    model.build(bm.Spec(("N", 2)))
    model.load_state({"weight": np.ones((2, 1), "float32")})
    step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.1, clip_norm=1.0))
    x = np.array([[size, size / 2]], "float32")
    step(x, np.zeros((1, 1), "float32"))
    gradient = 2 * x.astype("float64").T @ x.astype("float64") @ np.ones((2, 1))
    clipped = gradient * min(1.0, 1.0 / np.linalg.norm(gradient))
    np.testing.assert_allclose(model.state()["weight"], 1 - 0.1 * clipped, rtol=1e-5)


# Steps beside each other -----------------------------------------------------------------------------------


def test_two_steps_on_one_model_have_momentum_of_their_own() -> None:
    def losses(disturbed: bool) -> list[float]:
        model = bm.layers.Dense(1, use_bias=False)
        model.build(bm.Spec(("N", 3)))
        model.load_state({"weight": np.ones((3, 1), "float32")})
        first = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.05, momentum=0.9))
        found = [first(X, Y) for _ in range(3)]
        if disturbed:
            bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.0, momentum=0.9))(X, Y)
        return found + [first(X, Y) for _ in range(3)]

    x, y, w, v, expected = X.astype("float64"), Y.astype("float64"), np.ones((3, 1)), np.zeros((3, 1)), []
    for _ in range(6):
        error = x @ w - y
        expected.append(float((error**2).mean()))
        v = 0.9 * v + 2 * x.T @ error / len(x)
        w = w - 0.05 * v
    np.testing.assert_allclose(losses(False), expected, rtol=1e-5)
    np.testing.assert_allclose(losses(True), expected, rtol=1e-5)


def test_each_step_saves_and_takes_back_its_own_state_by_name() -> None:
    model = bm.layers.Dense(1)
    one = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.1, momentum=0.9))
    one(X, Y)
    other = bm.compile(model, "mean_squared_error", bm.optimizers.Adam(1e-3))
    other(X, Y)
    assert not {path for path in one.state() if path.startswith("optimizer/")} & {
        path for path in other.state() if path.startswith("optimizer/")
    }
    state, steps = one.state(), one.steps
    first = one(X, Y)
    one.load_state(state, steps)
    assert one(X, Y) == first


def test_dropout_in_value_and_grad_follows_the_seed_and_the_call() -> None:
    model = bm.Sequential(bm.layers.Dense(64), bm.layers.Dropout(0.5), bm.layers.Dense(1))
    model.build(bm.Spec(("N", 3)))

    def two(seed: int) -> list[float]:
        function = bm.value_and_grad(model, "mean_squared_error", seed=seed, training=True)
        return [function(X, Y)[0] for _ in range(2)]

    first, again, other = two(1), two(1), two(2)
    assert first == again and len({*first, *other}) == 4


def test_a_model_without_parameters_cannot_be_trained() -> None:
    with pytest.raises(GraphError, match="no trainable parameters"):
        bm.compile(bm.layers.Relu(), "mean_squared_error", bm.optimizers.SGD(0.1))(X, X)
