"""Convolutions under 3 x 3 filters, channels last, by Winograd's algorithm (Lavin and Gray, 2016).

Four by four pixels and a filter are both taken to 16 numbers (`winograd_tile.py`); their product, summed over
channels, gives two by two outputs, F(2 x 2, 3 x 3): 16 multiplications where the definition takes 36. Sums
over channels are matrix products over all tiles, one for each of the 16 numbers, with the micro-kernel of the
direct algorithm.

A chunk goes over its tiles block by block, so that what is transformed stays in the second-level cache.
Chunks are chosen by shapes alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.geometry import CHUNK_WORK, Geometry, chunk_rows, filter_chunks
from bigmodel_core.kernels.cpu.convolution.tile import convolve_tile, tallest
from bigmodel_core.kernels.cpu.convolution.winograd_tile import OF_INPUT, OF_PRODUCT, transform_grid
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory

POINTS = 16
"""Numbers of a transformed tile."""
WORK = 448 * 1024
"""Bytes of the stack that hold the transformed tiles of a block."""
MORE_WORK = 544 * 1024
"""The same where many channels leave room for few tiles: those of 7 x 7 pixels with 512 channels."""
MOST_TILES = 56
"""Tiles of a block, at most."""
ROW = 8 * 1024
"""Bytes of the stack for a row of zeros, as long as the channels, and for a row that is thrown away."""
STACK = MORE_WORK + 2 * ROW
"""Bytes of the stack that a kernel takes: any block of `tiles_of_block` has room there."""
FEW_TILES = 32
"""With fewer tiles the filters' transforms are not worth it."""
FEWEST_TILES = 8
"""With fewer tiles transforms are not worth it even where those of the filters are kept."""
FEW_CHANNELS = 16
"""With fewer channels, on either side, the transforms of pixels are not worth it."""


def fits(g: Geometry, is_kept: bool = False) -> bool:
    """Whether the algorithm can compute a convolution, which is big enough for it to pay.

    Args:
        is_kept: whether the filters' transforms are kept from run to run.
    """
    plain = g.taps == (3, 3) and g.stride == g.dilation == g.spread == (1, 1) and g.groups == 1
    return (
        plain
        and g.dtype == "float32"
        and min(g.channels, g.filters) >= FEW_CHANNELS
        and max(g.channels, g.filters) * SIZES[g.dtype] <= ROW
        and _tiles(g) >= (FEWEST_TILES if is_kept else FEW_TILES)
    )


