"""Sums of products by equation are NumPy's, over drawn equations, in floats and in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.testing import compute

SIZES = {"a": 2, "b": 3, "c": 4, "d": 1}


@st.composite
def equations(draw: Any) -> tuple[str, list[np.ndarray]]:
    """An equation with its operands, one of whose letters may come twice in an operand."""
    inputs = draw(st.lists(st.text(sorted(SIZES), max_size=3), min_size=1, max_size=3))
    letters = sorted({letter for text in inputs for letter in text})
    output = draw(st.none() | st.permutations(letters).map(lambda order: order[: draw(st.integers(0, 4))]))
    equation = ",".join(inputs) + ("" if output is None else "->" + "".join(output))
    generator = np.random.default_rng(len(equation))
    return equation, [
        generator.integers(-3, 4, [SIZES[letter] for letter in text]).astype("float64") for text in inputs
    ]


@settings(max_examples=60)
@given(equations())
def test_drawn_equations_give_what_numpy_gives(drawn: tuple[str, list[np.ndarray]]) -> None:
    equation, arrays = drawn
    found = compute(lambda *values: ops.einsum(equation, *values), *arrays)
    np.testing.assert_array_equal(found, np.einsum(equation, *arrays))


@pytest.mark.parametrize("equation", ["ab,bc->ac", "ab,b->a", "aa->a", "ab,ab"])
def test_integers_stay_integers(equation: str) -> None:
    inputs = equation.partition("->")[0].split(",")
    arrays = [np.arange(2 * len(text) + 2).reshape(-1)[: 2 ** len(text)] + 1 for text in inputs]
    arrays = [array.reshape((2,) * len(text)) for array, text in zip(arrays, inputs, strict=True)]
    found = compute(lambda *values: ops.einsum(equation, *values), *arrays)
    np.testing.assert_array_equal(found, np.einsum(equation, *arrays))
    assert found.dtype == "int64"


def test_a_product_of_matrices_is_one_op() -> None:
    from bigmodel_core.graph import Graph
    from bigmodel_core.graph.spec import Spec

    for equation in ("nij,nkj->nik", "nji,njk->nik", "nij,njk->nki", "nij,jk->nik"):
        graph = Graph()
        names = equation.partition("->")[0].split(",")
        sizes = {"n": "N", "i": 4, "j": 5, "k": 6}
        values = [graph.input(name, Spec(tuple(sizes[letter] for letter in name))) for name in names]
        ops.einsum(equation, *values)
        assert [type(node.op).__name__ for node in graph.nodes[2:]] == ["MatMul"], equation
