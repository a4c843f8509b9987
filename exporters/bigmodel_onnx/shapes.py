"""Shape arithmetic of imported files: vectors of dimensions that are free until a plan is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.dimensions import dim_parts, dim_sides
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.ops import concatenate, minimum, reshape
from bigmodel_core.ops.shape import size_of
from bigmodel_core.spec import Dim, dim_add, dim_divide, dim_max, dim_min, dim_multiply, dim_product


@dataclass(frozen=True)
class Dims:
    """A scalar or vector of dimensions, known while the graph is built.

    Args:
        dims: the dimensions.
        is_scalar: whether it is one number rather than a vector of one.
    """

    dims: tuple[Dim, ...]
    is_scalar: bool = False

    @classmethod
    def of(cls, item: Any) -> Dims | None:
        """Dimensions from dimensions or from constant integers; None from anything else."""
        if isinstance(item, Dims):
            return item
        if isinstance(item, np.ndarray) and item.dtype.kind in "iu" and item.ndim <= 1 and item.size <= 64:
            return cls(tuple(map(int, item.reshape(-1))), item.ndim == 0)
        return None

    def numbers(self) -> list[int]:
        """The dimensions where all are fixed.

        Raises:
            ExportError: one is free.
        """
        if not all(isinstance(dim, int) for dim in self.dims):
            raise ExportError(f"{self.dims} has to be fixed here.", fix="give the file fixed sizes there.")
        return [dim for dim in self.dims if isinstance(dim, int)]

    def value(self, graph: Graph, inputs: Sequence[Value], dtype: str = "int64") -> Value:
        """The same as numbers that are computed at run time."""
        parts = [_number(dim, graph, inputs, dtype) for dim in self.dims]
        if self.is_scalar:
            return parts[0]
        if all(isinstance(dim, int) for dim in self.dims):
            return graph.constant(np.asarray(self.dims, dtype))
        return concatenate([reshape(part, (1,)) for part in parts], 0)


def _number(dim: Dim, graph: Graph, inputs: Sequence[Value], dtype: str) -> Value:
    if isinstance(dim, int):
        return graph.constant(dim, dtype)
    for value in inputs:
        for axis in range(value.ndim):
            if value.shape[axis] == dim:
                return size_of(value, (axis,), dtype)
    sides = dim_sides(dim)
    if sides is not None:
        return minimum(*(_number(side, graph, inputs, dtype) for side in sides))
    if dim.isidentifier():
        raise ExportError(f"the dimension '{dim}' belongs to no input.")
    total: Value | None = None
    for number, factors in dim_parts(dim):
        product = graph.constant(number, dtype)
        for factor in factors:
            product = product * _number(factor, graph, inputs, dtype)
        total = product if total is None else total + product
    assert total is not None
    return total


def _floor_divide(a: Dim, b: Dim) -> Dim:
    quotient = a // b if isinstance(a, int) and isinstance(b, int) and b else dim_divide(a, b)
    if quotient is None:
        raise ExportError(
            f"the dimension ({a}) / ({b}) cannot be expressed.", fix="give the file fixed sizes there."
        )
    return quotient


_ARITHMETIC: dict[str, Callable[[Dim, Dim], Dim]] = {
    "Add": dim_add,
    "Sub": lambda a, b: dim_add(a, dim_multiply(b, -1)),
    "Mul": dim_multiply,
    "Div": _floor_divide,
    "Min": dim_min,
    "Max": dim_max,
}

HANDLED = (
    "Concat",
    "Gather",
    "Identity",
    "ReduceProd",
    "Reshape",
    "Slice",
    "Squeeze",
    "Unsqueeze",
    *_ARITHMETIC,
)
"""Operators that are followed on shapes."""


def compute(operator: str, items: Sequence[Dims], axis: int) -> Dims | None:
    """The result of an operator on shapes; None where it is none that shapes need.

    Args:
        operator: its name, one of `HANDLED`.
        items: its inputs.
        axis: the attribute of that name, 0 where there is none.
    """
    first = items[0]
    if operator in _ARITHMETIC and len(items) == 2:
        a, b = items
        count = max(len(a.dims), len(b.dims))
        left, right = (item.dims * count if len(item.dims) == 1 else item.dims for item in (a, b))
        if len(left) != len(right):
            return None
        pairs = zip(left, right, strict=True)
        return Dims(tuple(_ARITHMETIC[operator](x, y) for x, y in pairs), a.is_scalar and b.is_scalar)
    if operator == "Concat" and axis in (0, -1) and not any(item.is_scalar for item in items):
        return Dims(tuple(dim for item in items for dim in item.dims))
    if operator == "Gather" and axis == 0 and len(items) == 2:
        return Dims(tuple(first.dims[place] for place in items[1].numbers()), items[1].is_scalar)
    if operator == "Identity":
        return first
    if operator == "ReduceProd":
        return Dims((dim_product(first.dims),), True)
    if operator == "Slice" and len(items) >= 3:
        bounds = [item.numbers()[0] for item in items[1:3]]
        step = items[4].numbers()[0] if len(items) > 4 else 1
        return Dims(first.dims[bounds[0] : bounds[1] : step])
    if operator == "Squeeze" and len(first.dims) == 1:
        return Dims(first.dims, True)
    if operator == "Unsqueeze" and first.is_scalar:
        return Dims(first.dims)
    if operator == "Reshape" and len(items) == 2 and items[1].dims in ((-1,), (len(first.dims),)):
        return Dims(first.dims)
    return None
