"""Reductions on a CUDA device; sums are cut by shape alone and added in one order: the same bits always."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import FLOATS
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cuda.groups import CAST, COMBINE, combined, row_of
from bigmodel_core.kernels.cuda.launch import Buffer, Launch, View, lanes_for, over_items, over_rows, sizes
from bigmodel_core.kernels.views import split_axes

RUN = 16
"""Numbers of a column that are added up one after the other; such sums are added up in turn."""


def sum_(call: Call) -> list[Launch]:
    """The sum along neighbouring axes."""
    (x,), (y,) = call.input_buffers, call.output_buffers
    outer, middle, inner = _split(call)
    if outer * inner == 0:
        return []
    return _sums(call, call.inputs[0].dtype, x, y, outer, middle, inner)


def sum_of_squares(call: Call) -> list[Launch]:
    """The sum of the squares of all numbers, in float64."""
    (x,), (y,) = call.input_buffers, call.output_buffers
    dtype, count = call.inputs[0].dtype, math.prod(call.inputs[0].sizes)
    pieces = max(-(-count // sizes().row_piece), 1)
    target = call.scratch(pieces * 8)
    arrays = [View(target, (pieces,), "float64"), View(x, (count,), dtype), np.int64(sizes().row_piece)]
    lanes = lanes_for(min(sizes().row_piece, count))
    first = over_rows(squares_of_pieces(lanes), arrays, pieces, lanes)
    return [first, *_sums(call, "float64", target, y, 1, pieces, 1)]


@functools.cache
def squares_of_pieces(lanes: int) -> Any:
    """out (pieces): the sum of the squares of each piece of x (all)."""
    row_here, total_of = row_of(lanes), combined("sum", "float64", lanes)

    def squares_of_pieces(out, x, piece):
        first, step, lane = row_here()
        for row in range(first, out.shape[0], step):
            total = 0.0
            for j in range(row * piece + lane, min(x.shape[0], row * piece + piece), lanes):
                number = np.float64(x[j])
                total += number * number
            total = total_of(total, lane)
            if lane == 0:
                out[row] = total

    return squares_of_pieces


def _sums(call: Call, dtype: str, x: Buffer, y: Buffer, outer: int, middle: int, inner: int) -> list[Launch]:
    piece = sizes().row_piece if inner == 1 else sizes().column_piece
    pieces = max(-(-middle // piece), 1)
    target = y if pieces == 1 else call.scratch(outer * pieces * inner * np.dtype(dtype).itemsize)
    arrays = [
        View(target, (outer, pieces, inner), dtype),
        View(x, (outer, middle, inner), dtype),
        np.int64(piece),
    ]
    if inner == 1:
        lanes = lanes_for(min(piece, middle))
        launch = over_rows(sum_rows(dtype, lanes), arrays, outer * pieces, lanes)
    else:
        launch = over_items(sum_columns(dtype), arrays, outer * pieces * inner)
    if pieces == 1:
        return [launch]
    return [launch, *_sums(call, dtype, target, y, outer, pieces, inner)]


def _accumulator(dtype: str) -> str:
    return dtype if dtype in FLOATS else "int64"


@functools.cache
def sum_rows(dtype: str, lanes: int) -> Any:
    """out (outer, pieces, 1): the sum of each piece of a row of x (outer, middle, 1)."""
    number = CAST[_accumulator(dtype)]
    zero, row_here, total_of = number(0), row_of(lanes), combined("sum", _accumulator(dtype), lanes)

    def sum_rows(out, x, piece):
        first, step, lane = row_here()
        pieces = out.shape[1]
        for row in range(first, out.shape[0] * pieces, step):
            i = row // pieces
            start = row % pieces * piece
            total = zero
            for j in range(start + lane, min(x.shape[1], start + piece), lanes):
                total = number(total + x[i, j, 0])
            total = total_of(total, lane)
            if lane == 0:
                out[i, row % pieces, 0] = total

    return sum_rows


@functools.cache
def sum_columns(dtype: str) -> Any:
    """out (outer, pieces, inner): the sums of `piece` rows each of x (outer, middle, inner)."""
    number = CAST[_accumulator(dtype)]
    zero, here = number(0), row_of(1)

    def sum_columns(out, x, piece):
        first, step, _ = here()
        pieces, inner = out.shape[1], out.shape[2]
        for item in range(first, out.shape[0] * pieces * inner, step):
            k = item % inner
            p = item // inner % pieces
            i = item // inner // pieces
            total = zero
            last = min(x.shape[1], p * piece + piece)
            for begin in range(p * piece, last, RUN):
                part = zero
                for j in range(begin, min(last, begin + RUN)):
                    part = number(part + x[i, j, k])
                total = number(total + part)
            out[i, p, k] = total

    return sum_columns


def max_(call: Call) -> list[Launch]:
    """The largest number along neighbouring axes."""
    return _extreme(call, "max")


def min_(call: Call) -> list[Launch]:
    """The smallest number along neighbouring axes."""
    return _extreme(call, "min")


def _extreme(call: Call, kind: str) -> list[Launch]:
    _, middle, inner = _split(call)
    dtype = call.inputs[0].dtype
    shared = dtype in ("float32", "float64", "int32", "int64")
    lanes = lanes_for(middle) if inner == 1 and shared else 1
    return _launch(extreme(kind, dtype, lanes), call, lanes)


@functools.cache
def extreme(kind: str, dtype: str, lanes: int) -> Any:
    """out (outer, inner): the extreme number of x (outer, middle, inner); NaN wins."""
    combine, here = COMBINE[kind], row_of(lanes)
    all_of = combined(kind, dtype, lanes) if lanes > 1 else combined(kind, "int64", 1)

    def extreme(out, x):
        first, step, lane = here()
        inner = out.shape[1]
        for row in range(first, out.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            best = x[i, min(lane, x.shape[1] - 1), k]
            for j in range(lane + lanes, x.shape[1], lanes):
                best = combine(best, x[i, j, k])
            best = all_of(best, lane)
            if lane == 0:
                out[i, k] = best

    return extreme


def argmax(call: Call) -> list[Launch]:
    """The position of the first largest number along an axis."""
    return _launch(first_largest(), call, 1)


@functools.cache
def first_largest() -> Any:
    """out (outer, inner): where x (outer, middle, inner) is largest."""
    here = row_of(1)

    def first_largest(out, x):
        first, step, _ = here()
        inner = out.shape[1]
        for row in range(first, out.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            best = 0
            for j in range(1, x.shape[1]):
                if x[i, j, k] > x[i, best, k]:
                    best = j
            out[i, k] = best

    return first_largest


def _launch(function: Any, call: Call, lanes: int) -> list[Launch]:
    outer, middle, inner = _split(call)
    if outer * inner == 0:
        return []
    out = View(call.output_buffers[0], (outer, inner), call.outputs[0].dtype)
    x = View(call.input_buffers[0], (outer, middle, inner), call.inputs[0].dtype)
    return [over_rows(function, [out, x], outer * inner, lanes)]


def _split(call: Call) -> tuple[int, int, int]:
    return split_axes(call.inputs[0].sizes, call.op.axes)
