"""The rows of x under a block of outputs: where they are, or, padded and spread, copied into a buffer.

The copies go to the stack; rows too long for it take temporary memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.geometry import Geometry
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store

STACK = 256 * 1024
"""Bytes of the stack that hold the padded rows of a block."""


def block_rows(g: Geometry, limit: int, beside: int = 0) -> int:
    """Rows of outputs at a time: as many as a limit of bytes allows, counting `beside` more for each."""
    rows = 1
    while rows < g.out_height and g.buffer_bytes(rows + 1) + beside * (rows + 1) <= limit:
        rows += 1
    return rows


def outside_memory(g: Geometry, block: int, chunks: int, scratch: Scratch) -> tuple[CpuBuffer | int, int]:
    """Memory for padded rows that the stack cannot hold, and its bytes for each chunk."""
    needed = 0 if g.in_place else g.buffer_bytes(block)
    if needed <= STACK:
        return 0, 0
    each = -(-needed // 64) * 64
    return scratch(each * chunks), each


def load_sizes(ctx):
    """From a geometry's context: height, width and channels of x, then of y."""
    x = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
    return *x, load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5)


def load_filter(ctx):
    """From a geometry's context: taps, stride and dilation, each down and across."""
    taps = load_int(ctx, 6), load_int(ctx, 7)
    return *taps, load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 10), load_int(ctx, 11)


def load_place(ctx):
    """From a geometry's context: the padding above and left, the spread down and across, groups."""
    padding = load_int(ctx, 12), load_int(ctx, 13)
    return *padding, load_int(ctx, 14), load_int(ctx, 15), load_int(ctx, 16)


@functools.cache
def rows_under(dtype: str) -> Callable[..., tuple[int, int]]:
    """Where the rows of x are that some rows of outputs need, and the bytes from one to the next.

    `rows(ctx, image, first, count, in_place, buffer)` reads the geometry and, after it, x's address from a
    context; unless they are used in place, the rows of an image are copied into the buffer, with zeros where
    there is no pixel. (One function: each that another calls is optimised by LLVM once more.)
    """
    size, read, write = SIZES[dtype], load(dtype), store(dtype)

    def rows(ctx, image, first, count, in_place, buffer):
        height, width, channels, _, out_width, _ = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across = load_filter(ctx)
        top, left, down, across, _ = load_place(ctx)
        pixel = channels * size
        start = load_int(ctx, 17) + image * height * width * pixel
        if in_place != 0:
            return start + first * step_down * width * pixel, width * pixel
        columns = (out_width - 1) * step_across + (taps_across - 1) * gap_across + 1
        inside = left if left > 0 else 0
        for i in range((count - 1) * step_down + (taps_down - 1) * gap_down + 1):
            at = buffer + i * columns * pixel
            row = first * step_down - top + i
            source = row // down
            is_outside = row < 0 or source * down != row or source >= height
            base = start + source * width * pixel
            if is_outside or across == 1:
                skipped = inside - left
                copied = 0 if is_outside else max(0, min(columns - inside, width - skipped))
                begin = min(inside, columns) * channels
                end = begin + copied * channels
                base += skipped * pixel - begin * size
                for k in range(begin):
                    write(at, k, 0.0)
                for k in range(begin, end):
                    write(at, k, read(base, k))
                for k in range(end, columns * channels):
                    write(at, k, 0.0)
                continue
            for j in range(columns):
                column = j - left
                place = column // across
                to = at + j * pixel
                if column < 0 or place * across != column or place >= width:
                    for k in range(channels):
                        write(to, k, 0.0)
                else:
                    for k in range(channels):
                        write(to, k, read(base + place * pixel, k))
        return buffer, columns * pixel

    return rows


@functools.cache
def all_finite(dtype: str) -> Callable[..., bool]:
    """Whether none of the numbers at an address is NaN or infinite."""
    read, nothing = load(dtype), np.zeros(1, dtype)[0]

    def is_finite(address, count):
        total = nothing
        for k in range(count):
            total += read(address, k) * nothing
        return total == nothing

    return is_finite
