"""The matrix product on the CPU: how it is split into chunks, blocks of k, and tiles.

A chunk of work is a block of C, chosen by the shape alone, so that results do not depend on the number of
threads. For one block of k after the other it runs down the rows of A, tile by tile, and each tile's rows
of A, which fit the first-level cache, meet all columns of the chunk (after Goto and van de Geijn, 2008,
with the roles of A and B exchanged). A is read in place, also when it is transposed; rows that fall on the
same lines of the cache are copied. B is read in place
if it is small; else the part that a block of k needs is first copied into panels as wide as a tile, on
the stack, so that it stays in the cache of the thread that uses it.

Each block of k has its own sum, which is added to C; where there are many blocks, so has each of about
as many groups as blocks in a group. So errors grow with the square root of the blocks, not with k.
"""

from __future__ import annotations

import math
from dataclasses import replace

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Scratch
from bigmodel_core.kernels.cpu.gemm.dot_products import dots_kernel
from bigmodel_core.kernels.cpu.gemm.kernel import (
    COLUMNS,
    COPY,
    DEPTH_BYTES,
    IN_PLACE,
    PANELS,
    TRANSPOSE,
    fill_kernel,
    product_kernel,
)
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns, tile_rows
from bigmodel_core.kernels.cpu.gemm.panels import packing, panel_strides, panels_for
from bigmodel_core.kernels.matrix_product import MatrixProduct

WIDE_COLUMNS = 1024
"""Columns of a chunk, at most, where B is read in place."""
SMALL_B = 1024 * 1024
"""Up to this many bytes, B is read in place: it stays in the second-level cache."""
PANEL_BYTES = 256 * 1024
"""Bytes of the panels of a chunk, where B is in panels as a whole."""
BLOCK_BYTES = 128 * 1024
"""Bytes of C of such a chunk: what follows on it reads it again."""
FEW_ROWS = 24
"""With fewer rows of A, copying B costs more than it brings."""
FEW_BLOCKS = 16
"""This many blocks of k are added in sequence; more of them in groups."""
ALIAS = 4096
"""Rows this many bytes apart fall on the same lines of the first-level cache."""
CHUNK_WORK = 600_000
"""Multiply-adds that make a chunk worth handing to a thread: some 10 microseconds."""
SPLIT_WORK = 400_000
"""Multiply-adds from which two chunks beat one, though each is small."""
READING_ROWS = 4
"""With fewer rows of A, a product takes as long as B takes to be read: as much as with so many."""
MAX_CHUNKS = 24
"""More chunks are not asked for; wide products may have more."""
FEW_CHUNKS = 8
"""Below this many chunks, narrow ones are better than none."""

M_SLOT, K_SLOT = 4, 6
"""Where the context of a product holds m and k."""

FORMS = ("B in place", "B copied into panels", "B transposed into panels", "B in panels")


def launches(
    product: MatrixProduct,
    a: CpuBuffer,
    b: CpuBuffer,
    c: CpuBuffer,
    bias: CpuBuffer | None,
    scratch: Scratch,
    keeps_b: bool = False,
) -> list[CpuLaunch]:
    """The launches that compute a product; the last one has a tile where its chunks are tiles of C.

    Args:
        bias: n numbers to add to each row of C, or None.
        scratch: gives temporary memory that lives during these launches: the sums of groups, as large as C.
        keeps_b: whether B is the same from run to run, so that panels of it are worth keeping.
    """
    p = _folded(product)
    if p.m == 0 or p.n == 0 or p.batch == 0:
        return []
    size = SIZES[p.dtype]
    if p.k == 0:
        return [CpuLaunch(fill_kernel(p.dtype), [c, bias or 0, p.m, p.n], p.batch)]
    if _is_dots_of_b(p):
        return [_dots(p, b, a, c, bias, rows=1, columns=p.m, bias_step=0)]
    if _is_turned(p, bias is not None):
        turned = MatrixProduct(1, p.m, p.k, p.dtype)
        launch = _product(turned, b, a, c, bias, scratch, _form(turned))
        return [replace(launch, tile=launch.tile and launch.tile[::-1])]
    if _is_dots_of_a(p):
        return [_dots(p, a, b, c, bias, rows=p.m, columns=p.n, bias_step=size)]
    if keeps_b and p.batch == 1 and (p.transpose_b or p.k * p.n * size > SMALL_B):
        panels = panels_for(p.dtype, p.k, p.n, scratch)
        made = packing(p.dtype, b, panels, p.k, p.n, p.k, 0, p.transpose_b)
        return [made, _product(p, a, panels, c, bias, scratch, PANELS)]
    return [_product(p, a, b, c, bias, scratch, _form(p))]


def block_of_rows(
    product: MatrixProduct,
    a: CpuBuffer,
    b: CpuBuffer,
    c: CpuBuffer,
    bias: CpuBuffer | None,
    scratch: Scratch,
    narrow: bool = False,
    adds: bool = False,
) -> CpuLaunch:
    """The launch of a product in whose context other kernels may write, at `M_SLOT`, how many rows of A and C
    there are this time, or at `K_SLOT`, how many steps of k; as many as in `product` at most.

    Args:
        narrow: whether chunks are columns of all rows, so that they are alike however few rows there are.
        adds: whether the product is added to what C holds.
    """
    return _product(product, a, b, c, bias, scratch, _form(product), narrow, adds)


