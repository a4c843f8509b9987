"""The matrix product on the CPU: how it is cut into chunks, blocks of k, and tiles.

A chunk of work is a block of C, chosen by the shape alone, so that results do not depend on the number of
threads. For one block of k after the other it runs down the rows of A, tile by tile, and each tile's rows
of A, which fit the first-level cache, meet all columns of the chunk (after Goto and van de Geijn, 2008,
with the roles of A and B exchanged). A is read in place, also when it is transposed. B is read in place
where it is small; else the part that a block of k needs is first copied into panels as wide as a tile, on
the stack, so that it stays in the cache of the thread that uses it.

Each block of k has a sum of its own, which is added to C; where there are many blocks, so has each of about
as many groups as blocks in a group. So errors grow with the square root of the blocks, not with k.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.dot_products import dots_kernel
from bigmodel_core.kernels.cpu.launch import CpuBuffer, CpuLaunch, Scratch
from bigmodel_core.kernels.cpu.memory import load, load_int, store
from bigmodel_core.kernels.cpu.microkernel import WIDE, multiply_tile, tile_columns, tile_rows
from bigmodel_core.kernels.cpu.native import NativeFunction
from bigmodel_core.kernels.cpu.packing import copy_vectors, stack_memory, transpose_block
from bigmodel_core.kernels.cpu.target import vector_unit
from bigmodel_core.kernels.matrix_product import MatrixProduct

COLUMNS = 256
"""Columns of a chunk, at most, where B is copied."""
WIDE_COLUMNS = 1024
"""Columns of a chunk, at most, where B is read in place."""
DEPTH_BYTES = 1280
"""Bytes of a row in a block of k, at most: twelve rows then take 15 KB of the first-level cache."""
SMALL_B = 1024 * 1024
"""Up to so many bytes B is read in place: it stays in the second-level cache."""
FEW_ROWS = 24
"""With fewer rows of A, copying B costs more than it brings."""
FEW_BLOCKS = 16
"""So many blocks of k are added up one after the other; more of them in groups."""
LINE = 64
"""Bytes of a cache line."""
ALIAS = 4096
"""Rows this many bytes apart fall on the same lines of the first-level cache."""
GROUP = 4
"""Tiles of a transposed A that are copied at once, so that cache lines are read as a whole."""
CHUNK_WORK = 600_000
"""Multiply-adds that make a chunk worth handing to a thread: some 10 microseconds."""
SPLIT_WORK = 400_000
"""Multiply-adds from which two chunks beat one, though each is small."""
MAX_CHUNKS = 24
"""More chunks are not asked for; wide problems may have more."""
FEW_CHUNKS = 8
"""Below so many chunks, narrow ones are better than none."""

IN_PLACE, COPY, TRANSPOSE = 0, 1, 2
FORMS = ("B in place", "B copied into panels", "B transposed into panels")


def launches(
    product: MatrixProduct, a: CpuBuffer, b: CpuBuffer, c: CpuBuffer, bias: CpuBuffer | None, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute a product; the last one has a tile where its chunks are tiles of C.

    Args:
        bias: n numbers to add to each row of C, or None.
        scratch: gives temporary memory that lives during these launches: the sums of groups, as large as C.
    """
    p = _folded(product)
    if p.m == 0 or p.n == 0 or p.batch == 0:
        return []
    size = SIZES[p.dtype]
    if p.k == 0:
        return [CpuLaunch(fill_kernel(p.dtype), [c, bias or 0, p.m, p.n], p.batch)]
    if p.batch == 1 and p.n == 1 and not p.transpose_a:
        return [_dots(p, b, a, c, bias, rows=1, columns=p.m, bias_step=0)]
    if p.batch == 1 and p.n == 1 and bias is None:
        launch = _product(MatrixProduct(1, p.m, p.k, p.dtype), b, a, c, bias, scratch)
        return [replace(launch, tile=launch.tile and launch.tile[::-1])]
    if p.batch == 1 and p.transpose_b and (p.m == 1 or (p.m <= 4 and not p.transpose_a)):
        return [_dots(p, a, b, c, bias, rows=p.m, columns=p.n, bias_step=size)]
    return [_product(p, a, b, c, bias, scratch)]


