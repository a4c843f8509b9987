"""The gradient of a convolution for its weight on the CPU, channels last.

It is an outer product over pixels: each chunk of images has its own sum, and the sums are added in a fixed
order.
"""

from __future__ import annotations

import functools

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.geometry import CHUNK_WORK, MAX_CHUNKS, Geometry
from bigmodel_core.kernels.cpu.convolution.padded_rows import (
    STACK,
    block_rows,
    load_filter,
    load_sizes,
    outside_memory,
    rows_under,
)
from bigmodel_core.kernels.cpu.convolution.tile import convolve_tile, tallest
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory

NEAR = 40 * 1024
"""Bytes of activations and gradients that a block of the weight's gradient goes over again and again."""
PIXELS = 512
"""Pixels whose products are summed in sequence; the sums of such strips are then added."""
PARTIAL_BYTES = 8 * 1024 * 1024
"""Bytes that the partial sums of a weight's gradient may take together."""


def weight_gradient(
    g: Geometry, x: CpuBuffer, dy: CpuBuffer, dw: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute the gradient (filters, channels of a group, taps) of a weight."""
    size, width = SIZES[g.dtype], tile_columns(g.dtype)
    inner = g.taps[0] * g.taps[1] * (g.channels // g.groups)
    count = inner * g.filters
    if count == 0:
        return []
    wanted = max(1, min(MAX_CHUNKS, g.work // CHUNK_WORK))
    pieces = max(1, min(g.n, wanted, PARTIAL_BYTES // (count * size)))
    each = max(1, -(-g.n // pieces))
    pieces = max(1, -(-g.n // each))
    columns = g.filters
    if g.groups == 1 and pieces < wanted:
        columns = max(width, -(-g.filters * pieces // wanted // width) * width)
    across = -(-g.filters // columns)
    block = block_rows(g, NEAR, g.out_width * min(columns, width) * size)
    chunks = pieces * across
    memory, memory_each = outside_memory(g, block, chunks, scratch)
    partial = scratch(pieces * count * size)
    context = [
        *(*g.context(), x, dy, partial, g.n, each, block, int(g.in_place), memory, memory_each),
        *(columns, across, count * size, convolve_tile(g.dtype)),
    ]
    step = max(1, min(16, g.filters))
    return [
        CpuLaunch(weight_gradient_kernel(g.dtype), context, chunks, choice=f"direct, {pieces} partial sums"),
        CpuLaunch(
            sum_pieces_kernel(g.dtype),
            [partial, dw, pieces, g.taps[0] * g.taps[1], g.channels // g.groups, g.filters, step],
            -(-g.filters // step),
        ),
    ]


@functools.cache
def weight_gradient_kernel(dtype: str) -> NativeFunction:
    """The kernel for the sum over some images, stored as (taps, channels of a group, filters)."""
    size, wide = SIZES[dtype], tile_columns(dtype)
    most_rows = tallest()
    tile, memory, rows_of = convolve_tile(dtype).call, stack_memory(STACK), rows_under(dtype)

    def convolution_weight_gradient(ctx, chunk):
        _, _, channels, out_height, out_width, filters = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across = load_filter(ctx)
        groups = load_int(ctx, 16)
        dy, partial, n = load_int(ctx, 18), load_int(ctx, 19), load_int(ctx, 20)
        each, most, in_place = load_int(ctx, 21), load_int(ctx, 22), load_int(ctx, 23)
        outside, across, tiles_of = load_int(ctx, 24), load_int(ctx, 27), load_int(ctx, 29)
        buffer = memory()
        if outside != 0:
            buffer = outside + chunk * load_int(ctx, 25)
        of_group, filters_of_group = channels // groups, filters // groups
        piece = chunk // across
        dw = partial + piece * load_int(ctx, 28)
        k0 = chunk % across * load_int(ctx, 26)
        k1 = min(filters_of_group, k0 + load_int(ctx, 26))
        pixel = channels * size
        merged = groups == 1 and gap_across == 1
        runs = 1 if merged else taps_across
        run = taps_across * channels if merged else of_group
        tiles = (run + most_rows - 1) // most_rows
        even = (run + tiles - 1) // tiles
        part = min(out_width, PIXELS)
        strip = PIXELS // part if part == out_width else 1
        fresh = True
        for image in range(piece * each, min(n, piece * each + each)):
            for first in range(0, out_height, most):
                rows = min(most, out_height - first)
                base, pitch = rows_of(ctx, image, first, rows, in_place, buffer)
                upstream = dy + (image * out_height + first) * out_width * filters * size
                i = j = 0
                while i < rows:  # strips of rows, or parts of a long one, each with its own sum
                    down, wide_part = min(strip, rows - i), min(part, out_width - j)
                    inside = base + i * step_down * pitch + j * step_across * pixel
                    flows = upstream + (i * out_width + j) * filters * size
                    for group in range(groups):
                        for k in range(k0, k1, wide):
                            w = min(wide, k1 - k)
                            column = (group * filters_of_group + k) * size
                            for r in range(taps_down):
                                for s in range(runs):
                                    source = inside + r * gap_down * pitch + s * gap_across * pixel
                                    source += group * of_group * size
                                    target = dw + (r * runs + s) * run * filters * size + column
                                    m = 0
                                    while m < run:
                                        h = min(even, run - m)
                                        c = target + m * filters * size
                                        tile(
                                            tiles_of,
                                            down,
                                            wide_part,
                                            source + m * size,
                                            size,
                                            step_across * pixel,
                                            step_down * pitch - wide_part * step_across * pixel,
                                            flows + column,
                                            filters * size,
                                            c,
                                            filters * size,
                                            0 if fresh else c,
                                            filters * size,
                                            h,
                                            w,
                                        )
                                        m += h
                    fresh = False
                    j += wide_part
                    if j == out_width:
                        i, j = i + down, 0

    return NativeFunction(convolution_weight_gradient)


@functools.cache
def sum_pieces_kernel(dtype: str) -> NativeFunction:
    """The kernel that adds up partial sums (taps, channels, filters) into (filters, channels, taps)."""
    size, read, write = SIZES[dtype], load(dtype), store(dtype)

    def sum_pieces(ctx, chunk):
        partial, out, pieces = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        taps, channels, filters, step = load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)
        count = taps * channels * filters
        first, last = chunk * step, min(filters, chunk * step + step)
        for row in range(taps * channels):
            base = partial + row * filters * size
            for piece in range(1, pieces):
                other = base + piece * count * size
                for k in range(first, last):
                    write(base, k, read(base, k) + read(other, k))
            at = row % channels * taps + row // channels
            for k in range(first, last):
                write(out, k * channels * taps + at, read(base, k))

    return NativeFunction(sum_pieces)
