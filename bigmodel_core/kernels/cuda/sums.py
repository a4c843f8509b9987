"""Sums of rows and columns on a CUDA device, cut by shape alone and added in one order: always equal bits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES, SIZES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.launch import (
    CudaBuffer,
    CudaLaunch,
    View,
    lanes_for,
    over_items,
    over_rows,
    sizes,
)
from bigmodel_core.kernels.cuda.groups import combined, row_of
from bigmodel_core.kernels.cuda.places import on_line

RUN = 16
"""Numbers of a column that are summed in sequence; the partial sums are then added."""


def sums(
    call: Call,
    dtype: str,
    x: CudaBuffer,
    y: CudaBuffer,
    outer: int,
    middle: int,
    inner: int,
    is_squared: bool = False,
) -> list[CudaLaunch]:
    """The sums y (outer, inner) along the middle axis of x (outer, middle, inner), or those of the squares,
    piece by piece."""
    if outer * inner == 0:
        return []
    piece = sizes().row_piece if inner == 1 else sizes().column_piece
    pieces = max(-(-middle // piece), 1)
    target = y if pieces == 1 else call.scratch(outer * pieces * inner * SIZES[dtype])
    arrays = [
        View(target, (outer, pieces, inner), dtype),
        View(x, (outer, middle, inner), dtype),
        np.int64(piece),
    ]
    if inner == 1:
        lanes = lanes_for(min(piece, middle))
        launch = over_rows(sum_rows(dtype, lanes, is_squared), arrays, outer * pieces, lanes)
    else:
        launch = over_items(sum_columns(dtype, is_squared), arrays, outer * pieces * inner)
    if pieces == 1:
        return [launch]
    return [launch, *sums(call, dtype, target, y, outer, pieces, inner)]


@functools.cache
def sum_rows(dtype: str, lanes: int, is_squared: bool) -> Any:
    """out (outer, pieces, 1): the sum of each piece of a row of x (outer, middle, 1), or of its squares."""
    number = DTYPES[DTYPES[dtype].accumulator].scalar
    zero, row_here, total_of = number(0), row_of(lanes), combined("sum", DTYPES[dtype].accumulator, lanes)

    def sum_rows(out, x, piece):
        first, step, lane = row_here()
        pieces = out.shape[1]
        for row in range(first, out.shape[0] * pieces, step):
            i = row // pieces
            start = row % pieces * piece
            total = zero
            for j in range(start + lane, min(x.shape[1], start + piece), lanes):
                here = number(x[i, j, 0])
                total = number(total + (here * here if is_squared else here))
            total = total_of(total, lane)
            if lane == 0:
                out[i, row % pieces, 0] = total

    return sum_rows


@functools.cache
def sum_columns(dtype: str, is_squared: bool) -> Any:
    """out (outer, pieces, inner): the sums of `piece` rows each of x (outer, middle, inner), or of their
    squares."""
    number = DTYPES[DTYPES[dtype].accumulator].scalar
    zero, item_here = number(0), row_of(1)

    def sum_columns(out, x, piece):
        first, step, _ = item_here()
        for item in range(first, out.size, step):
            i, p, k = on_line(item, out.shape)
            total = zero
            last = min(x.shape[1], p * piece + piece)
            for begin in range(p * piece, last, RUN):
                part = zero
                for j in range(begin, min(last, begin + RUN)):
                    here = number(x[i, j, k])
                    part = number(part + (here * here if is_squared else here))
                total = number(total + part)
            out[i, p, k] = total

    return sum_columns