def over_reads(product: MatrixProduct, has_bias: bool = False) -> tuple[int, ...]:
    """Which of A (0), B (1) and the bias (2) the launches read past the end, in whole vectors."""
    p = _folded(product)
    if p.k == 0 or _is_dots_of_b(p) or (_is_dots_of_a(p) and not _is_turned(p, has_bias)):
        return ()
    if _is_turned(p, has_bias):
        return (0,)
    return (1, *((2,) if has_bias else ()))


def _is_dots_of_b(p: MatrixProduct) -> bool:
    """Whether B is a single column, which meets the rows of A."""
    return p.batch == 1 and p.n == 1 and not p.transpose_a


def _is_turned(p: MatrixProduct, has_bias: bool) -> bool:
    """Whether B is a single column, which is multiplied from the left."""
    return p.batch == 1 and p.n == 1 and p.transpose_a and not has_bias


def _is_dots_of_a(p: MatrixProduct) -> bool:
    """Whether few rows of A meet the rows of B."""
    return p.batch == 1 and p.transpose_b and (p.m == 1 or (p.m <= 4 and not p.transpose_a))


def _folded(p: MatrixProduct) -> MatrixProduct:
    """A batch of contiguous matrices that share B is one tall matrix."""
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


def _form(p: MatrixProduct) -> int:
    """How B is read where it is not kept in panels."""
    if p.transpose_b:
        return TRANSPOSE
    return COPY if p.k * p.n * SIZES[p.dtype] > SMALL_B and p.m >= FEW_ROWS else IN_PLACE


def _product(
    p: MatrixProduct,
    a: CpuBuffer,
    b: CpuBuffer,
    c: CpuBuffer,
    bias: CpuBuffer | None,
    scratch: Scratch,
    b_form: int,
    narrow: bool = False,
    adds: bool = False,
) -> CpuLaunch:
    size = SIZES[p.dtype]
    a_row, a_step = (size, p.m * size) if p.transpose_a else (p.k * size, size)
    b_row, b_column = (size, p.k * size) if p.transpose_b else (p.n * size, size)
    if b_form == PANELS:
        b_row, b_column = panel_strides(p.dtype, p.k)
    rows, columns = (p.m, tile_columns(p.dtype)) if narrow else _block(p, b_form)
    a_form = COPY if columns >= 64 and not p.transpose_a and a_row % ALIAS == 0 else IN_PLACE
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
        int(adds),
    ]
    tile = (rows * group, columns) if p.batch == 1 or p.m % rows == 0 else None
    choice = f"matrix product, blocks of {min(rows, p.m)} x {min(columns, p.n)}, {FORMS[b_form]}"
    return CpuLaunch(
        product_kernel(p.dtype), context, across * down * -(-p.batch // group), tile, choice=choice
    )


def _depth(p: MatrixProduct) -> int:
    """Steps of k in a block: equal blocks, whole vectors."""
    deepest = DEPTH_BYTES // SIZES[p.dtype]
    blocks = -(-p.k // deepest)
    return -(-p.k // (blocks * 16)) * 16


def _block(p: MatrixProduct, b_form: int) -> tuple[int, int]:
    """Rows and columns of a chunk: up to `MAX_CHUNKS` of them, of `CHUNK_WORK` at least."""
    width, height = tile_columns(p.dtype), tile_rows()[0]
    work = max(p.m, READING_ROWS) * p.n * p.k * p.batch
    wanted = max(min(MAX_CHUNKS, work // CHUNK_WORK), 2 if work >= SPLIT_WORK else 1)
    widest, lowest, enough = WIDE_COLUMNS, 3 * height, wanted
    if b_form in (COPY, TRANSPOSE):  # a copy of B is made once a chunk: it takes many rows to pay for it
        widest, lowest, enough = COLUMNS, 256, FEW_CHUNKS
    columns = min(widest, _rounded(p.n, width))
    rows = p.m

    def count() -> int:
        return -(-p.m // rows) * -(-p.n // columns) * p.batch

    if b_form == PANELS:  # what a chunk reads and writes again and again stays in the second-level cache
        columns = min(columns, max(2 * width, PANEL_BYTES // (p.k * SIZES[p.dtype]) // width * width))
        rows = min(rows, max(lowest, BLOCK_BYTES // (columns * SIZES[p.dtype]) // height * height))
        while p.n > p.m and count() < wanted and columns > 2 * width:  # B, the larger one, is read once, then
            columns = _rounded(columns // 2, width)
    if count() < wanted and p.m > lowest:
        rows = max(lowest, _rounded(-(-p.m * count() // wanted), height))
    while count() < min(wanted, enough) and columns > width:
        columns = _rounded(columns // 2, width)
    return rows, columns


def _rounded(number: int, unit: int) -> int:
    return -(-number // unit) * unit
