"""Products with the weights of a recurrence: packed into panels once for all steps.

Each step meets few rows with the whole weight; panels as wide as a tile are read in one stream.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import multiply_tile, tile_columns, tile_rows
from bigmodel_core.kernels.cpu.gemm.packing import transpose_block


def panels_for(dtype: str, depth: int, columns: int, scratch: Scratch) -> CpuBuffer:
    """Memory for a matrix (depth, columns) in panels as wide as a tile, of whole vectors downwards."""
    lanes, width = vector_unit().lanes(dtype), tile_columns(dtype)
    return scratch(-(-columns // width) * -(-depth // lanes) * lanes * width * SIZES[dtype])


def packing(
    dtype: str,
    weight: CpuBuffer,
    panels: CpuBuffer,
    rows: int,
    columns: int,
    depth: int,
    first: int,
    transposed: bool = False,
) -> CpuLaunch:
    """The launch that puts a matrix (rows, columns), stored like that or transposed, into panels.

    Args:
        depth: rows of the panels.
        first: the row of the panels where the matrix begins.
    """
    lanes, width, size = vector_unit().lanes(dtype), tile_columns(dtype), SIZES[dtype]
    whole = -(-depth // lanes) * lanes
    context: list[Item] = [weight, panels, rows, columns, whole, int(transposed), first * width * size]
    return CpuLaunch(panels_kernel(dtype), context, -(-columns // width))


@functools.cache
def panels_kernel(dtype: str) -> NativeFunction:
    """The kernel that packs one panel; columns beyond the matrix are zero."""
    size, width, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    read, write, transpose = load(dtype), store(dtype), transpose_block(dtype)

    def pack_panel(ctx, panel):
        source, k, columns = load_int(ctx, 0), load_int(ctx, 2), load_int(ctx, 3)
        depth, transposed = load_int(ctx, 4), load_int(ctx, 5)
        target = load_int(ctx, 1) + panel * depth * width * size + load_int(ctx, 6)
        first = panel * width
        here = min(width, columns - first)
        if transposed != 0:
            for j in range(0, here, lanes):
                block = source + (first + j) * k * size
                for p in range(0, k, lanes):
                    place = target + (p * width + j) * size
                    transpose(block + p * size, k * size, here - j, place, width * size)
        else:
            for p in range(k):
                row = target + p * width * size
                for j in range(here):
                    write(row, j, read(source, p * columns + first + j))
                for j in range(here, width):
                    write(row, j, 0)

    return NativeFunction(pack_panel)


def product_with_panels(dtype: str) -> Any:
    """The function c (rows, columns) = start + a (rows, k) times panels, for any number of rows."""
    size, width, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    tallest, second = tile_rows()[:2]
    multiply = multiply_tile(dtype)

    def product(rows, k, columns, a, panels, c, c_row, start, start_row):
        panel = (k + lanes - 1) // lanes * lanes * width * size
        for j in range(0, columns, width):
            i = 0
            while i < rows:
                h = tallest
                if rows - i < tallest:
                    h = second
                    while h > rows - i:
                        h //= 2
                from_a, to_c, begin = (
                    a + i * k * size,
                    c + i * c_row + j * size,
                    start + i * start_row + j * size,
                )
                w = min(width, columns - j)
                multiply(
                    k,
                    from_a,
                    k * size,
                    size,
                    panels,
                    width * size,
                    to_c,
                    c_row,
                    begin,
                    start_row,
                    from_a,
                    0,
                    h,
                    w,
                )
                i += h
            panels += panel

    return product


@functools.cache
def add_vectors_kernel(dtype: str) -> NativeFunction:
    """The kernel for the sum of two vectors."""
    read, write = load(dtype), store(dtype)

    def add_vectors(ctx, chunk):
        a, b, out = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        for j in range(load_int(ctx, 3)):
            write(out, j, read(a, j) + read(b, j))

    return NativeFunction(add_vectors)
