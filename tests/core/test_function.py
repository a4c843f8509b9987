"""Compiled functions of arrays and models: what they give, when they are traced, what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DtypeError, ShapeError, UsageError

L = bm.layers


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_a_function_of_arrays_gives_what_numpy_gives() -> None:
    @bm.function
    def attention(queries: Any, keys: Any, scale: float = 1.0) -> Any:
        return ops.softmax(queries @ ops.transpose(keys, (1, 0)) * scale)

    queries, keys = normal(4, 8), normal(6, 8, seed=1)
    for scale in (1.0, 0.5):
        expected = np.exp(queries.astype("float64") @ keys.T * scale)
        expected /= expected.sum(1, keepdims=True)
        np.testing.assert_allclose(attention(queries, keys, scale=scale), expected, rtol=1e-5)


def test_it_is_traced_once_for_each_form_of_its_arguments() -> None:
    seen: list[Any] = []

    @bm.function
    def double(x: Any, times: int = 2) -> Any:
        seen.append((x.shape, times))
        return x * float(times)

    for x, times in ((normal(3), 2), (normal(3, seed=1), 2), (normal(4), 2), (normal(3), 3), (normal(4), 2)):
        np.testing.assert_array_equal(double(x, times), x * times)
    assert set(seen) == {((3,), 2), ((4,), 2), ((3,), 3)}
    assert seen.count(((3,), 2)) == 2  # in training and in inference


def test_models_compute_with_the_parameters_they_have_at_the_call() -> None:
    teacher, student = bm.Sequential(L.Dense(8), L.Tanh(), L.Dropout(0.5), L.Dense(3)), L.Dense(3)
    x, y = normal(16, 5), np.arange(16) % 3
    teacher(x), student(x)

    @bm.function
    def distance(x: Any) -> Any:
        return ops.mean((teacher(x) - student(x)) ** 2)

    step = bm.compile(student, "cross_entropy", bm.optimizers.SGD(0.5))
    for _ in range(2):
        assert float(distance(x)) == pytest.approx(float(((teacher(x) - student(x)) ** 2).mean()), rel=1e-5)
        step(x, y)


def test_a_model_may_be_an_argument_and_a_result_a_dict() -> None:
    @bm.function
    def outputs(model: Any, x: Any) -> Any:
        return {"scores": model(x), "sum": ops.sum(x)}

    one, other, x = L.Dense(3), L.Dense(3), normal(4, 5)
    other.build(bm.Spec(("N", 5)), seed=1)
    for model in (one, other, one):
        np.testing.assert_allclose(outputs(model, x)["scores"], model(x), rtol=1e-6)
    assert sorted(outputs(one, x)) == ["scores", "sum"]


def test_layers_made_on_the_spot_keep_their_parameters_for_all_forms() -> None:
    @bm.function
    def scores(x: Any) -> Any:
        return L.Dense(3)(x)

    x = normal(6, 4)
    np.testing.assert_allclose(scores(x)[:2], scores(x[:2]), rtol=1e-6)


def test_gradients_inside_are_those_of_pytorch(torch: Any) -> None:
    model = bm.Sequential(L.Dense(6), L.Tanh(), L.Dense(1))
    x = normal(5, 4)
    state = model.build(x).state()

    @bm.function
    def slope(x: Any) -> Any:
        return ops.gradients(ops.sum(model(x)), [x])[0]

    theirs = torch.tensor(x, requires_grad=True)
    weights = {path: torch.tensor(array) for path, array in state.items()}
    hidden = torch.tanh(theirs @ weights["dense_1/weight"] + weights["dense_1/bias"])
    (hidden @ weights["dense_2/weight"] + weights["dense_2/bias"]).sum().backward()
    np.testing.assert_allclose(slope(x), theirs.grad, atol=1e-6)


def test_inside_another_function_or_a_layer_it_is_inlined() -> None:
    @bm.function
    def square(x: Any) -> Any:
        return x * x

    @bm.function
    def fourth(x: Any) -> Any:
        return square(square(x))

    @dataclass(frozen=True)
    class Squared(bm.Layer):
        inner: bm.Layer

        def __call__(self, x: Any) -> Any:
            return square(self.inner(x))

    np.testing.assert_allclose(fourth(normal(3)), normal(3) ** 4, rtol=1e-6)
    inner, x = L.Dense(3), normal(4, 5)
    np.testing.assert_allclose(Squared(inner)(x), inner(x) ** 2, rtol=1e-5)


def test_methods_and_any_number_of_arguments() -> None:
    class Weighted:
        def __init__(self, weight: float) -> None:
            self.weight = weight

        @bm.function
        def total(self, *parts: Any, **named: Any) -> Any:
            found = sum(parts[1:], parts[0]) * self.weight
            return found + named["shift"]

    x = normal(3)
    for weight in (1.0, 3.0):
        np.testing.assert_allclose(Weighted(weight).total(x, x, shift=x), x * (2 * weight + 1), rtol=1e-6)


def test_doubles_stay_doubles_where_that_is_said() -> None:
    plain = bm.function(lambda x: x + 1.0)
    precise = bm.function(dtype="float64")(lambda x: x + 1.0)
    x = np.array([1e-12])
    assert (plain(x).dtype, precise(x).dtype) == (np.float32, np.float64)
    assert precise(x)[0] == 1.0 + 1e-12


def test_what_is_wrong_is_said() -> None:
    product = bm.function(lambda x, y: x @ y)
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        product(normal(2, 3), normal(2, 3))
    with pytest.raises(ShapeError, match="^<lambda>: "):
        product(normal(2, 3), normal(2, 3))

    @bm.function
    def distance(x: Any, y: Any) -> Any:
        return ops.sum((x - y) ** 2)

    with pytest.raises(ShapeError, match="^distance: "):
        distance(normal(2, 3), normal(2, 4))
    with pytest.raises(TypeError, match=r"^distance\(\): missing a required argument: 'y'"):
        distance(normal(2, 3))
    with pytest.raises(UsageError, match="without an array"):
        bm.function(lambda x: x)(1.0)
    with pytest.raises(UsageError, match="'y' is a dict"):
        product(normal(2, 3), {"a": normal(3)})
    with pytest.raises(TypeError, match="missing"):
        product(normal(2, 3))
    with pytest.raises(DtypeError):
        bm.function(lambda x: ops.sqrt(x))(np.array([1, 4]))
    with pytest.raises(UsageError, match="a built model was called on Values") as caught:
        bm.function(lambda model, x: model(x))(L.Dense(3).build(normal(4, 5)), normal(4, 5))
    assert caught.value.fix == "call the layer that it was built from: network.layer(x)."
    with pytest.raises(UsageError, match="takes a function"):
        bm.function(3)  # type: ignore[call-overload]  # it is refused
