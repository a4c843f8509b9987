"""Convolutions on the CPU, channels last: directly on the activations, without unfolding them into columns.

The kernel computes tiles of (neighbouring pixels of a row) x (filters); for each the micro-kernel runs over
the filter's rows, under each of which the numbers are contiguous. The gradient for the input is the same
convolution of the upstream gradient, its pixels spread by the stride, with flipped filters.

This algorithm serves every shape. Where x must be padded, or its pixels spread, the rows that a block of
outputs needs are first copied (`padded_rows.py`). Chunks are chosen by shapes alone.
"""

from __future__ import annotations

import functools

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.geometry import Geometry, chunk_rows
from bigmodel_core.kernels.cpu.convolution.padded_rows import (
    STACK,
    all_finite,
    block_rows,
    load_filter,
    load_sizes,
    outside_memory,
    rows_under,
)
from bigmodel_core.kernels.cpu.convolution.tile import convolve_tile, tallest
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory


def convolve(
    g: Geometry,
    x: CpuBuffer,
    weight: CpuBuffer,
    bias: CpuBuffer | None,
    y: CpuBuffer,
    scratch: Scratch,
    single: tuple[CpuBuffer, int] | None = None,
    shares: tuple[int, int] = (0, 0),
) -> list[CpuLaunch]:
    """The launch that computes y from x and a weight stored as (taps, channels of a group, filters).

    Args:
        single: where each pixel of g stands for several: the weight of one of them, and how many they are.
            From a block of x on with numbers that are not finite, a chunk takes this one, which has no zeros.
        shares: the filters and rows of a chunk, as `filter_chunks` gives them; the weight is in panels where
            chunks share the filters out.
    """
    if g.n * g.out_height * g.out_width * g.filters == 0:
        return []
    size, total = SIZES[g.dtype], g.n * g.out_height
    of_chunk, rows = shares
    rows, columns = rows or chunk_rows(g), of_chunk or g.filters
    b_row, b_column = g.filters * size, size
    if of_chunk:
        b_row, b_column = tile_columns(g.dtype) * size, g.taps[0] * g.taps[1] * g.channels * size
    across = -(-g.filters // columns)
    chunks = -(-total // rows) * across
    # The longer a chunk stays with one panel of filters, the more often it finds it in the cache.
    block = g.out_height if g.in_place else block_rows(g, 2 * STACK if of_chunk else STACK)
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
    context += [convolve_tile(g.dtype), *(single or (0, 1)), across, columns, b_row, b_column]
    choice = "direct, pixels in place" if g.in_place else f"direct, {block} padded rows at a time"
    if of_chunk:
        choice += f", {columns} filters a chunk"
    tile = (rows * g.out_width, columns)
    return [CpuLaunch(convolution_kernel(g.dtype), context, chunks, tile, choice=choice)]


@functools.cache
def convolution_kernel(dtype: str) -> NativeFunction:
    """The kernel for rows of outputs; `convolve` lists its context."""
    size, wide = SIZES[dtype], tile_columns(dtype)
    most_rows = tallest()
    tile, memory = convolve_tile(dtype).call, stack_memory(STACK)
    rows_of, finite = rows_under(dtype), all_finite(dtype)

    def convolution(ctx, chunk):
        _, _, channels, out_height, out_width, filters = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across = load_filter(ctx)
        groups = load_int(ctx, 16)
        weight, bias, y = load_int(ctx, 18), load_int(ctx, 19), load_int(ctx, 20)
        single, pixels = load_int(ctx, 28), load_int(ctx, 29)
        each, total, most = load_int(ctx, 21), load_int(ctx, 22), load_int(ctx, 23)
        in_place, outside, tiles_of = load_int(ctx, 24), load_int(ctx, 25), load_int(ctx, 27)
        across, of_chunk = load_int(ctx, 30), load_int(ctx, 31)
        b_row, b_column = load_int(ctx, 32), load_int(ctx, 33)
        buffer = memory()
        if outside != 0:
            buffer = outside + chunk * load_int(ctx, 26)
        columns = (out_width - 1) * step_across + (taps_across - 1) * gap_across + 1
        pixel = channels * size
        of_group = channels // groups
        merged = groups == 1 and gap_across == 1
        row = chunk // across * each
        last = min(total, row + each)
        while row < last:
            image, first = row // out_height, row % out_height
            rows = min(most, last - row, out_height - first)
            base, pitch = rows_of(ctx, image, first, rows, in_place, buffer)
            needed = (rows - 1) * step_down + (taps_down - 1) * gap_down + 1
            count = (needed - 1) * pitch // size + columns * channels
            if single != 0 and pixels > 1 and not finite(base, count):
                # Zero weights keep out finite numbers alone: the rest of the chunk goes pixel by pixel.
                weight, out_width, filters = single, out_width * pixels, filters // pixels
                step_across //= pixels
                taps_across -= (pixels - 1) * step_across
                pixels, b_row, of_chunk = 1, filters * size, filters
            filters_of_group = filters // groups
            tiles = (out_width + most_rows - 1) // most_rows  # of equal height, but for the last
            even = (out_width + tiles - 1) // tiles
            begin_at = chunk % across * of_chunk
            end_at = min(filters_of_group, begin_at + of_chunk)
            for group in range(groups):
                for j in range(begin_at, end_at, wide):
                    w = min(wide, end_at - j)
                    column = (group * filters_of_group + j) * size
                    b = weight + (group * filters_of_group + j) * b_column
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
                                    b,
                                    b_row,
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
                                        b + r * taps_across * of_group * b_row,
                                        b_row,
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
