"""Reductions along neighbouring axes on the CPU."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.cpu.sums import Cut, column_sums, cut_of, sums
from bigmodel_core.kernels.extremes import larger, smaller
from bigmodel_core.kernels.views import split_axes

WIDTH = 256
"""Columns that are taken side by side; more are a chunk of their own."""
BLOCK = 128
"""Numbers of a row that are searched for a place."""


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


def by_columns(call: Call, y: Operand, x: Operand, function: Any) -> list[CpuLaunch]:
    """A function of y (outer, inner) and x (outer, middle, inner) whose items are so many columns."""
    outer, inner = y.spec.sizes
    items = outer * -(-inner // WIDTH)
    return call.launch(kernel(function, items=lambda op, i, o: items), [y], [x], width=WIDTH)


def _along(call: Call, of_rows: Any, of_columns: Any) -> list[CpuLaunch]:
    """A function of each row, where these lie together, or else of each column."""
    call.op.infer(*call.inputs)  # a free axis may turn out empty
    y, x = _operands(call)
    outer, inner = y.spec.sizes
    if outer * inner == 0:
        return []
    if inner == 1:
        return call.launch(kernel(of_rows), [y], [x])
    return by_columns(call, y, x, of_columns)


@cpu_launches
def max_(call: Call) -> list[CpuLaunch]:
    """The largest along neighbouring axes; NaN where one is."""
    return _along(call, rows_by(larger), columns_by(larger))


@cpu_launches
def min_(call: Call) -> list[CpuLaunch]:
    """The smallest along neighbouring axes; NaN where one is."""
    return _along(call, rows_by(smaller), columns_by(smaller))


@functools.cache
def row_places_by(pick: Any) -> Any:
    """The function of the first place of the larger or the smaller number along each row; NaN if one is."""

    def place_rows(out, x, start, stop):
        """out (outer, 1), x (outer, middle, 1): which block has it is vector code, and so the place is found
        in one block alone."""
        for i in range(start, stop):
            best = x[i, 0, 0]
            block = 0
            for first in range(0, x.shape[1], BLOCK):
                extreme = x[i, first, 0]
                for j in range(first + 1, min(first + BLOCK, x.shape[1])):
                    extreme = pick(extreme, x[i, unsigned(j), 0])
                if best == best and pick(best, extreme) != best:
                    best = extreme
                    block = first
            while x[i, block, 0] != best and (best == best or x[i, block, 0] == x[i, block, 0]):
                block += 1
            out[i, 0] = block

    return place_rows


@functools.cache
def column_places_by(pick: Any) -> Any:
    """The function of the first place of the larger or the smaller number along columns; NaN if one is."""

    def place_columns(out, x, width, start, stop):
        """out (outer, inner), x (outer, middle, inner): an item is so many columns, taken row by row."""
        blocks = (x.shape[2] + width - 1) // width
        for item in range(start, stop):
            i = item // blocks
            first = item % blocks * width
            places = out[i, first : min(first + width, x.shape[2])]
            places[:] = 0
            for j in range(1, x.shape[1]):
                for k in range(places.shape[0]):
                    best = x[i, unsigned(places[k]), unsigned(first + k)]
                    if best == best and pick(best, x[i, j, unsigned(first + k)]) != best:
                        places[k] = j

    return place_columns


@cpu_launches
def argmax(call: Call) -> list[CpuLaunch]:
    """Where the first largest is along neighbouring axes, or the first NaN."""
    return _along(call, row_places_by(larger), column_places_by(larger))


@cpu_launches
def argmin(call: Call) -> list[CpuLaunch]:
    """Where the first smallest is along neighbouring axes, or the first NaN."""
    return _along(call, row_places_by(smaller), column_places_by(smaller))
