"""The matrix product on a CUDA device: tiles of both operands in shared memory, a part of C in registers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, flat
from bigmodel_core.kernels.cuda.engine.runtime import cuda
from bigmodel_core.kernels.matrix_product import MatrixProduct

MAX_BATCH_BLOCKS = 65535
"""Blocks along the third axis of a grid, at most; each then does several products."""
FULL = 128
"""So many blocks keep a device busy: larger tiles are taken only where this many remain."""


@dataclass(frozen=True)
class Tile:
    """How a product is cut.

    Args:
        m: rows of C that a block computes.
        n: columns of C that a block computes.
        k: columns of A and rows of B that are in shared memory at a time.
        rows: rows of C that a thread computes.
        columns: columns of C that a thread computes.
        depth: columns of A and rows of B, a multiple of k, whose sum is made in registers; the sums of such
            parts are added up in C, so that errors do not grow with all of k.
    """

    m: int
    n: int
    k: int
    rows: int
    columns: int
    depth: int = 512

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return (self.m // self.rows) * (self.n // self.columns)


LARGE, MEDIUM, SMALL = Tile(128, 128, 8, 8, 8), Tile(64, 64, 16, 4, 4), Tile(32, 32, 16, 2, 2)
SIMULATOR = Tile(8, 8, 4, 4, 4, depth=8)


def launches(
    product: MatrixProduct,
    a: CudaBuffer,
    b: CudaBuffer,
    c: CudaBuffer,
    bias: CudaBuffer | None,
    tile: Tile | None = None,
) -> list[CudaLaunch]:
    """The launch that computes a product."""
    p = product
    if p.m * p.n * p.batch == 0:
        return []
    chosen = tile or choose(p)
    a_count = p.m * p.k + (p.batch - 1) * p.stride_a
    b_count = p.k * p.n + (p.batch - 1) * p.stride_b
    c_view = flat(c, p.batch * p.m * p.n, p.dtype)
    arguments = [
        flat(a, a_count, p.dtype),
        flat(b, b_count, p.dtype),
        c_view,
        flat(bias, p.n, p.dtype) if bias is not None else c_view,
        *(np.uint32(size) for size in (p.m, p.n, p.k, p.batch)),
        *(np.uint64(stride) for stride in (p.stride_a, p.stride_b)),
    ]
    # Rows along the first axis of the grid: it alone may be longer than 65535 blocks.
    grid = (-(-p.m // chosen.m), -(-p.n // chosen.n), min(p.batch, MAX_BATCH_BLOCKS))
    return [
        CudaLaunch(
            make(p.dtype, chosen, p.transpose_a, p.transpose_b, bias is not None),
            arguments,
            grid,
            chosen.threads,
        )
    ]


def choose(p: MatrixProduct) -> Tile:
    """The largest tile that still gives enough blocks."""
    if runtime.simulated():
        return SIMULATOR
    for tile in (LARGE, MEDIUM) if p.dtype == "float32" else (MEDIUM,):
        if -(-p.m // tile.m) * -(-p.n // tile.n) * p.batch >= FULL:
            return tile
    return SMALL


@functools.cache
def make(dtype: str, tile: Tile, transpose_a: bool, transpose_b: bool, has_bias: bool) -> Any:
    """The kernel for a number type, a tile and a form of the operands.

    Args:
        dtype: "float32" or "float64".
        tile: its products of sizes must be whole multiples of its threads.
        transpose_a: A is stored as (k, m).
        transpose_b: B is stored as (n, k).
        has_bias: add `bias` (n,) to each row.
    """
    threads, number = tile.threads, DTYPES[dtype].scalar
    zero = number(0)
    bm, bn, bk, rows, columns, depth = tile.m, tile.n, tile.k, tile.rows, tile.columns, tile.depth
    across, down = bn // columns, bm // rows
    a_loads, b_loads = bm * bk // threads, bn * bk // threads
    assert a_loads * threads == bm * bk and b_loads * threads == bn * bk
    # A row of a tile is one longer, so that transposed writes meet different banks.
    a_shape, b_shape, c_shape = (bk, bm + 1), (bk, bn + 1), (rows, columns)
    u, w = np.uint32, np.uint64

    def product(a, b, c, bias, m, n, k, batch, stride_a, stride_b):
        a_tile = cuda.shared.array(a_shape, number)
        b_tile = cuda.shared.array(b_shape, number)
        sums = cuda.local.array(c_shape, number)
        a_part = cuda.local.array(rows, number)
        b_part = cuda.local.array(columns, number)
        t = u(cuda.threadIdx.x)
        x, y = u(t % u(across)), u(t // u(across))
        row0, column0 = u(u(cuda.blockIdx.x) * u(bm)), u(u(cuda.blockIdx.y) * u(bn))
        matrix = u(cuda.blockIdx.z)
        while matrix < batch:
            a_at, b_at = w(w(matrix) * stride_a), w(w(matrix) * stride_b)
            c_at = w(w(w(matrix) * w(m)) * w(n))
            done = u(0)
            first = True
            while first or done < k:
                for i in range(rows):
                    for j in range(columns):
                        sums[i, j] = zero
                end = min(k, u(done + u(depth)))
                while done < end:
                    for load in range(a_loads):
                        q = u(t + u(load * threads))
                        if transpose_a:
                            k_in, m_in = u(q // u(bm)), u(q % u(bm))
                        else:
                            k_in, m_in = u(q % u(bk)), u(q // u(bk))
                        value = zero
                        r, s = u(row0 + m_in), u(done + k_in)
                        if r < m and s < k:
                            if transpose_a:
                                value = a[w(a_at + w(w(s) * w(m)) + w(r))]
                            else:
                                value = a[w(a_at + w(w(r) * w(k)) + w(s))]
                        a_tile[k_in, m_in] = value
                    for load in range(b_loads):
                        q = u(t + u(load * threads))
                        if transpose_b:
                            k_in, n_in = u(q % u(bk)), u(q // u(bk))
                        else:
                            k_in, n_in = u(q // u(bn)), u(q % u(bn))
                        value = zero
                        r, s = u(column0 + n_in), u(done + k_in)
                        if r < n and s < k:
                            if transpose_b:
                                value = b[w(b_at + w(w(r) * w(k)) + w(s))]
                            else:
                                value = b[w(b_at + w(w(s) * w(n)) + w(r))]
                        b_tile[k_in, n_in] = value
                    cuda.syncthreads()
                    for p in range(bk):
                        for i in range(rows):
                            a_part[i] = a_tile[p, y + u(i * down)]
                        for j in range(columns):
                            b_part[j] = b_tile[p, x + u(j * across)]
                        for i in range(rows):
                            for j in range(columns):
                                sums[i, j] += a_part[i] * b_part[j]
                    cuda.syncthreads()
                    done = u(done + u(bk))
                for i in range(rows):
                    r = u(row0 + y + u(i * down))
                    for j in range(columns):
                        s = u(column0 + x + u(j * across))
                        if r < m and s < n:
                            at = w(c_at + w(w(r) * w(n)) + w(s))
                            value = sums[i, j]
                            if first:
                                if has_bias:
                                    value += bias[s]
                            else:
                                value += c[at]
                            c[at] = value
                first = False
            matrix = u(matrix + u(cuda.gridDim.z))

    return product
