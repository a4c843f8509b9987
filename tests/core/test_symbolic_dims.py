"""Free dimensions as objects with arithmetic; the oracle is arithmetic of integers."""

from __future__ import annotations

import copy
import functools
import json
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.dimensions import (
    SymbolicDim,
    canonical,
    dim_add,
    dim_floor_divide,
    dim_least,
    dim_multiply,
    dim_names,
    dim_quotient,
    dim_value,
)

H, T = SymbolicDim("H"), SymbolicDim("T")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}
TREES = st.recursive(
    st.sampled_from((1, 2, 3, 5, "H", "T")),
    lambda inner: st.tuples(st.sampled_from(sorted(OPERATORS)), inner, inner),
    max_leaves=6,
)
SIZES = st.fixed_dictionaries({"H": st.integers(1, 12), "T": st.integers(1, 12)})


def computed(tree: Any, sizes: dict[str, int]) -> tuple[Any, int]:
    """A tree as a dimension, and its value."""
    if not isinstance(tree, tuple):
        return (SymbolicDim(tree), sizes[tree]) if isinstance(tree, str) else (tree, tree)
    (a, x), (b, y) = computed(tree[1], sizes), computed(tree[2], sizes)
    if y == 0 or (isinstance(b, int) and b == 0):
        b = y = 7
    return OPERATORS[tree[0]](a, b), OPERATORS[tree[0]](x, y)


@given(TREES, SIZES)
def test_expressions_have_the_value_of_integers_and_are_read_back(tree: Any, sizes: dict[str, int]) -> None:
    try:
        dim, wanted = computed(tree, sizes)
        found = dim_value(dim, sizes)
    except ShapeError as error:  # a divisor that is 0 for these sizes was replaced above
        assert "which is 0" in str(error) or "nested too deep" in str(error)
        return
    if found != wanted:  # so was one inside
        assert "//" in str(tree) or "%" in str(tree)
        assert _has_free_divisor(tree)
    if isinstance(dim, str):
        assert type(dim) is SymbolicDim
        assert canonical(str(dim)) == dim
        assert dim_names(dim) <= {"H", "T"}
        assert dim_least(dim) <= found


def _has_free_divisor(tree: Any) -> bool:
    if not isinstance(tree, tuple):
        return False
    return (tree[0] in ("//", "%") and not isinstance(tree[2], int)) or any(map(_has_free_divisor, tree[1:]))


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (T + 1, "T + 1"),
        (2 * T, "2*T"),
        (1 - T, "-T + 1"),
        (-T, "-T"),
        (T * H, "H*T"),
        (T**2, "T*T"),
        (T**0, 1),
        (T + "H", "H + T"),
        ("H" + T, "H + T"),
        (T + np.int64(2), "T + 2"),
        (np.int64(2) * T, "2*T"),
        ((H - 1) // 2 + 1, "(H + 1) // 2"),
        (((H + 1) // 2 + 1) // 2, "(H + 3) // 4"),
        ((2 * H + 1) // 4, "H // 2"),
        ((3 * H + 5) // 2, "(H + 1) // 2 + H + 2"),
        (7 // H, "7 // H"),
        ((6 * T) // (2 * T), 3),
        ((6 * T) / 2, "3*T"),
        (T % 2, "T - 2*(T // 2)"),
        ((4 * T) % 2, 0),
        (T - T, 0),
    ],
    ids=str,
)
def test_expressions_have_one_text(dim: Any, text: Any) -> None:
    assert dim == text
    assert repr(dim) == repr(text)


def test_a_dimension_is_its_text() -> None:
    assert {T: 1}["T"] == 1
    assert f"{T:>3}" == "  T"
    assert json.dumps([T + 1]) == '["T + 1"]'
    for again in (pickle.loads(pickle.dumps(T + 1)), copy.deepcopy(T + 1)):
        assert (type(again), again) == (SymbolicDim, "T + 1")
    assert all(type(dim) is SymbolicDim for dim in bm.Spec(("N", "T + 1")).shape)
    assert SymbolicDim("1 + T") == "T + 1"
    assert dim_quotient("(H + 1) // 2") == ("H + 1", 2)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (T + 1 > T, True),
        (T >= 1, True),
        (T < 1, False),
        (T > 0, True),
        (T <= 2 * T, True),
        (H // 2 <= H, True),
        (2 * ((H + 1) // 2) >= H, True),
        (H % 2 < 2, True),
        (H % 3 >= 0, True),
        (bool(T), True),
        (T == "T", True),
        (T == 1, False),
        (T != H, True),
    ],
)
def test_what_is_so_in_all_sizes_is_decided(answer: bool, wanted: bool) -> None:
    assert answer is wanted


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (lambda: T > 3, r"whether T > 3 cannot be decided(.|\n)*T may be any size from 1 on"),
        (lambda: H < T, "whether H < T cannot be decided"),
        (lambda: T >= 3, "whether T >= 3 cannot be decided"),
        (lambda: bool(T - 1), "whether T - 1 is 0 cannot be decided"),
        (lambda: max(T, 4), "bm.dim_max"),
        (lambda: int(T), "the dimension T has no number"),
        (lambda: float(T), "the dimension T has no number"),
        (lambda: range(T + 1), r"the dimension T \+ 1 has no number"),
        (lambda: np.zeros((2, T)), "the dimension T has no number"),
        (lambda: T * 0.5, r"T \* 0.5: dimensions are whole numbers"),
        (lambda: 1.0 - T, r"1.0 - T: dimensions are whole numbers"),
        (lambda: T / 2, "use //"),
        (lambda: T**-1, r"\(T\) \*\* \(-1\) is no dimension"),
        (lambda: T**H, r"\(T\) \*\* \(H\) is no dimension"),
        (lambda: T**0.5, r"T \*\* 0.5: dimensions are whole numbers"),
        (lambda: T // 0, "divided by 0"),
        (lambda: T % 0, "divided by 0"),
        (lambda: SymbolicDim("3"), "is the number 3"),
        (lambda: SymbolicDim("a b"), "is not a dimension"),
        (lambda: dim_value("4 // (T - 1)", {"T": 1}), "divides by T - 1, which is 0"),
    ],
)
def test_what_depends_on_the_size_is_refused_with_the_reason(question: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        question()


def test_what_is_no_size_is_a_type_error() -> None:
    for other in (None, [1], True, 1j):
        with pytest.raises(TypeError):
            T + other


def test_the_sizes_of_strided_volumes_multiply() -> None:
    """The product names many quotients, but none inside another."""
    sizes: list[Any] = [dim_add(dim_floor_divide(dim_add(name, 1), 2), 1) for name in ("D", "H", "W")]
    product = functools.reduce(dim_multiply, sizes, "N")
    assert dim_value(product, {"D": 5, "H": 8, "W": 1, "N": 3}) == 4 * 5 * 2 * 3
    assert dim_multiply(product, 2) == dim_add(product, product)
