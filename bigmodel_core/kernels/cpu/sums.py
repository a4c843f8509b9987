"""Sums of rows and of columns, taken block by block: errors grow slowly, and blocks run side by side."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from numpy import float64

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.kernels import ArrayKernel, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch

BLOCK = 256
"""Rows summed in the input's own precision; the sums of blocks are then added, so that errors grow
slowly."""
PIECE = 16384
"""Numbers of a long row that are summed at a time."""
LONG_ROW = 65536
"""A row of more numbers than these is summed in pieces."""
SMALL_BLOCK = 64
"""Fewer rows in a block than these are not worth a row of sums."""
FULL_ROW = 64
"""Numbers of a row that keep vectors full: several shorter rows are added up as one."""


@dataclass(frozen=True)
class Cut:
    """How the rows of a matrix are split into blocks that are added up.

    Args:
        block: rows in a block.
        blocks_of_chunk: blocks in a chunk, where this follows the chunks of another kernel; else None.
    """

    block: int = BLOCK
    blocks_of_chunk: int | None = None


def cut_of(tile: tuple[int, int] | None, columns: int) -> Cut | None:
    """The blocks in which rows are added up behind tiles (rows, columns); None if no good ones fit.

    >>> cut_of((784, 6), 6)
    Cut(block=196, blocks_of_chunk=4)
    >>> cut_of(None, 6)
    Cut(block=256, blocks_of_chunk=None)
    """
    if tile is None:
        return Cut()
    rows, wide = tile
    if wide < columns:
        return None
    block = next((size for size in range(min(BLOCK, rows), SMALL_BLOCK - 1, -1) if rows % size == 0), None)
    return Cut(block, rows // block) if block else None


def itself(number):
    return number


def squared(number):
    return number * number


def squared_wide(number):
    """In float64, where squares of float32 fit."""
    return float64(number) * float64(number)


def sums(call: Call, y: Operand, x: Operand, is_squared: bool = False) -> list[CpuLaunch]:
    """y (outer, inner): the sums along the middle axis of x (outer, middle, inner), of numbers or squares."""
    outer, middle, inner = x.spec.sizes
    if outer * inner == 0:
        return []
    if inner > 1:
        return column_sums(call, y, x, Cut(), is_squared=is_squared)
    term = squared_wide if is_squared else itself
    if middle <= LONG_ROW or not x.spec.is_float:
        return call.launch(kernel(last_of(term) if x.spec.is_float else sum_last_whole), [y], [x])
    pieces = -(-middle // PIECE)
    parts = call.temporary((outer, pieces, 1), y.spec.dtype)
    return [
        *call.launch(kernel(pieces_of(term)), [parts.reshape(outer * pieces, 1)], [x], block=PIECE),
        *sums(call, y, parts),
    ]


def column_sums(
    call: Call, y: Operand, x: Operand, cut: Cut, outer_of_chunk: int = 0, is_squared: bool = False
) -> list[CpuLaunch]:
    """y (outer, inner): the sums of columns of x (outer, middle, inner), of blocks of rows, then of these."""
    outer, middle, inner = x.spec.sizes
    rows, width, block = middle, inner, cut.block
    while middle > cut.block and width * 2 <= FULL_ROW and rows % 2 == block % 2 == 0:
        rows, width, block = rows // 2, width * 2, block // 2
    blocks = max(-(-rows // block), 1)
    function = blocks_of(squared if is_squared else itself)
    of_blocks = ArrayKernel(function, rows=outer_of_chunk * blocks or cut.blocks_of_chunk)
    x = x.reshape(outer, rows, width)
    if blocks * width == inner:
        return call.launch(of_blocks, [y.reshape(outer * blocks, width)], [x], block=block)
    parts = call.temporary((outer, blocks * width // inner, inner), y.spec.dtype)
    return [
        *call.launch(of_blocks, [parts.reshape(outer * blocks, width)], [x], block=block),
        *sums(call, y, parts),
    ]


@functools.cache
def last_of(term: Any) -> Any:
    """The function that sums a term of each number along rows."""

    def sum_last(out, x, start, stop):
        """out (outer, 1), x (outer, middle, 1): accumulated in float64."""
        for i in range(start, stop):
            total = 0.0
            for j in range(x.shape[1]):
                total += term(x[i, j, 0])
            out[i, 0] = total

    return sum_last


def sum_last_whole(out, x, start, stop):
    """out (outer, 1), x (outer, middle, 1): the sum of each row of integers."""
    for i in range(start, stop):
        total = 0
        for j in range(x.shape[1]):
            total += x[i, j, 0]
        out[i, 0] = total


@functools.cache
def pieces_of(term: Any) -> Any:
    """The function that sums a term of each number of pieces of rows."""

    def sum_pieces(out, x, block, start, stop):
        """out (outer * pieces, 1), x (outer, middle, 1): accumulated in float64."""
        pieces = (x.shape[1] + block - 1) // block
        for row in range(start, stop):
            i = row // pieces
            first = row % pieces * block
            count = min(x.shape[1] - first, block)
            total = 0.0
            piece = x[i, first : first + count, 0]
            for j in range(count):
                total += term(piece[j])
            out[row, 0] = total

    return sum_pieces


@functools.cache
def blocks_of(term: Any) -> Any:
    """The function that sums a term of each number along columns of blocks."""

    def sum_blocks(out, x, block, start, stop):
        """out (outer * blocks, inner), x (outer, middle, inner): eight rows at a time."""
        blocks = (x.shape[1] + block - 1) // block
        for row in range(start, stop):
            i = row // blocks
            first = row % blocks * block
            for k in range(out.shape[1]):
                out[row, k] = 0
            last = min(x.shape[1], first + block)
            whole = last - (last - first) % 8
            for j in range(first, whole, 8):
                rows = x[i, j : j + 8]
                total = out[row]
                for k in range(total.shape[0]):
                    low = (term(rows[0, k]) + term(rows[1, k])) + (term(rows[2, k]) + term(rows[3, k]))
                    high = (term(rows[4, k]) + term(rows[5, k])) + (term(rows[6, k]) + term(rows[7, k]))
                    total[k] += low + high
            for j in range(whole, last):
                for k in range(out.shape[1]):
                    out[row, k] += term(x[i, j, k])

    return sum_blocks
