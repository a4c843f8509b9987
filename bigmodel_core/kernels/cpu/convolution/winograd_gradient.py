"""The gradient of a convolution for its 3 x 3 filters by Winograd's algorithm, F(3 x 3, 2 x 2).

`winograd.py` backwards: transformed pixels meet transformed gradients of the output, their products are
summed over tiles, and the sums are taken to filters at the end. Each chunk of images has its own sum; the
sums are added up in a fixed order.

At the padding a tile has pixels that one of the filter's taps never meets. They cancel, but for NaN and
infinity: filters with such numbers are summed again by the definition.
"""

from __future__ import annotations

import functools

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.direct_gradient import PARTIAL_BYTES
from bigmodel_core.kernels.cpu.convolution.geometry import CHUNK_WORK, MAX_CHUNKS, Geometry
from bigmodel_core.kernels.cpu.convolution.padded_rows import all_finite
from bigmodel_core.kernels.cpu.convolution.tile import convolve_tile, tallest
from bigmodel_core.kernels.cpu.convolution.winograd import (
    POINTS,
    ROW,
    STACK,
    put_pixels,
    tiles_of_block,
    valid_points,
    whole_vectors,
)
from bigmodel_core.kernels.cpu.convolution.winograd_tile import OF_UPSTREAM, transform_grid
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory

SUMS = 64
"""Filters that are brought back from their 16 numbers at a time."""


