"""Reductions along neighbouring axes on the CPU."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.cpu.sums import Cut, column_sums, cut_of, sums
from bigmodel_core.kernels.extremes import larger, smaller
from bigmodel_core.kernels.views import split_axes

WIDTH = 256
"""Columns that are taken side by side."""


def _operands(call: Call) -> tuple[Operand, Operand]:
    """The output as (outer, inner), the input as (outer, middle, inner)."""
    outer, middle, inner = split_axes(call.inputs[0].sizes, call.op.axes)
    return call.output(0).reshape(outer, inner), call.input(0).reshape(outer, middle, inner)


def _sum_epilogue(call: Call, tile: tuple[int, int]) -> list[CpuLaunch] | None:
    """A sum of columns that follows tiles of its rows; None if a tile holds parts of a sum."""
    y, x = _operands(call)
    outer, middle, inner = x.spec.sizes
    if outer * middle == 0 or inner < 2 or tile[1] < inner:
        return None
    if outer > 1:
        return column_sums(call, y, x, Cut(), tile[0] // middle) if tile[0] % middle == 0 else None
    cut = cut_of(tile, inner)
    return column_sums(call, y, x, cut) if cut else None


@cpu_launches(epilogue=_sum_epilogue, follows=0)
def sum_(call: Call) -> list[CpuLaunch]:
    """The sum along neighbouring axes."""
    return sums(call, *_operands(call))


@cpu_launches
def sum_square(call: Call) -> list[CpuLaunch]:
    """The sum of squares along neighbouring axes."""
    return sums(call, *_operands(call), is_squared=True)


@functools.cache
def rows_by(pick: Any) -> Any:
    """The function of the larger or the smaller number along each row."""

    def extreme_rows(out, x, start, stop):
        """out (outer, 1), x (outer, middle, 1)."""
        for i in range(start, stop):
            best = x[i, 0, 0]
            for j in range(1, x.shape[1]):
                best = pick(best, x[i, j, 0])
            out[i, 0] = best

    return extreme_rows


@functools.cache
def columns_by(pick: Any) -> Any:
    """The function that applies one of two numbers along each column."""

    def columns(out, x, width, start, stop):
        """out (outer, inner), x (outer, middle, inner): an item is so many columns, taken row by row."""
        blocks = (x.shape[2] + width - 1) // width
        for item in range(start, stop):
            i = item // blocks
            first = item % blocks * width
            best = out[i, first : min(first + width, x.shape[2])]
            for k in range(best.shape[0]):
                best[k] = x[i, 0, unsigned(first + k)]
            for j in range(1, x.shape[1]):
                here = x[i, j, first : first + best.shape[0]]
                for k in range(best.shape[0]):
                    best[k] = pick(best[k], here[k])

    return columns


def by_columns(call: Call, y: Operand, x: Operand, pick: Any) -> list[CpuLaunch]:
    """y (outer, inner): a function of two numbers applied along the columns of x (outer, middle, inner)."""
    outer, inner = y.spec.sizes
    items = outer * -(-inner // WIDTH)
    return call.launch(kernel(columns_by(pick), items=lambda op, i, o: items), [y], [x], width=WIDTH)


def _extreme(call: Call, pick: Any) -> list[CpuLaunch]:
    """The largest or the smallest along neighbouring axes; NaN where one is."""
    call.op.infer(*call.inputs)  # a free axis may turn out empty
    y, x = _operands(call)
    outer, inner = y.spec.sizes
    if outer * inner == 0:
        return []
    if inner == 1:
        return call.launch(kernel(rows_by(pick)), [y], [x])
    return by_columns(call, y, x, pick)


@cpu_launches
def max_(call: Call) -> list[CpuLaunch]:
    """The largest along neighbouring axes."""
    return _extreme(call, larger)


@cpu_launches
def min_(call: Call) -> list[CpuLaunch]:
    """The smallest along neighbouring axes."""
    return _extreme(call, smaller)


def argmax_middle(out, x, start, stop):
    """out (outer, inner), x (outer, middle, inner): where the first largest is along the middle axis; NaN if
    one is."""
    for i in range(start, stop):
        for k in range(x.shape[2]):
            best = 0
            for j in range(1, x.shape[1]):
                if x[i, j, k] > x[i, best, k] or is_new_nan(x[i, j, k], x[i, best, k]):
                    best = j
            out[i, k] = best


def argmin_middle(out, x, start, stop):
    """out (outer, inner), x (outer, middle, inner): where the first smallest is along the middle axis; NaN if
    one is."""
    for i in range(start, stop):
        for k in range(x.shape[2]):
            best = 0
            for j in range(1, x.shape[1]):
                if x[i, j, k] < x[i, best, k] or is_new_nan(x[i, j, k], x[i, best, k]):
                    best = j
            out[i, k] = best


def is_new_nan(number, best):
    """Whether a number is NaN, and the best one so far is not."""
    return number != number and best == best


def _middle(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    op.infer(*inputs)  # a free axis may turn out empty
    outer, middle, inner = split_axes(inputs[0].sizes, op.axes)
    return [(outer, inner)], [(outer, middle, inner)]


argmax = kernel(argmax_middle, views=_middle)
argmin = kernel(argmin_middle, views=_middle)
