"""`bm.expression`: what an elementwise op computes, as a tree; read here by Python's own operators."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops

RULES: dict[str, Any] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    ">": operator.gt,
    "<": operator.lt,
    "negative": operator.neg,
    "where": lambda condition, a, b: a if condition else b,
    **{name: getattr(math, name) for name in ("exp", "expm1", "log1p", "fabs", "tanh")},
}


def computed(expression: bm.Expression, **arguments: float) -> Any:
    """The number that an expression is."""
    known: dict[int, Any] = {}
    for part in expression.parts():
        if part.operator in ("number", "argument"):
            known[id(part)] = part.value if part.operator == "number" else arguments[part.value]
        else:
            known[id(part)] = RULES[part.operator](*(known[id(item)] for item in part.arguments))
    return known[id(expression)]


def op_of(function: Any) -> bm.Op:
    """The op that a function of bm.ops applies."""
    found: bm.Op = function(bm.Graph().input("x", bm.Spec((2,), "float64"))).node.op
    return found


@pytest.mark.parametrize(
    "function",
    [
        ops.silu,
        ops.softplus,
        ops.tanh,
        lambda x: ops.leaky_relu(x, 0.2),
        lambda x: ops.elu(x, 1.5),
    ],
)
def test_it_is_what_the_op_computes(function: Any) -> None:
    expression = bm.expression(op_of(function), "x")
    assert expression is not None
    x = np.linspace(-3, 3, 13)
    found = [computed(expression, x=value) for value in x.tolist()]
    np.testing.assert_allclose(found, bm.testing.compute(function, x), rtol=1e-12, atol=1e-15)


def test_fields_are_numbers_and_inputs_have_the_names_that_were_given() -> None:
    @dataclass(frozen=True)
    class Mixed(bm.Op):
        share: float
        cpu, cuda = bm.elementwise(lambda a, b, share: share * a + (1 - share) * b)

    expression = bm.expression(Mixed(0.25), "left", "right")
    assert expression is not None
    names = {part.value for part in expression.parts() if part.operator == "argument"}
    assert names == {"left", "right"}
    assert computed(expression, left=4.0, right=8.0) == 7.0


def test_the_position_is_called_index() -> None:
    class Counted(bm.Op):
        cpu, cuda = bm.elementwise(lambda x, index: x + index)

    expression = bm.expression(Counted(), "x")
    assert expression is not None
    assert computed(expression, x=2.0, index=5) == 7.0


def test_equal_parts_are_one_object() -> None:
    expression = bm.expression(op_of(lambda x: ops.square(x)), "x")
    assert expression is not None
    left, right = expression.arguments
    assert left is right


def test_other_ops_have_none() -> None:
    assert bm.expression(op_of(lambda x: ops.sum(x)), "x") is None


def test_what_is_not_one_expression_names_its_line() -> None:
    def long(x: float) -> float:
        for _ in range(1000):
            x = x * 0.5
        return x

    kernel = bm.elementwise(long)[0]
    op = type("Long", (bm.Op,), {"cpu": kernel})()
    with pytest.raises(bm.errors.KernelError, match=r"test_expression\.py, line \d+"):
        bm.expression(op, "x")
