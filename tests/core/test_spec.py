"""Specs and the arithmetic of dimensions; the oracle is arithmetic of integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph.spec import (
    Dim,
    Spec,
    broadcast,
    dim_add,
    dim_divide,
    dim_max,
    dim_min,
    dim_multiply,
    dim_names,
    dim_product,
    dim_value,
    match,
)

NAMES = ("N", "T", "width")
SIZES = st.fixed_dictionaries({name: st.integers(0, 9) for name in NAMES})
LEAVES = st.one_of(st.integers(0, 12), st.sampled_from(NAMES))
NESTED = st.recursive(LEAVES, lambda inner: st.tuples(st.sampled_from("+*"), inner, inner), max_leaves=6)


def symbolic(tree: object) -> Dim:
    if isinstance(tree, tuple):
        return (dim_add if tree[0] == "+" else dim_multiply)(symbolic(tree[1]), symbolic(tree[2]))
    assert isinstance(tree, (int, str))
    return tree


def number(tree: object, sizes: dict[str, int]) -> int:
    if isinstance(tree, tuple):
        left, right = number(tree[1], sizes), number(tree[2], sizes)
        return left + right if tree[0] == "+" else left * right
    return sizes[tree] if isinstance(tree, str) else int(tree)


@given(NESTED, SIZES)
def test_sums_and_products_have_the_value_of_integers(tree: object, sizes: dict[str, int]) -> None:
    assert dim_value(symbolic(tree), sizes) == number(tree, sizes)


@given(NESTED, SIZES)
def test_the_text_of_a_dimension_means_the_same_when_read_again(tree: object, sizes: dict[str, int]) -> None:
    dim = symbolic(tree)
    (again,) = Spec((dim,)).shape
    assert again == dim
    assert dim_value(again, sizes) == number(tree, sizes)


@given(NESTED, NESTED, NESTED)
def test_equal_polynomials_have_one_text(x: object, y: object, z: object) -> None:
    a, b, c = symbolic(x), symbolic(y), symbolic(z)
    assert dim_add(a, b) == dim_add(b, a)
    assert dim_multiply(a, b) == dim_multiply(b, a)
    assert dim_multiply(a, dim_add(b, c)) == dim_add(dim_multiply(a, b), dim_multiply(a, c))


@given(NESTED, NESTED, st.integers(0, 1), SIZES)
def test_a_quotient_is_exact(x: object, y: object, rest: int, sizes: dict[str, int]) -> None:
    b = symbolic(y)
    a = dim_add(dim_multiply(symbolic(x), b), rest)
    quotient = dim_divide(a, b)
    if quotient is not None:
        assert dim_value(quotient, sizes) * dim_value(b, sizes) == dim_value(a, sizes)


@given(NESTED, st.lists(LEAVES.filter(lambda leaf: leaf != 0), min_size=1, max_size=3))
def test_what_was_multiplied_by_a_monomial_is_divided_by_it(tree: object, factors: list[Dim]) -> None:
    divisor = dim_product(factors)
    assert dim_divide(dim_multiply(symbolic(tree), divisor), divisor) == symbolic(tree)


@pytest.mark.parametrize(
    ("a", "b"), [("N", 2), (7, 2), ("N", "T"), ("N + 1", "N"), (3, 0), ("N + 1", "N + 2"), (0, 0)]
)
def test_what_leaves_a_rest_has_no_quotient(a: Dim, b: Dim) -> None:
    assert dim_divide(a, b) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("N*2", "2*N"), ("T*N", "N*T"), ("N + N", "2*N"), ("N - N", 0), ("2*3", 6), ("1 + N", "N + 1")],
)
def test_dimensions_are_written_in_one_way(text: str, expected: Dim) -> None:
    assert Spec((text,)).shape == (expected,)


@given(NESTED, SIZES)
def test_differences_have_the_value_of_integers(tree: object, sizes: dict[str, int]) -> None:
    dim = dim_add(symbolic(tree), dim_multiply(-1, "N"))
    assert dim_value(dim, sizes) == number(tree, sizes) - sizes["N"]
    if isinstance(dim, str):
        assert Spec((dim,)).shape == (dim,)


@given(NESTED)
def test_names_are_those_whose_sizes_matter(tree: object) -> None:
    dim = symbolic(tree)
    names = dim_names(dim)
    dim_value(dim, dict.fromkeys(names, 3))
    for name in names:
        with pytest.raises(ShapeError, match=name):
            dim_value(dim, {other: 3 for other in names if other != name})


@pytest.mark.parametrize(
    "dim", [-1, 1.5, "", "2N", "N/2", "N**2", None, True, "a b", "(N", "N)", "N //", "N % (", "-"]
)
def test_what_is_no_dimension_is_refused(dim: object) -> None:
    with pytest.raises(ShapeError, match="dimension"):
        Spec((dim,))


def test_unknown_number_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(DtypeError, match="float32, float64"):
        Spec((1,), "complex64")


def test_binding_gives_integers_and_refuses_what_has_no_size() -> None:
    spec = Spec(("N", "2*N + 1", 4), "int64")
    assert spec.bind({"N": 3}) == Spec((3, 7, 4), "int64")
    with pytest.raises(ShapeError, match="'N' has no size"):
        spec.sizes


def test_binding_to_a_negative_size_is_refused() -> None:
    with pytest.raises(ShapeError, match="-1"):
        Spec(("N - 3",)).bind({"N": 2})


SHAPES = st.lists(st.lists(st.sampled_from([1, 1, 2, 3]), max_size=3).map(tuple), min_size=1, max_size=3)


@given(SHAPES)
def test_broadcasting_follows_numpy(shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError, match="cannot broadcast"):
            broadcast(*shapes)
    else:
        assert broadcast(*shapes) == expected


def test_names_broadcast_with_themselves_and_with_one_alone() -> None:
    assert broadcast(("N", 1, 3), (4, 1), ("N", 4, 3)) == ("N", 4, 3)
    for other in ("M", 3):
        with pytest.raises(ShapeError, match="cannot broadcast"):
            broadcast(("N",), (other,))


def test_matching_binds_names_and_says_what_does_not_fit() -> None:
    known: dict[str, int] = {}
    assert match(("N", 3, "T"), (5, 3, 2), known) is None
    assert known == {"N": 5, "T": 2}
    assert match(("N", 4), (5, 3), {}) == "expected (N, 4), got (5, 3): axis 1 is fixed at 4"
    assert "expected 2 dimensions" in str(match(("N", 4), (5,), {}))
    assert "N is 5 elsewhere and 6 here" in str(match(("N",), (6,), known))
    assert "2*N is 10 and 11 here" in str(match(("2*N",), (11,), known))
    assert match(("2*N",), (10,), known) is None


# Minimums -------------------------------------------------------------------------------------------------

POSITIVE = st.fixed_dictionaries({name: st.integers(1, 9) for name in NAMES})
CUT = st.recursive(
    st.one_of(st.integers(0, 9), st.sampled_from((*NAMES, "2*N", "T - 1"))),
    lambda inner: st.tuples(st.sampled_from(("+", "-", "*", "min", "max")), inner, inner),
    max_leaves=6,
)
OF_DIMS = {"+": dim_add, "*": dim_multiply, "min": dim_min, "max": dim_max}
OF_NUMBERS = {"+": int.__add__, "*": int.__mul__, "min": min, "max": max}


def cut(tree: object, sizes: dict[str, int]) -> tuple[Dim, int]:
    """A tree as a dimension, and its value."""
    if not isinstance(tree, tuple):
        assert isinstance(tree, (int, str))
        return tree, dim_value(tree, sizes)
    (left, x), (right, y) = cut(tree[1], sizes), cut(tree[2], sizes)
    if tree[0] == "-":
        return dim_add(left, dim_multiply(right, -1)), x - y
    return OF_DIMS[tree[0]](left, right), OF_NUMBERS[tree[0]](x, y)


@given(CUT, POSITIVE)
def test_minimums_have_the_value_of_integers(tree: object, sizes: dict[str, int]) -> None:
    dim, wanted = cut(tree, sizes)
    assert dim_value(dim, sizes) == wanted
    if isinstance(dim, str):
        assert dim_names(dim) <= set(NAMES)
        assert Spec((dim,)).shape == (dim,)


def test_cuts_that_are_alike_have_one_text() -> None:
    assert dim_max(dim_add("T", -2), 0) == dim_add("T", dim_multiply(dim_min(2, "T"), -1)) == "T - min(T, 2)"
    assert dim_min(dim_min("T", 5), 3) == dim_min("T", 3) == "min(T, 3)"
    assert (dim_min("T", 1), dim_max("T", 1), dim_min("T + 3", 4)) == (1, "T", 4)


@pytest.mark.parametrize("text", ["min(T", "min(T)", "min(T, 2", "min(T, 2, 3)", "min()", "(T", "min(T, 2))"])
def test_texts_that_are_no_minimums_are_refused(text: str) -> None:
    with pytest.raises(ShapeError, match="is not a dimension"):
        Spec((text,))


def test_expressions_nested_deep_are_refused() -> None:
    with pytest.raises(ShapeError, match="nested too deep"):
        Spec(("min(T, " * 500 + "3" + ")" * 500,))
