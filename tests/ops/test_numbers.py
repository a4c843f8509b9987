"""Numbers at their limits: large and small ones, NaN, long sums, integers and truth values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.testing import compute, compute_gradients

LARGE = np.array([-1e4, -100.0, -50.0, 50.0, 100.0, 1e4])
SATURATING: list[tuple[Callable[..., Any], list[float]]] = [
    (ops.sigmoid, [0, 0, 0, 1, 1, 1]),
    (ops.tanh, [-1, -1, -1, 1, 1, 1]),
    (ops.softplus, [0, 0, 0, 50, 100, 1e4]),
    (ops.silu, [0, 0, 0, 50, 100, 1e4]),
    (ops.gelu, [0, 0, 0, 50, 100, 1e4]),
    (ops.gelu_tanh, [0, 0, 0, 50, 100, 1e4]),
    (ops.elu, [-1, -1, -1, 50, 100, 1e4]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("function", "expected"), SATURATING, ids=lambda item: type(item).__name__)
def test_activations_saturate_with_slopes_of_0_or_1(function: Any, expected: list[float], dtype: str) -> None:
    x = LARGE.astype(dtype)
    np.testing.assert_allclose(compute(function, x), expected, atol=1e-15)
    (gradient,) = compute_gradients(lambda v: ops.sum(function(v)), x)
    rising = 1.0 if expected[-1] > 1 else 0.0
    np.testing.assert_allclose(gradient, [0, 0, 0, rising, rising, rising], atol=1e-15)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_softmax_and_cross_entropy_do_not_overflow(shift: float) -> None:
    x = np.array([[1.0, 2.0, 3.0]], "float32") + np.float32(shift)
    e = np.exp([1.0, 2.0, 3.0]) / np.exp([1.0, 2.0, 3.0]).sum()
    np.testing.assert_allclose(compute(ops.softmax, x), [e], rtol=1e-6)
    np.testing.assert_allclose(compute(ops.log_softmax, x), np.log([e]), rtol=2e-3 if shift else 1e-6)
    np.testing.assert_allclose(
        compute(ops.cross_entropy, x, np.array([0])), [-np.log(e[0])], rtol=2e-3 if shift else 1e-6
    )


def test_nan_is_not_hidden() -> None:
    x = np.array([1.0, np.nan, 3.0])
    for function in (ops.relu, ops.leaky_relu, ops.sigmoid, ops.absolute, ops.sign):
        assert np.isnan(compute(function, x)).tolist() == [False, True, False], function
    assert np.isnan(compute(lambda v: ops.clip(v, 0, 2), x)).tolist() == [False, True, False]
    assert np.isnan(compute(lambda v: ops.maximum(v, 2.0), x)).tolist() == [False, True, False]
    assert np.isnan(compute(lambda v: ops.minimum(2.0, v), x)).tolist() == [False, True, False]
    for reduction in (ops.sum, ops.mean, ops.max, ops.min):
        assert np.isnan(compute(reduction, x))


def test_infinities_are_kept() -> None:
    x = np.array([-np.inf, np.inf])
    np.testing.assert_array_equal(compute(ops.relu, x), [0, np.inf])
    np.testing.assert_array_equal(compute(ops.exp, x), [0, np.inf])
    np.testing.assert_array_equal(compute(ops.sigmoid, x), [0, 1])
    np.testing.assert_array_equal(compute(lambda v: ops.max(v), x), np.inf)


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 200_000), 1), ((200_000, 3), 0), ((600_000,), 0), ((2, 100_000, 3), 1)]
)
def test_long_float32_sums_keep_their_digits(shape: tuple[int, ...], axis: int) -> None:
    x = np.random.default_rng(0).uniform(0, 1, shape).astype("float32")
    found = compute(lambda v: ops.sum(v, axis), x)
    np.testing.assert_allclose(found, x.astype("float64").sum(axis), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers(dtype: str) -> None:
    a, b = np.array([[7, 2, 3], [4, 5, 6]], dtype), np.array([1, 2, 2], dtype)
    np.testing.assert_array_equal(compute(ops.add, a, b), a + b)
    np.testing.assert_array_equal(compute(ops.subtract, a, b), a - b)
    np.testing.assert_array_equal(compute(ops.multiply, a, b), a * b)
    np.testing.assert_array_equal(compute(ops.maximum, a, b), np.maximum(a, b))
    np.testing.assert_array_equal(compute(ops.greater, a, b), a > b)
    np.testing.assert_array_equal(compute(lambda v: ops.sum(v, 1), a), a.sum(1))
    np.testing.assert_array_equal(compute(lambda v: ops.max(v, 0), a), a.max(0))
    np.testing.assert_array_equal(compute(lambda v: ops.transpose(v), a), a.T)
    for result in (compute(ops.add, a, b), compute(lambda v: v + 1, a), compute(lambda v: ops.sum(v, 1), a)):
        assert result.dtype == dtype


def test_large_integers_keep_all_digits() -> None:
    x = np.array([2**53 + 1, -(2**62)])
    np.testing.assert_array_equal(compute(lambda v: v + 1, x), x + 1)
    assert compute(ops.sum, x) == x.sum()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", [-1.5, 0.0, 2.75]),
        ("int64", [-1, 0, 2]),
        ("int32", [-1, 0, 2]),
        ("bool", [True, False, True]),
    ],
)
def test_casts(dtype: str, expected: list[Any]) -> None:
    found = compute(lambda v: v.astype(dtype), np.array([-1.5, 0.0, 2.75]))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


def test_truth_values_become_numbers() -> None:
    found = compute(lambda v: (v > 0).astype("float32") * 2.0, np.array([-1.0, 1.0], "float32"))
    np.testing.assert_array_equal(found, [0, 2])


def test_float_attributes_do_not_widen_float32() -> None:
    x = np.random.default_rng(0).normal(size=1000).astype("float32")
    third = np.float32(1 / 3)
    np.testing.assert_array_equal(compute(lambda v: ops.leaky_relu(v, 1 / 3), -np.abs(x)), third * -np.abs(x))
    np.testing.assert_array_equal(compute(lambda v: v * (1 / 3), x), x * third)


def test_the_gradient_of_ties_is_shared() -> None:
    (gradient,) = compute_gradients(ops.max, np.array([1.0, 3.0, 3.0]))
    np.testing.assert_array_equal(gradient, [0, 0.5, 0.5])
    left, right = compute_gradients(lambda a, b: ops.sum(ops.maximum(a, b)), np.ones(2), np.ones(2))
    np.testing.assert_array_equal(left + right, np.ones(2))


def test_gradients_stop_at_integers_and_comparisons() -> None:
    (gradient,) = compute_gradients(lambda v: ops.sum((v > 0).astype("float64") * v), np.array([-1.0, 2.0]))
    np.testing.assert_array_equal(gradient, [0, 1])