def weight_gradient(
    g: Geometry, x: CpuBuffer, dy: CpuBuffer, dw: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute the gradient (filters, channels, 3, 3) of a weight."""
    size, width = SIZES[g.dtype], tile_columns(g.dtype)
    count = POINTS * g.channels * g.filters
    wanted = max(1, min(MAX_CHUNKS, g.work // CHUNK_WORK))
    pieces = max(1, min(g.n, wanted, PARTIAL_BYTES // (count * size)))
    each = -(-g.n // pieces)
    pieces = -(-g.n // each)
    columns = g.filters
    if pieces < wanted:
        columns = max(2 * width, -(-g.filters * pieces // wanted // width) * width)
    columns = min(columns, g.filters)
    across = -(-g.filters // columns)
    partial = scratch(pieces * count * size)
    most = tiles_of_block(g, whole_vectors(columns, g.dtype))
    context: list[Item] = [
        *(g.height, g.width, g.channels, g.out_height, g.out_width, g.filters, *g.padding),
        *(x, dy, partial, g.n, each, columns, across, most, convolve_tile(g.dtype)),
    ]
    step = max(1, min(g.channels, 2 * CHUNK_WORK // (100 * g.filters * pieces)))
    return [
        CpuLaunch(
            weight_gradient_kernel(g.dtype),
            context,
            pieces * across,
            choice=f"Winograd F(3x3, 2x2), {pieces} partial sums",
        ),
        CpuLaunch(
            sum_pieces_kernel(g.dtype),
            [
                *(partial, dw, pieces, g.channels, g.filters, step),
                *(x, dy, g.n, g.height, g.width, g.out_height, g.out_width, *g.padding),
            ],
            -(-g.channels // step),
        ),
    ]


@functools.cache
def weight_gradient_kernel(dtype: str) -> NativeFunction:
    """The kernel for the sum over the tiles of some images, stored as (number, channel, filter)."""
    size, wide, write = SIZES[dtype], tile_columns(dtype), store(dtype)
    vector = vector_unit().lanes(dtype) * size
    most_rows = tallest()
    tile, memory = convolve_tile(dtype).call, stack_memory(STACK)
    put, of_upstream = put_pixels(dtype), transform_grid(dtype, OF_UPSTREAM)

    def winograd_weight_gradient(ctx, chunk):
        height, width, channels = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        out_height, out_width, filters = load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5)
        top, left = load_int(ctx, 6), load_int(ctx, 7)
        x, dy, n, each = load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 11), load_int(ctx, 12)
        columns, parts, most = load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15)
        tiles_of = load_int(ctx, 16)
        pixel, out_pixel = channels * size, filters * size
        image0, k0 = chunk // parts * each, chunk % parts * columns
        columns = min(columns, filters - k0)
        sums = load_int(ctx, 10) + (chunk // parts * POINTS * channels * filters + k0) * size
        down, across = (out_height + 1) // 2, (out_width + 1) // 2
        tiles = (min(n, image0 + each) - image0) * down * across
        nothing = memory()
        waste = nothing + ROW
        for k in range(max(channels, columns) + vector // size):
            write(nothing, k, 0)
        pixels = waste + ROW
        pixels_row = (pixel + vector - 1) // vector * vector
        pixels_step = most * pixels_row
        upstream = pixels + POINTS * pixels_step
        upstream_row = (columns * size + vector - 1) // vector * vector
        upstream_step = most * upstream_row
        all_of_them = (1 << POINTS) - 1
        blocks = (channels + most_rows - 1) // most_rows
        even = (channels + blocks - 1) // blocks
        for t0 in range(0, tiles, most):
            count = min(most, tiles - t0)
            for t in range(count):
                image = image0 + (t0 + t) // (down * across)
                i = 2 * ((t0 + t) % (down * across) // across)
                j = 2 * ((t0 + t) % across)
                valid = 15
                if i + 2 > out_height or j + 2 > out_width:
                    valid = valid_points(i, j, out_height, out_width, 2)
                of_upstream(
                    dy + ((image * out_height + i) * out_width + j) * out_pixel + k0 * size,
                    out_width * out_pixel,
                    out_pixel,
                    valid,
                    nothing,
                    upstream + t * upstream_row,
                    4 * upstream_step,
                    upstream_step,
                    all_of_them,
                    waste,
                    0,
                    columns,
                )
                i -= top
                j -= left
                place = pixels + t * pixels_row
                put(x, image, i, j, height, width, channels, nothing, waste, place, pixels_step)
            for point in range(POINTS):
                for k in range(0, columns, wide):
                    w = min(wide, columns - k)
                    c = 0
                    while c < channels:
                        h = min(even, channels - c)
                        target = sums + ((point * channels + c) * filters + k) * size
                        tile(
                            tiles_of,
                            1,
                            count,
                            pixels + point * pixels_step + c * size,
                            size,
                            pixels_row,
                            0,
                            upstream + point * upstream_step + k * size,
                            upstream_row,
                            target,
                            out_pixel,
                            0 if t0 == 0 else target,
                            out_pixel,
                            h,
                            w,
                        )
                        c += h

    return NativeFunction(winograd_weight_gradient)


@functools.cache
def sum_pieces_kernel(dtype: str) -> NativeFunction:
    """The kernel that adds up partial sums (number, channel, filter) and takes them to filters of 3 x 3."""
    size, read, write, finite = SIZES[dtype], load(dtype), store(dtype), all_finite(dtype)
    memory, nothing = stack_memory(POINTS * SUMS * size), np.zeros(1, dtype)[0]

    def by_definition(ctx, c, f, target):
        """The gradient of one filter for one channel, tap by tap."""
        channels, filters = load_int(ctx, 3), load_int(ctx, 4)
        x, dy, n, height, width = (
            load_int(ctx, 6),
            load_int(ctx, 7),
            load_int(ctx, 8),
            load_int(ctx, 9),
            load_int(ctx, 10),
        )
        out_height, out_width = load_int(ctx, 11), load_int(ctx, 12)
        top, left = load_int(ctx, 13), load_int(ctx, 14)
        for r in range(3):
            for s in range(3):
                total = nothing
                for image in range(n):
                    for i in range(max(0, top - r), min(out_height, height + top - r)):
                        row = (image * height + i + r - top) * width + s - left
                        upstream = (image * out_height + i) * out_width
                        for j in range(max(0, left - s), min(out_width, width + left - s)):
                            pixel = read(x, (row + j) * channels + c)
                            total += pixel * read(dy, (upstream + j) * filters + f)
                write(target, 3 * r + s, total)

    def winograd_sum_pieces(ctx, chunk):
        partial, out, pieces = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        channels, filters, step = load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5)
        plane = channels * filters
        last = min(plane, (chunk + 1) * step * filters)
        sums = memory()  # a row of them, where places a power of two apart do not meet in the cache
        for place in range(chunk * step * filters, last, SUMS):
            count = min(SUMS, last - place)
            for point in range(POINTS):
                source = partial + (point * plane + place) * size
                target = sums + point * SUMS * size
                for k in range(count):
                    write(target, k, read(source, k))
                for piece in range(1, pieces):
                    other = source + piece * POINTS * plane * size
                    for k in range(count):
                        write(target, k, read(target, k) + read(other, k))
            for k in range(count):
                source = sums + k * size
                c, f = (place + k) // filters, (place + k) % filters
                target = out + (f * channels + c) * 9 * size
                for j in range(3):  # column j of S G, then of G^T S G
                    if j == 0:
                        p = read(source, 0) + (read(source, SUMS) + read(source, 2 * SUMS)) / 2
                        q = read(source, 4 * SUMS) + (read(source, 5 * SUMS) + read(source, 6 * SUMS)) / 2
                        r = read(source, 8 * SUMS) + (read(source, 9 * SUMS) + read(source, 10 * SUMS)) / 2
                        s = read(source, 12 * SUMS) + (read(source, 13 * SUMS) + read(source, 14 * SUMS)) / 2
                    elif j == 1:
                        p = (read(source, SUMS) - read(source, 2 * SUMS)) / 2
                        q = (read(source, 5 * SUMS) - read(source, 6 * SUMS)) / 2
                        r = (read(source, 9 * SUMS) - read(source, 10 * SUMS)) / 2
                        s = (read(source, 13 * SUMS) - read(source, 14 * SUMS)) / 2
                    else:
                        p = (read(source, SUMS) + read(source, 2 * SUMS)) / 2 + read(source, 3 * SUMS)
                        q = (read(source, 5 * SUMS) + read(source, 6 * SUMS)) / 2 + read(source, 7 * SUMS)
                        r = (read(source, 9 * SUMS) + read(source, 10 * SUMS)) / 2 + read(source, 11 * SUMS)
                        s = (read(source, 13 * SUMS) + read(source, 14 * SUMS)) / 2 + read(source, 15 * SUMS)
                    write(target, j, p + (q + r) / 2)
                    write(target, 3 + j, (q - r) / 2)
                    write(target, 6 + j, (q + r) / 2 + s)
                if not finite(target, 9):
                    by_definition(ctx, c, f, target)

    return NativeFunction(winograd_sum_pieces)
