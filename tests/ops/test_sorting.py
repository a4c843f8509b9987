"""Sorting equals NumPy's stable sort for every number type, length and number of numbers that are kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.dtypes import COMPUTED
from bigmodel_core.graph.spec import Spec
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import compute

LENGTHS = (1, 2, 9, 47, 48, 100, 700)
"""Some sorted by insertion, some digit by digit."""


def numbers(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Numbers of which some are equal; of floats, some are infinite, NaN of either sign, 0 of either sign."""
    random = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return random.random(shape) < 0.5
    if not dtype.startswith("float"):
        span = np.iinfo(dtype)
        wide = random.integers(span.min, span.max, shape, dtype, endpoint=True)
        return np.where(random.random(shape) < 0.5, wide, (wide % 5).astype(dtype))
    found = np.round(random.normal(size=shape) * 9) / 4 * 10.0 ** random.integers(-9, 9, shape)
    special = random.choice([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan], shape)
    return np.where(random.random(shape) < 0.2, special, found).astype(dtype)


def order(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """NumPy's stable order; from the other end, which turns equal numbers round, twice turned round."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    last = x.shape[axis] - 1
    return last - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


@pytest.mark.parametrize("dtype", COMPUTED)
@pytest.mark.parametrize("descending", [False, True])
def test_numbers_are_sorted_as_numpy_does(dtype: str, descending: bool) -> None:
    for length in LENGTHS:
        for shape, axis in (((3, length), 1), ((length, 2), 0), ((2, length, 3), 1)):
            x = numbers(dtype, *shape)
            right = order(x, axis, descending)
            places = compute(lambda x, axis=axis: ops.argsort(x, axis, descending), x)
            np.testing.assert_array_equal(places, right)
            found = compute(lambda x, axis=axis: ops.sort(x, axis, descending), x)
            assert found.dtype == x.dtype
            np.testing.assert_array_equal(found, np.take_along_axis(x, right, axis))


@pytest.mark.parametrize("dtype", COMPUTED)
def test_the_largest_are_the_first_of_all(dtype: str) -> None:
    for length in LENGTHS:
        x = numbers(dtype, 2, length, seed=1)
        right = order(x, 1, True)
        for k in sorted({1, max(length // 9, 1), max(length // 2, 1), length}):
            values, places = (compute(lambda x, n=n, k=k: ops.top_k(x, k)[n], x) for n in (0, 1))
            np.testing.assert_array_equal(places, right[:, :k])
            np.testing.assert_array_equal(values, np.take_along_axis(x, right[:, :k], 1))


@settings(max_examples=40)
@given(st.lists(st.floats(width=32), min_size=1, max_size=200), st.integers(0, 199))
def test_any_floats(drawn: list[float], k: int) -> None:
    x = np.array(drawn, "float32")
    np.testing.assert_array_equal(compute(ops.argsort, x), order(x, 0, False))
    count = 1 + k % len(x)
    np.testing.assert_array_equal(compute(lambda x: ops.top_k(x, count)[1], x), order(x, 0, True)[:count])


@pytest.mark.parametrize(("function", "reference"), [(ops.argmax, np.argmax), (ops.argmin, np.argmin)])
def test_the_first_extreme_is_found_and_nan_wins(function: object, reference: object) -> None:
    for dtype, shape, axis in itertools.product(("float32", "int64"), [(60, 7), (9, 300), (300, 5)], (0, 1)):
        x = numbers(dtype, *shape, seed=2)
        if dtype == "float32":
            x[2:] = np.where(np.isnan(x[2:]), 1, x[2:])  # else almost all long rows have NaN
        found = compute(lambda x, axis=axis: function(x, axis), x)  # type: ignore[operator]  # functions, as the parameters say
        np.testing.assert_array_equal(found, reference(x, axis))  # type: ignore[operator]  # functions, as the parameters say


def test_a_free_axis_is_sorted_and_may_be_too_short() -> None:
    def build(x: Value) -> list[Value]:
        return [ops.sort(x, 0), *ops.top_k(x, 3, 0)]

    graph = Graph()
    with graph.active():
        made = build(graph.input("x", Spec(("N", 2))))
    program, variables = Program(graph, made), Variables(device_named("cpu"))
    x = numbers("float32", 5, 2)
    for size in (5, 3):
        found = program.run(variables, {"x": x[:size]})
        np.testing.assert_array_equal(found[0], np.sort(x[:size], 0))
        np.testing.assert_array_equal(found[2], order(x[:size], 0, True)[:3])
    with pytest.raises(ShapeError, match=r"k = 3 numbers along axis 0 of \(2, 2\)"):
        program.run(variables, {"x": x[:2]})
