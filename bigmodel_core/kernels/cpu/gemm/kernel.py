"""The kernel of the matrix product on the CPU: a block of C, tile by tile; `gemm.py` says how it is cut."""

from __future__ import annotations

import functools

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import prefetch_line
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import WIDE, multiply_tile, tile_columns, tile_rows
from bigmodel_core.kernels.cpu.gemm.packing import copy_vectors, stack_memory, transpose_block

COLUMNS = 256
"""Columns of a chunk, at most, where B is copied."""
DEPTH_BYTES = 1280
"""Bytes of a row in a block of k, at most: twelve rows then take 15 KB of the first-level cache."""
LINE = 64
"""Bytes of a cache line."""

IN_PLACE, COPY, TRANSPOSE, PANELS = 0, 1, 2, 3
"""How an operand is read: where it is; or copied, into panels (B) or tiles (A); or, for B alone, transposed
into panels, or from panels of the whole matrix."""


@functools.cache
def product_kernel(dtype: str) -> NativeFunction:
    """The kernel that computes blocks of C; `gemm._product` lists its context."""
    size, width, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    h0, h1 = tile_rows()[:2]
    panel_row, vector, wide = width * size, lanes * size, WIDE * lanes
    multiply, transpose = multiply_tile(dtype), transpose_block(dtype)
    copy_panel_row, copy_vector = copy_vectors(dtype, width // lanes), copy_vectors(dtype, 1)
    read, write = load(dtype), store(dtype)
    b_memory = stack_memory(DEPTH_BYTES * COLUMNS)
    a_memory = stack_memory(DEPTH_BYTES * h0)

    def pack_b(b, b_row, b_column, columns, kc, panel, form, target):
        """Copy `kc` rows of some columns of B into panels."""
        if form == COPY:
            for p in range(kc):
                to = target + p * panel_row
                for j in range(0, columns, width):
                    copy_panel_row(b + p * b_row + j * size, to)
                    to += panel
        else:
            for j in range(0, columns, lanes):
                to = target + j // width * panel + j % width * size
                source = b + j * b_column
                for p in range(0, kc, lanes):
                    transpose(source + p * size, b_column, columns - j, to + p * panel_row, panel_row)

    def product(ctx, chunk):
        m, n, k = load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)
        a_row, a_step = load_int(ctx, 7), load_int(ctx, 8)
        b_row, b_column = load_int(ctx, 9), load_int(ctx, 10)
        rows, columns, depth = load_int(ctx, 11), load_int(ctx, 12), load_int(ctx, 13)
        a_form, b_form = load_int(ctx, 14), load_int(ctx, 15)
        across, down = load_int(ctx, 16), load_int(ctx, 17)
        batch, group, together = load_int(ctx, 18), load_int(ctx, 19), load_int(ctx, 24)
        adds = load_int(ctx, 25) != 0
        block, first = chunk // across, chunk // across // down * group
        i0, j0 = block % down * rows, chunk % across * columns
        i1, j1 = min(m, i0 + rows), min(n, j0 + columns)
        if i0 >= i1:  # m is what it was set to for this run
            return
        panels, a_tile = b_memory(), a_memory()
        panel = depth * panel_row
        for matrix in range(first, min(first + group, batch)):
            a = load_int(ctx, 0) + matrix * load_int(ctx, 20)
            b = load_int(ctx, 1) + matrix * load_int(ctx, 21) + j0 * b_column
            place = matrix * load_int(ctx, 22) + j0 * size
            c, sums = load_int(ctx, 2) + place, load_int(ctx, 23) + place
            bias = load_int(ctx, 3)
            if bias != 0:
                bias += j0 * size
            for k0 in range(0, k, depth):
                kc = min(depth, k - k0)
                b_read, b_step, b_next = b + k0 * b_row, b_row, b_column
                is_copied = b_form in (COPY, TRANSPOSE)
                if is_copied:
                    pack_b(b_read, b_row, b_column, j1 - j0, kc, panel, b_form, panels)
                    b_read, b_step, b_next = panels, panel_row, panel // width
                # While tiles of this block of k are computed, the next block's B is on its way: tile t asks
                # for line t of each of its rows (of each of its columns, where B is transposed). Else the
                # first tile of a row of tiles asks for the A of the next row, where A is read in place.
                upcoming = b + (k0 + kc) * b_row if is_copied and k0 + kc < k else a
                lines = (kc * size if b_form == TRANSPOSE else (j1 - j0) * size) // LINE
                ahead_step = b_column if b_form == TRANSPOSE else b_row
                line = 0
                number = k0 // depth
                fresh = number % together == 0 and not (adds and number == 0)  # the first block of its group
                to = c if number < together else sums
                i = i0
                while i < i1:
                    left = i1 - i
                    h = h0
                    if left < h0:
                        h = h1
                        while h > left:
                            h //= 2
                    a_read, row, step = a + i * a_row + k0 * a_step, a_row, a_step
                    if a_form == COPY:
                        row = (kc * size + vector - 1) // vector * vector
                        for r in range(h):
                            for p in range(0, row, vector):
                                copy_vector(a_read + r * a_row + p, a_tile + r * row + p)
                                prefetch_line(a_read + (h0 + r) * a_row + p)
                        a_read = a_tile
                    target = to + i * n * size
                    start, start_row, start_next = target, n * size, size
                    if fresh:
                        start, start_row = bias if k0 == 0 else 0, 0
                        start_next = size if start != 0 else 0
                    j = j0
                    while j < j1:
                        w = min(width, j1 - j)
                        if h == 1 and b_form == IN_PLACE and j1 - j >= wide:
                            w = wide
                        ahead, next_ahead = a_read, 0
                        if upcoming != a and line < lines:
                            ahead, next_ahead = upcoming + line * LINE, ahead_step
                            line += 1
                        elif j == j0 and a_form == IN_PLACE:
                            if a_row == size:  # transposed: a line of each step of k
                                ahead, next_ahead = a_read + (h + h0 - 1) * size, a_step
                            elif a_row == kc * size:  # rows in one piece
                                ahead, next_ahead = a_read + h * a_row, h0 * size
                        multiply(
                            kc,
                            a_read,
                            row,
                            step,
                            b_read,
                            b_step,
                            target,
                            n * size,
                            start,
                            start_row,
                            ahead,
                            next_ahead,
                            h,
                            w,
                        )
                        b_read += w * b_next
                        target += w * size
                        start += w * start_next
                        j += w
                    b_read -= (j1 - j0) * b_next
                    i += h
                if to != c and ((number + 1) % together == 0 or k0 + kc == k):
                    for i in range(i0, i1):
                        target = c + i * n * size
                        for j in range(j1 - j0):
                            write(target, j, read(target, j) + read(sums + i * n * size, j))

    return NativeFunction(product)


@functools.cache
def fill_kernel(dtype: str) -> NativeFunction:
    """The kernel for an empty sum: each row of C is the bias, or zero."""
    size, read, write = SIZES[dtype], load(dtype), store(dtype)

    def fill(ctx, matrix):
        c, bias, m, n = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
        c += matrix * m * n * size
        for i in range(m):
            for j in range(n):
                if bias != 0:
                    write(c, i * n + j, read(bias, j))
                else:
                    write(c, i * n + j, 0.0)

    return NativeFunction(fill)