def _folded(p: MatrixProduct) -> MatrixProduct:
    """A batch of matrices that lie one after the other and share B is one tall matrix."""
    if p.batch > 1 and p.stride_b == 0 and p.stride_a == p.m * p.k and not p.transpose_a:
        return replace(p, m=p.m * p.batch, batch=1, stride_a=0)
    return p


def _dots(
    p: MatrixProduct,
    x: CpuBuffer,
    y: CpuBuffer,
    c: CpuBuffer,
    bias: CpuBuffer | None,
    rows: int,
    columns: int,
    bias_step: int,
) -> CpuLaunch:
    """C[i, j] is the dot product of row i of x and row j of y: few rows of x, any number of y."""
    size = SIZES[p.dtype]
    each = min(columns, max(16, -(-CHUNK_WORK // 4 // (p.k * rows)) // 16 * 16))
    context = [x, y, c, bias or 0, rows, columns, p.k * size, columns * size, bias_step, each]
    tile = (rows, each) if p.n > 1 else (each, 1)
    return CpuLaunch(
        dots_kernel(p.dtype), context, -(-columns // each), tile, choice="matrix product by dots"
    )


def _product(
    p: MatrixProduct, a: CpuBuffer, b: CpuBuffer, c: CpuBuffer, bias: CpuBuffer | None, scratch: Scratch
) -> CpuLaunch:
    size = SIZES[p.dtype]
    a_row, a_step = (size, p.m * size) if p.transpose_a else (p.k * size, size)
    b_row, b_column = (size, p.k * size) if p.transpose_b else (p.n * size, size)
    b_form = (
        TRANSPOSE if p.transpose_b else COPY if p.k * p.n * size > SMALL_B and p.m >= FEW_ROWS else IN_PLACE
    )
    rows, columns = _block(p, b_form)
    a_form = IN_PLACE
    if columns >= 64 and max(a_row, a_step) % ALIAS == 0:
        a_form = TRANSPOSE if p.transpose_a else COPY
    across, down = -(-p.n // columns), -(-p.m // rows)
    group = 1
    if across * down == 1:
        group = max(1, min(p.batch, CHUNK_WORK // (p.m * p.n * p.k)))
    depth = _depth(p)
    blocks = -(-p.k // depth)
    sums, together = None, blocks
    if blocks > FEW_BLOCKS:
        together = math.isqrt(blocks - 1) + 1
        sums = scratch(p.batch * p.m * p.n * size)
    context = [
        *(a, b, c, bias or 0, p.m, p.n, p.k, a_row, a_step, b_row, b_column),
        *(rows, columns, depth, a_form, b_form, across, down, p.batch, group),
        *(p.stride_a * size, p.stride_b * size, p.m * p.n * size, sums or 0, together),
    ]
    tile = (rows * group, columns) if p.batch == 1 or p.m % rows == 0 else None
    choice = f"matrix product, blocks of {min(rows, p.m)} x {min(columns, p.n)}, {FORMS[b_form]}"
    return CpuLaunch(
        product_kernel(p.dtype), context, across * down * -(-p.batch // group), tile, choice=choice
    )


def copies_transposed(m: int, dtype: str) -> bool:
    """Whether tiles of an A that is stored as (k, m) may be copied: in whole vectors, which end behind it."""
    return m * SIZES[dtype] % ALIAS == 0


def _depth(p: MatrixProduct) -> int:
    """Steps of k in a block: equal blocks, whole vectors."""
    deepest = DEPTH_BYTES // SIZES[p.dtype]
    blocks = -(-p.k // deepest)
    return -(-p.k // (blocks * 16)) * 16


def _block(p: MatrixProduct, b_form: int) -> tuple[int, int]:
    """Rows and columns of a chunk: up to `MAX_CHUNKS` of them, of `CHUNK_WORK` at least."""
    width, height = tile_columns(p.dtype), tile_rows()[0]
    work = p.m * p.n * p.k * p.batch
    wanted = max(min(MAX_CHUNKS, work // CHUNK_WORK), 2 if work >= SPLIT_WORK else 1)
    widest, lowest, enough = WIDE_COLUMNS, 3 * height, wanted
    if b_form != IN_PLACE:  # a copy of B is made once a chunk: it takes many rows to pay for it
        widest, lowest, enough = COLUMNS, 256, FEW_CHUNKS
    columns = min(widest, _rounded(p.n, width))
    rows = p.m

    def count() -> int:
        return -(-p.m // rows) * -(-p.n // columns) * p.batch

    if count() < wanted and p.m > lowest:
        rows = max(lowest, _rounded(-(-p.m * count() // wanted), height))
    while count() < min(wanted, enough) and columns > width:
        columns = _rounded(columns // 2, width)
    return rows, columns


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit


@functools.cache
def product_kernel(dtype: str) -> NativeFunction:
    """The kernel that computes blocks of C; `_product` lists its context."""
    size, width, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    h0, h1 = tile_rows()[:2]
    panel_row, vector, wide = width * size, lanes * size, WIDE * lanes
    multiply, transpose = multiply_tile(dtype), transpose_block(dtype)
    copy_panel_row, copy_vector = copy_vectors(dtype, width // lanes), copy_vectors(dtype, 1)
    heights_row = -(-h0 // lanes) * vector  # one step of k of a tile of transposed A
    copy_heights = copy_vectors(dtype, heights_row // vector)
    read, write = load(dtype), store(dtype)
    b_memory = stack_memory(DEPTH_BYTES * COLUMNS)
    a_memory = stack_memory(DEPTH_BYTES * max(h0, GROUP * heights_row // size))

    def pack_b(b, b_row, b_column, columns, kc, panel, form, target):
        """Copy `kc` rows of so many columns of B into panels."""
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
        block, first = chunk // across, chunk // across // down * group
        i0, j0 = block % down * rows, chunk % across * columns
        i1, j1 = min(m, i0 + rows), min(n, j0 + columns)
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
                b_read, b_step, b_next = b + k0 * b_row, b_row, size
                if b_form != IN_PLACE:
                    pack_b(b_read, b_row, b_column, j1 - j0, kc, panel, b_form, panels)
                    b_read, b_step, b_next = panels, panel_row, panel // width
                # While tiles of this block of k are computed, the next block's B is on its way: tile t asks
                # for line t of each of its rows (of each of its columns, where B is transposed).
                upcoming = b + (k0 + kc) * b_row if b_form != IN_PLACE and k0 + kc < k else a
                lines = (kc * size if b_form == TRANSPOSE else (j1 - j0) * size) // LINE
                ahead_step = b_column if b_form == TRANSPOSE else b_row
                line = 0
                number = k0 // depth
                fresh = number % together == 0  # the first block of its group
                to = c if number < together else sums
                i = a_copied = copied = i0
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
                        a_read = a_tile
                    elif a_form == TRANSPOSE:
                        if i >= copied:
                            tiles = min(GROUP, (left + h0 - 1) // h0)
                            for p in range(kc):
                                for tile in range(tiles):
                                    source = a_read + p * a_step + tile * h0 * size
                                    copy_heights(source, a_tile + (tile * kc + p) * heights_row)
                            a_copied, copied = i, i + GROUP * h0
                        tile = (i - a_copied) // h0
                        inside = i - a_copied - tile * h0
                        a_read, step = a_tile + tile * kc * heights_row + inside * size, heights_row
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
