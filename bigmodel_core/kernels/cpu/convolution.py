"""Convolutions on the CPU, channels last: directly on the activations, without unfolding them into columns.

The kernel computes tiles of (neighbouring pixels of a row) x (filters); for each the micro-kernel runs over
the filter's rows, under each of which the numbers are contiguous. The gradient for the input is the same
convolution of the upstream gradient, its pixels spread by the stride, with flipped filters.

This is the way of all shapes; `winograd.py`, `transposed.py` and `depthwise.py` serve some of them better,
which each decides for itself (`fits`).

Where the border has to be padded, or pixels spread, the rows that a block of outputs needs are first copied
into a buffer on the stack. Chunks are chosen by shapes alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution_tile import convolve_tile, tallest
from bigmodel_core.kernels.cpu.launch import Buffer, Item, Launch, Scratch
from bigmodel_core.kernels.cpu.memory import load, load_int, store
from bigmodel_core.kernels.cpu.microkernel import tile_columns
from bigmodel_core.kernels.cpu.native import NativeFunction
from bigmodel_core.kernels.cpu.packing import stack_memory

STACK = 256 * 1024
"""Bytes of the stack that hold the padded rows of a block."""
CHUNK_WORK = 600_000
"""Multiply-adds that make a chunk worth handing to a thread."""
MAX_CHUNKS = 24
"""More chunks are not asked for."""


@dataclass(frozen=True)
class Geometry:
    """A convolution of x (n, height, width, channels) to y (n, out_height, out_width, filters).

    Args:
        taps: rows and columns of a filter.
        stride: pixels of x between neighbouring outputs, down and across.
        dilation: pixels of x between neighbouring taps.
        border: rows above and columns left of x that count as zeros; may be negative.
        spread: x's pixels are taken so far apart, with zeros between.
        groups: channels and filters fall into so many groups that do not see each other.
    """

    n: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    filters: int
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    border: tuple[int, int]
    spread: tuple[int, int]
    groups: int
    dtype: str

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns under a filter."""
        return (self.taps[0] - 1) * self.dilation[0] + 1, (self.taps[1] - 1) * self.dilation[1] + 1

    @property
    def work(self) -> int:
        """Multiply-adds of the whole."""
        outputs = self.n * self.out_height * self.out_width * self.filters
        return outputs * self.taps[0] * self.taps[1] * (self.channels // self.groups)

    @property
    def in_place(self) -> bool:
        """Whether every tap of every output falls on a pixel, so that x need not be padded."""
        fits = all(
            (out - 1) * step + span <= size
            for out, step, span, size in zip(
                (self.out_height, self.out_width),
                self.stride,
                self.span,
                (self.height, self.width),
                strict=True,
            )
        )
        return fits and self.border == (0, 0) and self.spread == (1, 1)

    def buffer_bytes(self, rows: int) -> int:
        """Bytes of the padded rows that a number of rows of outputs needs."""
        down = (rows - 1) * self.stride[0] + self.span[0]
        across = (self.out_width - 1) * self.stride[1] + self.span[1]
        return down * across * self.channels * SIZES[self.dtype]

    def context(self) -> list[int]:
        """What both kernels read first: 17 numbers."""
        return [
            *(self.height, self.width, self.channels, self.out_height, self.out_width, self.filters),
            *(*self.taps, *self.stride, *self.dilation, *self.border, *self.spread, self.groups),
        ]


def block_rows(g: Geometry, limit: int, beside: int = 0) -> int:
    """Rows of outputs at a time: as many as a limit of bytes allows, counting `beside` more for each."""
    rows = 1
    while rows < g.out_height and g.buffer_bytes(rows + 1) + beside * (rows + 1) <= limit:
        rows += 1
    return rows


def chunk_rows(g: Geometry, even: bool = False) -> int:
    """Rows of outputs in a chunk: whole images, or an equal part of one, of even rows if asked for."""
    wanted = max(1, min(MAX_CHUNKS, g.work // CHUNK_WORK))
    if g.n >= wanted:
        images = -(-g.n // wanted)

        def longest(each: int) -> int:  # images that the busier of two threads gets
            return -(-g.n // each // 2) * each

        return min(images, max(images - 1, 1), key=longest) * g.out_height
    parts = -(-wanted // g.n)
    fitting = [r for r in range(1, g.out_height + 1) if g.out_height % r == 0 and not (even and r % 2)]
    found = next((rows for rows in reversed(fitting) if g.out_height // rows >= parts), None)
    return found or (fitting[0] if fitting else g.out_height)


def convolve(
    g: Geometry,
    x: Buffer,
    weight: Buffer,
    bias: Buffer | None,
    y: Buffer,
    scratch: Scratch,
    single: tuple[Buffer, int] | None = None,
) -> list[Launch]:
    """The launch that computes y from x and a weight stored as (taps, channels of a group, filters).

    Args:
        single: where each pixel of g stands for several: the weight of one of them, and how many they are.
            From a block of x on with numbers that are not finite, a chunk takes this one, which has no zeros.
    """
    if g.n * g.out_height * g.out_width * g.filters == 0:
        return []
    rows = chunk_rows(g)
    total = g.n * g.out_height
    chunks = -(-total // rows)
    block = g.out_height if g.in_place else block_rows(g, STACK)
    memory, each = outside_memory(g, block, chunks, scratch)
    context: list[Item] = [
        *g.context(),
        x,
        weight,
        bias or 0,
        y,
        rows,
        total,
        block,
        int(g.in_place),
        memory,
        each,
    ]
    context += [convolve_tile(g.dtype), *(single or (0, 1))]
    choice = "direct, pixels in place" if g.in_place else f"direct, {block} padded rows at a time"
    tile = (rows * g.out_width, g.filters)
    return [Launch(convolution_kernel(g.dtype), context, chunks, tile, choice=choice)]


def outside_memory(g: Geometry, block: int, chunks: int, scratch: Scratch) -> tuple[Buffer | int, int]:
    """Memory for padded rows that the stack cannot hold, and its bytes for each chunk."""
    needed = 0 if g.in_place else g.buffer_bytes(block)
    if needed <= STACK:
        return 0, 0
    each = -(-needed // 64) * 64
    return scratch(each * chunks), each


@functools.cache
def all_finite(dtype: str) -> Callable[..., bool]:
    """Whether none of so many numbers at an address is NaN or infinite."""
    read, nothing = load(dtype), np.zeros(1, dtype)[0]

    def is_finite(address, count):
        total = nothing
        for k in range(count):
            total += read(address, k) * nothing
        return total == nothing

    return is_finite


@functools.cache
def padded_rows(dtype: str) -> Callable[..., None]:
    """Copies the rows that a block of outputs needs, zeros where there is no pixel."""
    size, read, write = SIZES[dtype], load(dtype), store(dtype)

    def pad_rows(x, height, width, channels, first, left, down, across, rows, columns, target):
        inside = left if left > 0 else 0
        for i in range(rows):
            at = target + i * columns * channels * size
            row = first + i
            source = row // down
            if row < 0 or source * down != row or source >= height:
                for k in range(columns * channels):
                    write(at, k, 0.0)
                continue
            base = x + source * width * channels * size
            if across == 1:
                skipped = inside - left
                copied = min(columns - inside, width - skipped)
                copied = copied if copied > 0 else 0
                for k in range(min(inside, columns) * channels):
                    write(at, k, 0.0)
                to = at + inside * channels * size
                base += skipped * channels * size
                for k in range(copied * channels):
                    write(to, k, read(base, k))
                for k in range((inside + copied) * channels, columns * channels):
                    write(at, k, 0.0)
                continue
            for j in range(columns):
                column = j - left
                place = column // across
                to = at + j * channels * size
                if column < 0 or place * across != column or place >= width:
                    for k in range(channels):
                        write(to, k, 0.0)
                else:
                    for k in range(channels):
                        write(to, k, read(base + place * channels * size, k))

    return pad_rows


def load_sizes(ctx):
    """From a geometry's context: height, width and channels of x, then of y."""
    x = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
    return *x, load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5)


def load_filter(ctx):
    """From a geometry's context: taps, stride and dilation, each down and across."""
    taps = load_int(ctx, 6), load_int(ctx, 7)
    return *taps, load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 10), load_int(ctx, 11)


def load_place(ctx):
    """From a geometry's context: the border above and left, the spread down and across, groups."""
    border = load_int(ctx, 12), load_int(ctx, 13)
    return *border, load_int(ctx, 14), load_int(ctx, 15), load_int(ctx, 16)


@functools.cache
def convolution_kernel(dtype: str) -> NativeFunction:
    """The kernel for rows of outputs; `convolve` lists its context."""
    size, wide = SIZES[dtype], tile_columns(dtype)
    most_rows = tallest()
    tile, pad_rows, memory = convolve_tile(dtype).call, padded_rows(dtype), stack_memory(STACK)
    finite = all_finite(dtype)

    def convolution(ctx, chunk):
        height, width, channels, out_height, out_width, filters = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across = load_filter(ctx)
        top, left, spread_down, spread_across, groups = load_place(ctx)
        x, weight, bias, y = load_int(ctx, 17), load_int(ctx, 18), load_int(ctx, 19), load_int(ctx, 20)
        single, pixels = load_int(ctx, 28), load_int(ctx, 29)
        each, total, most = load_int(ctx, 21), load_int(ctx, 22), load_int(ctx, 23)
        in_place, outside, tiles_of = load_int(ctx, 24), load_int(ctx, 25), load_int(ctx, 27)
        buffer = memory()
        if outside != 0:
            buffer = outside + chunk * load_int(ctx, 26)
        columns = (out_width - 1) * step_across + (taps_across - 1) * gap_across + 1
        pixel = channels * size
        of_group = channels // groups
        merged = groups == 1 and gap_across == 1
        row, last = chunk * each, min(total, chunk * each + each)
        while row < last:
            image, first = row // out_height, row % out_height
            rows = min(most, last - row, out_height - first)
            start = x + image * height * width * pixel
            pitch = width * pixel
            needed = (rows - 1) * step_down + (taps_down - 1) * gap_down + 1
            if in_place != 0:
                base = start + first * step_down * pitch
            else:
                pad_rows(
                    start,
                    height,
                    width,
                    channels,
                    first * step_down - top,
                    left,
                    spread_down,
                    spread_across,
                    needed,
                    columns,
                    buffer,
                )
                base, pitch = buffer, columns * pixel
            count = (needed - 1) * pitch // size + columns * channels
            if single != 0 and pixels > 1 and not finite(base, count):
                # Zero weights keep out finite numbers alone: the rest of the chunk goes pixel by pixel.
                weight, out_width, filters = single, out_width * pixels, filters // pixels
                step_across //= pixels
                taps_across -= (pixels - 1) * step_across
                pixels = 1
            filters_of_group = filters // groups
            tiles = (out_width + most_rows - 1) // most_rows  # of equal height, but for the last
            even = (out_width + tiles - 1) // tiles
            for group in range(groups):
                for j in range(0, filters_of_group, wide):
                    w = min(wide, filters_of_group - j)
                    column = (group * filters_of_group + j) * size
                    begin = bias + column if bias != 0 else 0
                    for i in range(rows):
                        p = 0
                        while p < out_width:
                            h = min(even, out_width - p)
                            a = base + i * step_down * pitch + p * step_across * pixel
                            c = y + ((row + i) * out_width + p) * filters * size + column
                            if merged:
                                tile(
                                    tiles_of,
                                    taps_down,
                                    taps_across * channels,
                                    a,
                                    step_across * pixel,
                                    size,
                                    gap_down * pitch - taps_across * pixel,
                                    weight + column,
                                    filters * size,
                                    c,
                                    filters * size,
                                    begin,
                                    0,
                                    h,
                                    w,
                                )
                            else:
                                for r in range(taps_down):
                                    tile(
                                        tiles_of,
                                        taps_across,
                                        of_group,
                                        a + r * gap_down * pitch + group * of_group * size,
                                        step_across * pixel,
                                        size,
                                        gap_across * pixel - of_group * size,
                                        weight + r * taps_across * of_group * filters * size + column,
                                        filters * size,
                                        c,
                                        filters * size,
                                        begin if r == 0 else c,
                                        0 if r == 0 else filters * size,
                                        h,
                                        w,
                                    )
                            p += h
            row += rows

    return NativeFunction(convolution)
