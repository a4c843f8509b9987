"""Products with the weights of a recurrence, which are packed into panels once for all steps: each step meets
few rows with the whole weight."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import multiply_tile, tile_columns, tile_rows


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


def row_setter(dtype: str) -> Any:
    """The function that copies a row of numbers to a target; zeros if the source is 0."""
    read, write = load(dtype), store(dtype)

    def set_row(source, target, units):
        for j in range(units):
            if source != 0:
                write(target, j, read(source, j))
            else:
                write(target, j, 0)

    return set_row


@functools.cache
def add_vectors_kernel(dtype: str) -> NativeFunction:
    """The kernel for the sum of two vectors."""
    read, write = load(dtype), store(dtype)

    def add_vectors(ctx, chunk):
        a, b, out = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        for j in range(load_int(ctx, 3)):
            write(out, j, read(a, j) + read(b, j))

    return NativeFunction(add_vectors)