def _tiles(g: Geometry) -> int:
    return g.n * (-(-g.out_height // 2)) * (-(-g.out_width // 2))


def whole_vectors(numbers: int, dtype: str) -> int:
    """Numbers rounded up to whole vectors."""
    lanes = vector_unit().lanes(dtype)
    return -(-numbers // lanes) * lanes


def tiles_of_block(g: Geometry, columns: int) -> int:
    """Tiles of a block, beside which `columns` numbers of the other side are kept for each."""
    each = POINTS * (whole_vectors(g.channels, g.dtype) + columns) * SIZES[g.dtype]
    most = max(1, min(MOST_TILES, WORK // each))
    return most // tallest() * tallest() or max(1, MORE_WORK // each)


def convolve(
    g: Geometry,
    x: CpuBuffer,
    weight: CpuBuffer,
    bias: CpuBuffer | None,
    y: CpuBuffer,
    scratch: Scratch,
    turned: bool,
) -> list[CpuLaunch]:
    """The launches that compute y from x and a weight (filters, channels, 3, 3).

    Args:
        turned: the weight is (channels, filters, 3, 3) and its taps are taken in reverse: the gradient for
            the input of a convolution is such a convolution.
    """
    size = SIZES[g.dtype]
    width = min(tile_columns(g.dtype), whole_vectors(g.filters, g.dtype))
    panels = -(-g.filters // width)
    arranged = scratch(panels * POINTS * g.channels * width * size)
    strides = (9, 9 * g.filters) if turned else (9 * g.channels, 9)
    each = max(1, min(g.channels, 2 * CHUNK_WORK // (100 * width)))
    parts = -(-g.channels // each)
    filters: list[Item] = [
        weight,
        arranged,
        g.channels,
        g.filters,
        width,
        *strides,
        int(turned),
        each,
        parts,
    ]
    shared, rows = filter_chunks(g, width)
    of_chunk, rows = shared or g.filters, rows or chunk_rows(g, even=True)
    total, chunks = g.n * g.out_height, -(-g.filters // of_chunk)
    most = tiles_of_block(g, width)
    context: list[Item] = [
        *(g.height, g.width, g.channels, g.out_height, g.out_width, g.filters, *g.padding),
        *(x, arranged, bias or 0, y, rows, total, most, width, convolve_tile(g.dtype)),
        *(chunks, of_chunk),
    ]
    choice = f"Winograd F(2x2, 3x3), {most} tiles at a time"
    if shared:
        choice += f", {of_chunk} filters a chunk"
    return [
        CpuLaunch(filters_kernel(g.dtype), filters, panels * parts, makes=(arranged,)),
        CpuLaunch(
            convolution_kernel(g.dtype),
            context,
            -(-total // rows) * chunks,
            (rows * g.out_width, of_chunk),
            choice=choice,
        ),
    ]


@functools.cache
def filters_kernel(dtype: str) -> NativeFunction:
    """The kernel that takes filters to 16 numbers each, stored as (panel, number, channel, filter of it)."""
    size, read, write = SIZES[dtype], load(dtype), store(dtype)
    memory = stack_memory(POINTS * tile_columns(dtype) * size)

    def put_row(to, at, step, a, b, d):
        write(to, at, a)
        write(to, at + step, (a + d + b) / 2)
        write(to, at + 2 * step, (a + d - b) / 2)
        write(to, at + 3 * step, d)

    def winograd_filters(ctx, chunk):
        weight, channels, filters = load_int(ctx, 0), load_int(ctx, 2), load_int(ctx, 3)
        width, of_filter, of_channel = load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)
        turned, each, parts = load_int(ctx, 7), load_int(ctx, 8), load_int(ctx, 9)
        panel, c0 = chunk // parts, chunk % parts * each
        step = channels * width  # from one of the 16 numbers to the next
        to = load_int(ctx, 1) + panel * POINTS * step * size
        first = panel * width
        row = memory()
        onward = 1 - 2 * turned
        for c in range(c0, min(channels, c0 + each)):
            for k in range(width):
                source = weight + ((min(first + k, filters - 1)) * of_filter + c * of_channel) * size
                source += 8 * turned * size
                g0, g1, g2 = read(source, 0), read(source, onward), read(source, 2 * onward)
                g3, g4, g5 = read(source, 3 * onward), read(source, 4 * onward), read(source, 5 * onward)
                g6, g7, g8 = read(source, 6 * onward), read(source, 7 * onward), read(source, 8 * onward)
                a, b, d = (g0 + g6) / 2, (g1 + g7) / 2, (g2 + g8) / 2  # rows of G g, then of G g G^T
                put_row(row, k, width, g0, g1, g2)
                put_row(row, 4 * width + k, width, a + g3 / 2, b + g4 / 2, d + g5 / 2)
                put_row(row, 8 * width + k, width, a - g3 / 2, b - g4 / 2, d - g5 / 2)
                put_row(row, 12 * width + k, width, g6, g7, g8)
            for point in range(POINTS):  # whole lines: places a power of two apart share few of the cache
                for k in range(width):
                    write(to, point * step + c * width + k, read(row, point * width + k))

    return NativeFunction(winograd_filters)


def valid_points(row, column, height, width, points):
    """Bit i * points + j says whether pixel (row + i, column + j) is inside."""
    across = 0
    for j in range(points):
        if 0 <= column + j < width:
            across |= 1 << j
    found = 0
    for i in range(points):
        if 0 <= row + i < height:
            found |= across << (i * points)
    return found


@functools.cache
def put_pixels(dtype: str) -> Callable[..., None]:
    """Takes 4 x 4 pixels of an image, from (i, j) on, to their 16 numbers at `place`, `step` bytes apart."""
    size, of_input = SIZES[dtype], transform_grid(dtype, OF_INPUT)
    everywhere = (1 << POINTS) - 1

    def put(x, image, i, j, height, width, channels, nothing, waste, place, step):
        pixel = channels * size
        valid = everywhere
        if i < 0 or j < 0 or i + 4 > height or j + 4 > width:
            valid = valid_points(i, j, height, width, 4)
        source = x + ((image * height + i) * width + j) * pixel
        pitch, across = width * pixel, 4 * step
        of_input(source, pitch, pixel, valid, nothing, place, across, step, everywhere, waste, 0, channels)

    return put


@functools.cache
def convolution_kernel(dtype: str) -> NativeFunction:
    """The kernel for rows of outputs: whole images, or an even part of one; `convolve` lists its context."""
    size, write = SIZES[dtype], store(dtype)
    vector = vector_unit().lanes(dtype) * size
    most_rows = tallest()
    tile, memory = convolve_tile(dtype).call, stack_memory(STACK)
    put, of_product = put_pixels(dtype), transform_grid(dtype, OF_PRODUCT)

    def winograd_convolution(ctx, chunk):
        height, width, channels = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        out_height, out_width, filters = load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5)
        top, left = load_int(ctx, 6), load_int(ctx, 7)
        x, weight, bias, y = load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 10), load_int(ctx, 11)
        each, total, most, wide = load_int(ctx, 12), load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15)
        tiles_of, shares, of_chunk = load_int(ctx, 16), load_int(ctx, 17), load_int(ctx, 18)
        first_filter = chunk % shares * of_chunk
        last_filter = min(filters, first_filter + of_chunk)
        pixel, out_pixel = channels * size, filters * size
        row = chunk // shares * each
        rows = min(each, total - row)  # of one image, or whole images
        image0, first = row // out_height, row % out_height // 2
        down, across = (min(rows, out_height) + 1) // 2, (out_width + 1) // 2
        tiles = (rows + out_height - 1) // out_height * down * across
        nothing = memory()
        waste = nothing + ROW
        for k in range(channels + vector // size):
            write(nothing, k, 0)
        pixels = waste + ROW
        pixels_row = (pixel + vector - 1) // vector * vector
        pixels_step = most * pixels_row
        products = pixels + POINTS * pixels_step
        products_row = wide * size
        products_step = most * products_row
        all_of_them = (1 << POINTS) - 1
        for t0 in range(0, tiles, most):
            count = min(most, tiles - t0)
            for t in range(count):
                image = image0 + (t0 + t) // (down * across)
                i = 2 * (first + (t0 + t) % (down * across) // across) - top
                j = 2 * ((t0 + t) % across) - left
                place = pixels + t * pixels_row
                put(x, image, i, j, height, width, channels, nothing, waste, place, pixels_step)
            blocks = (count + most_rows - 1) // most_rows
            even = (count + blocks - 1) // blocks
            panel = weight + first_filter * POINTS * channels * size
            for k in range(first_filter, last_filter, wide):
                w = min(wide, last_filter - k)
                for point in range(POINTS):
                    t = 0
                    while t < count:
                        h = min(even, count - t)
                        tile(
                            tiles_of,
                            1,
                            channels,
                            pixels + point * pixels_step + t * pixels_row,
                            pixels_row,
                            size,
                            0,
                            panel,
                            wide * size,
                            products + point * products_step + t * products_row,
                            products_row,
                            0,
                            0,
                            h,
                            w,
                        )
                        t += h
                    panel += channels * wide * size
                begin = bias + k * size if bias != 0 else 0
                for t in range(count):
                    image = image0 + (t0 + t) // (down * across)
                    i = 2 * (first + (t0 + t) % (down * across) // across)
                    j = 2 * ((t0 + t) % across)
                    valid = 15
                    if i + 2 > out_height or j + 2 > out_width:
                        valid = valid_points(i, j, out_height, out_width, 2)
                    of_product(
                        products + t * products_row,
                        4 * products_step,
                        products_step,
                        all_of_them,
                        nothing,
                        y + ((image * out_height + i) * out_width + j) * out_pixel + k * size,
                        out_width * out_pixel,
                        out_pixel,
                        valid,
                        waste,
                        begin,
                        w,
                    )

    return NativeFunction(winograd_convolution)
