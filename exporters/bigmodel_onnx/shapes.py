"""Shape arithmetic of imported files: vectors of dimensions that are free until a plan is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.dimensions import dim_least, dim_remainder
from bigmodel_core.graph.spec import (
    Dim,
    dim_add,
    dim_divide,
    dim_floor_divide,
    dim_max,
    dim_min,
    dim_multiply,
    dim_product,
    dim_subtract,
)
from bigmodel_core.ops import concatenate, reshape
from bigmodel_core.ops.sizes import size_of_dimension


@dataclass(frozen=True)
class Dims:
    """A scalar or vector of dimensions, known while the graph is built.

    Args:
        dims: the dimensions.
        is_scalar: whether it is one number rather than a vector of one.
        dtype: the type that it has as numbers.
    """

    dims: tuple[Dim, ...]
    is_scalar: bool = False
    dtype: str = "int64"

    @classmethod
    def of(cls, item: Any) -> Dims | None:
        """Dimensions from dimensions or from constant integers; None from anything else."""
        if isinstance(item, Dims):
            return item
        if isinstance(item, np.ndarray) and item.dtype.kind in "iu" and item.ndim <= 1 and item.size <= 64:
            return cls(tuple(map(int, item.reshape(-1))), item.ndim == 0, item.dtype.name)
        return None

    def numbers(self) -> list[int]:
        """The dimensions, if all are fixed.

        Raises:
            ExportError: one is free.
        """
        if not all(isinstance(dim, int) for dim in self.dims):
            raise ExportError(f"{self.dims} must be fixed here.", fix="give the file fixed sizes there.")
        return [dim for dim in self.dims if isinstance(dim, int)]

    def value(self, graph: Graph, dtype: str | None = None) -> Value:
        """The same as numbers that are computed at run time."""
        dtype = dtype or self.dtype
        parts = [size_of_dimension(dim, graph, dtype) for dim in self.dims]
        if self.is_scalar:
            return parts[0]
        if all(isinstance(dim, int) for dim in self.dims):
            return graph.constant(np.asarray(self.dims, dtype))
        return concatenate([reshape(part, (1,)) for part in parts], 0)


def _divide(a: Dim, b: Dim) -> Dim:
    """The quotient cut towards zero, as the operator has it."""
    if isinstance(a, int) and isinstance(b, int) and b:
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    exact = dim_divide(a, b)
    if exact is not None:
        return exact
    if dim_least(a) < 0 or dim_least(b) < 1:
        raise ExportError(
            f"the dimension ({a}) / ({b}) cannot be expressed: it may be negative.",
            fix="give the file fixed sizes there.",
        )
    return dim_floor_divide(a, b)


_ARITHMETIC: dict[str, Callable[[Dim, Dim], Dim]] = {
    "Add": dim_add,
    "Sub": dim_subtract,
    "Mul": dim_multiply,
    "Div": _divide,
    "Mod": dim_remainder,
    "Min": dim_min,
    "Max": dim_max,
}


def compute(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    """The result of an operator on shapes; None if it is none that shapes need.

    Args:
        operator: its name, one of `HANDLED`.
        items: its inputs.
        attributes: by name.
    """
    rule = HANDLED.get(operator)
    found = None if rule is None else rule(operator, items, attributes)
    return None if found is None else replace(found, dtype=items[0].dtype)


def _arithmetic(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    if len(items) != 2 or "axis" in attributes:
        return None
    a, b = items
    count = len(b.dims) if len(a.dims) == 1 else len(a.dims)
    left, right = (item.dims * count if len(item.dims) == 1 else item.dims for item in items)
    if len(left) != len(right):
        return None
    pairs = zip(left, right, strict=True)
    return Dims(tuple(_ARITHMETIC[operator](x, y) for x, y in pairs), a.is_scalar and b.is_scalar)


def _concat(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    if attributes.get("axis") not in (0, -1) or any(item.is_scalar for item in items):
        return None
    return Dims(tuple(dim for item in items for dim in item.dims))


def _gather(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    first, places = items
    if first.is_scalar or attributes.get("axis", 0) not in (0, -1):
        return None
    return Dims(tuple(first.dims[place] for place in places.numbers()), places.is_scalar)


def _product(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    if items[0].is_scalar:
        return items[0]
    axes = items[1].dims if len(items) > 1 else attributes.get("axes", ())
    if not axes and attributes.get("noop_with_empty_axes", 0):
        return items[0]
    return Dims((dim_product(items[0].dims),), not attributes.get("keepdims", 1))


def _slice(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    if "starts" in attributes:
        bounds, step = [list(attributes[name]) for name in ("starts", "ends")], 1
    elif len(items) < 3:
        return None
    else:
        bounds = [item.numbers() for item in items[1:3]]
        step = items[4].numbers()[0] if len(items) > 4 else 1
    if items[0].is_scalar or [len(bound) for bound in bounds] != [1, 1]:
        return None
    first, last = bounds[0][0], bounds[1][0]
    return Dims(items[0].dims[part(len(items[0].dims), first, last, step)])


def part(size: int, start: int, end: int, step: int) -> slice:
    """The part of an axis that Slice takes, as Python writes it.

    Backwards, a start below the first element is the first one, and an end below it means that the first
    belongs to the slice. An end of INT_MAX then stands for nothing by the specification, and for all in ONNX
    Runtime.

    Raises:
        ExportError: it runs backwards to INT_MAX.
    """
    if step < 0 and end in (2**31 - 1, 2**63 - 1):
        raise ExportError(
            "a Slice that runs backwards to INT_MAX cannot be read: runtimes differ there.",
            fix="end it at INT_MIN to take the first element, too.",
        )
    if step > 0 or not size:
        return slice(start, end, abs(step))
    first = min(max(start + size if start < 0 else start, 0), size - 1)  # always an element, unlike Python's
    return slice(first, None if end < -size else end, step)


def _squeeze(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    return Dims(items[0].dims, True) if len(items[0].dims) == 1 else None


def _unsqueeze(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    axes = list(attributes.get("axes", ())) if len(items) < 2 else items[1].numbers()
    return Dims(items[0].dims) if items[0].is_scalar and axes in ([0], [-1]) else None


def _reshape(operator: str, items: Sequence[Dims], attributes: Mapping[str, Any]) -> Dims | None:
    if len(items) == 2 and items[1].dims in ((-1,), (len(items[0].dims),)):
        return Dims(items[0].dims)
    return None


HANDLED: dict[str, Callable[[str, Sequence[Dims], Mapping[str, Any]], Dims | None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    "Concat": _concat,
    "Gather": _gather,
    "Identity": lambda operator, items, attributes: items[0],
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}
"""Operators that are followed on shapes."""
