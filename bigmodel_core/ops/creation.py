"""Arrays made of nothing but numbers: constants, ranges, one number repeated, and triangles of a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Graph, Operand, Value, current_graph
from bigmodel_core.graph.dtypes import INDICES
from bigmodel_core.graph.operands import constant_array
from bigmodel_core.graph.spec import (
    Dim,
    Spec,
    SymbolicDim,
    dim_add,
    dim_floor_divide,
    dim_max,
    dim_subtract,
    format_shape,
)
from bigmodel_core.ops.axes import integer, several
from bigmodel_core.ops.comparison import cast, where
from bigmodel_core.ops.elementwise import constant_like
from bigmodel_core.ops.positions import Positions
from bigmodel_core.ops.shape import broadcast_to, reshape
from bigmodel_core.ops.sizes import size_of_dimension

_MOST = 2**20
"""Numbers of a range that a graph holds as a constant; of more, it holds how to count them."""


def constant(value: Any, dtype: str | None = None) -> Value:
    """Numbers as a Value: an array, a number, lists of them, or a dimension of a shape.

    Args:
        value: the numbers; a Value is returned as it is, or converted.
        dtype: their type. None keeps that of an array; Python's floats become float32, whole numbers int64.

    Raises:
        DtypeError: the type cannot hold them.
    """
    if isinstance(value, Value):
        return value if dtype is None else cast(value, dtype)
    if isinstance(value, SymbolicDim):
        return size_of_dimension(value, current_graph(), dtype or "int64")
    return current_graph().constant(constant_array(value, dtype))


def full(shape: Dim | Sequence[Dim], value: Operand, dtype: str | None = None) -> Value:
    """An array filled with one number; dimensions may be free: `full(x.shape, 0.5, x.dtype)`."""
    return broadcast_to(constant(value, dtype), several(shape))


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: str | None = None) -> Value:
    """The numbers from `start` on, `step` apart, before `stop`; those from 0 on if only one is given.

    Args:
        start: the first; the end if there is no `stop`. A dimension of a shape is its size when the model
            runs: `arange(x.shape[1])`.
        stop: where they end.
        step: from each to the next.
        dtype: their type: int64, or float32 if one of the three is a float.

    Raises:
        ConfigError: the step is 0, a bound is no finite number, or a dimension is beside floats.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    return numbers_between(current_graph(), start, stop, step, dtype)


def numbers_between(graph: Graph, start: Any, stop: Any, step: Any, dtype: str | None = None) -> Value:
    """`arange` in a graph."""
    for item in (start, stop, step):
        is_float = isinstance(item, (float, np.floating)) and math.isfinite(item)
        if not is_float and not isinstance(item, (int, np.integer, SymbolicDim)):
            raise ConfigError(f"arange got {item!r}.", fix="use finite numbers, or dimensions of a shape.")
    start, stop, step = (int(item) if isinstance(item, np.integer) else item for item in (start, stop, step))
    is_whole = all(isinstance(item, (int, SymbolicDim)) for item in (start, stop, step))
    free = any(isinstance(bound, SymbolicDim) for bound in (start, stop))
    if step == 0 or (free and not is_whole) or not (is_whole or math.isfinite((stop - start) / step)):
        raise ConfigError(
            f"arange from {start} to {stop} in steps of {step} has no length.",
            fix="use a step that is not 0, and whole numbers beside a dimension.",
        )
    if not is_whole:
        length = max(math.ceil((stop - start) / step), 0)
        if length > _MOST:
            found = cast(counted(graph, length), "float64") * float(step) + float(start)
            return cast(found, dtype or "float32")
        return graph.constant(constant_array(np.arange(start, stop, step), dtype or "float32"))
    if step < 0:
        reach, apart = dim_subtract(start, stop), -step
    else:
        reach, apart = dim_subtract(stop, start), step
    count = dim_max(dim_floor_divide(dim_add(reach, apart - 1), apart), 0)
    if not free and isinstance(count, int) and count <= _MOST:
        return graph.constant(constant_array(np.arange(start, stop, step), dtype or "int64"))
    whole = dtype if dtype is not None and dtype in INDICES else "int64"
    places = counted(graph, count, whole)
    if (start, step) != (0, 1):
        places = places * step + size_of_dimension(start, graph, whole)
    return cast(places, dtype or whole)


def counted(graph: Graph, count: Dim, dtype: str = "int64") -> Value:
    """0, 1, 2, ... in a graph."""
    if isinstance(count, int) and count <= _MOST:
        return graph.constant(np.arange(count, dtype=dtype))
    return Positions(count)(graph.constant(0, dtype))


def eye(n: Dim, m: Dim | None = None, k: int = 0, dtype: str = "float32") -> Value:
    """A matrix (n, m) of ones on a diagonal, `k` places above the main one, and zeros.

    Raises:
        ConfigError: k is no integer.
        ShapeError: a size is none.
    """
    rows, columns = Spec((n, n if m is None else m)).shape
    return cast(diagonal(current_graph(), rows, columns, k), dtype)


def diagonal(graph: Graph, rows: Dim, columns: Dim, k: int = 0) -> Value:
    """Where a matrix (rows, columns) has its diagonal `k` places above the main one."""
    return _down(graph, rows, k) == counted(graph, columns)


def _down(graph: Graph, rows: Dim, k: int) -> Value:
    """Down the rows of a matrix, the column where a diagonal crosses each, (rows, 1)."""
    above = integer(k)
    if above is None:
        raise ConfigError(f"there is no diagonal {k!r}.", fix="use an integer: 0 is the main diagonal.")
    return reshape(counted(graph, rows), (rows, 1)) + above


def triu(x: Value, k: int = 0) -> Value:
    """The last two axes with zeros below a diagonal, `k` places above the main one."""
    return _triangle("triu", x, k)


def tril(x: Value, k: int = 0) -> Value:
    """The last two axes with zeros above a diagonal, `k` places above the main one."""
    return _triangle("tril", x, k)


def _triangle(name: str, x: Value, k: int) -> Value:
    if x.ndim < 2:
        raise ShapeError(f"{name} needs two axes or more, got {format_shape(x.shape)}.")
    graph, (rows, columns) = x.node.graph, x.shape[-2:]
    down, across = _down(graph, rows, k), counted(graph, columns)
    return where(across >= down if name == "triu" else across <= down, x, constant_like(0, x))


__all__ = ["arange", "constant", "eye", "full", "tril", "triu"]
