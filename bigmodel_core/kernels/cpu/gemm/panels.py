"""A whole matrix in panels as wide as a tile, made before the products that read it, in one stream each."""

from __future__ import annotations

import functools

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import transpose_block


def panels_for(dtype: str, depth: int, columns: int, scratch: Scratch) -> CpuBuffer:
    """Memory for a matrix (depth, columns) in panels as wide as a tile, of whole vectors downwards."""
    lanes, width = vector_unit().lanes(dtype), tile_columns(dtype)
    return scratch(-(-columns // width) * -(-depth // lanes) * lanes * width * SIZES[dtype])


def panel_strides(dtype: str, depth: int) -> tuple[int, int]:
    """Bytes from a row of a panel to the next, and from a column where a panel begins to the next such one,
    for each column between them."""
    lanes, size = vector_unit().lanes(dtype), SIZES[dtype]
    return tile_columns(dtype) * size, -(-depth // lanes) * lanes * size


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
    return CpuLaunch(panels_kernel(dtype), context, -(-columns // width), makes=(panels,))


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
