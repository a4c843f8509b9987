"""Attention forward: blocks of queries meet blocks of keys, with a running maximum and sum.

A block of scores is held with a row for each key and a column for each query, so that queries are the lanes
of vectors: largest and sum are found without a sum across lanes. Keys and values are read in place; only the
queries of a block are transposed, once for all keys (Dao, 2023; Milakov and Gimelshein, 2018).
"""

from __future__ import annotations

import functools
import math

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.attention.blocks import (
    AT,
    BIAS,
    FAR,
    LOG2E,
    MASK,
    SHARED,
    keep,
    key_count,
    pack_rows,
    product_tiles,
    show,
    slanted_product,
    write_number,
)
from bigmodel_core.kernels.cpu.attention.softmax_tile import VECTORS, number, softmax_columns
from bigmodel_core.kernels.cpu.engine import math as cpu_math
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory

ROWS = 96
"""Queries of a block: whole tiles as columns of scores and as rows of the output."""
COLUMNS = 96
"""Keys of a block."""
WIDTH = 256
"""Up to this width, panels of queries are on the stack."""
FIRST = len(SHARED)


@functools.cache
def forward_kernel(dtype: str, is_dropped: bool) -> NativeFunction:
    """The kernel; after the shared part of its context: y, log-sums or 0, blocks of a head, items, items of a
    chunk, memory for panels or 0, bytes of a chunk there, queries of a block."""
    size, columns, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    read, write = load(dtype), store(dtype)
    product, add, pack = product_tiles(dtype), slanted_product(dtype), pack_rows(dtype)
    softmax = softmax_columns(dtype)
    apply_mask, drop, put = show(dtype), keep(dtype), write_number(dtype)
    panel_row, s_row = columns * size, ROWS * size
    panel_memory, s_memory = stack_memory(ROWS * WIDTH * size), stack_memory(ROWS * COLUMNS * size)
    kept_memory = stack_memory(ROWS * COLUMNS * size if is_dropped else 64)
    row_memory = stack_memory(4 * ROWS * size)
    hidden, none, one, ln2 = (number(dtype, x) for x in (-math.inf, 0.0, 1.0, math.log(2)))
    at_q, at_k, at_v, at_y = (AT[x] for x in ("q_n", "k_n", "v_n", "y_n"))
    q_at, k_at, v_at, heads_at, each_at = (AT[x] for x in ("q", "k", "v", "heads", "each"))
    steps_at, width_at, out_at, causal_at = (AT[x] for x in ("steps", "width", "out_width", "causal"))
    scale_at, grow_at = AT["scale"], AT["grow"]

    def block(ctx, n, h, q0, nq, panels):
        """The output of `nq` queries from q0 on."""
        width, out_width = load_int(ctx, width_at), load_int(ctx, out_at)
        group = h // load_int(ctx, each_at)
        q = load_int(ctx, q_at) + n * load_int(ctx, at_q) + h * load_int(ctx, at_q + 1)
        k = load_int(ctx, k_at) + n * load_int(ctx, at_k) + group * load_int(ctx, at_k + 1)
        v = load_int(ctx, v_at) + n * load_int(ctx, at_v) + group * load_int(ctx, at_v + 1)
        y = load_int(ctx, FIRST) + n * load_int(ctx, at_y) + h * load_int(ctx, at_y + 1)
        q_t, k_t = load_int(ctx, at_q + 2), load_int(ctx, at_k + 2)
        v_t, y_t = load_int(ctx, at_v + 2), load_int(ctx, at_y + 2)
        causal, masked = load_int(ctx, causal_at), load_int(ctx, MASK) + load_int(ctx, BIAS)
        s, kept, top = s_memory(), kept_memory(), row_memory()
        total, shrink, factor = top + ROWS * size, top + 2 * ROWS * size, top + 3 * ROWS * size
        count = key_count(ctx, n)
        shift = count - load_int(ctx, steps_at)
        end = count
        if causal != 0:
            end = max(0, min(count, q0 + nq + shift))
        y += q0 * y_t
        put(ctx, scale_at, factor, LOG2E)
        panel = (width + lanes - 1) // lanes * lanes * panel_row
        pack(q + q0 * q_t, q_t, nq, width, panels, panel, factor)
        put(ctx, grow_at, factor, 1.0)
        padded = (nq + lanes - 1) // lanes * lanes
        for i in range(padded):
            write(top, i, hidden())
            write(total, i, none())
        for k0 in range(0, end, COLUMNS):
            nk = min(COLUMNS, end - k0)
            for j in range(0, nq, columns):
                seen = nk  # the keys from here on are hidden from all these queries
                if causal != 0:
                    seen = min(nk, q0 + min(j + columns, nq) + shift - k0)
                wide = min(columns, padded - j)
                to = s + j * size
                product(
                    seen,
                    wide,
                    width,
                    k + k0 * k_t,
                    k_t,
                    size,
                    panels + j // columns * panel,
                    panel_row,
                    to,
                    s_row,
                    0,
                    0,
                )
            if masked != 0:
                apply_mask(ctx, n, h, q0, k0, nk, nq, False, s, s_row)
            if causal != 0 and k0 + nk - 1 > q0 + shift:
                for i in range(max(0, q0 + shift + 1 - k0), nk):
                    cut = k0 + i - shift - q0
                    for j in range(padded if cut >= nq else cut):
                        write(s + i * s_row, j, hidden())
            for j in range(0, padded, VECTORS * lanes):
                to, wide = j * size, min(VECTORS * lanes, padded - j)
                softmax(s + to, s_row, nk, top + to, total + to, shrink + to, 1, wide)
            if is_dropped:
                drop(ctx, n, h, q0, k0, nk, nq, False, kept, s_row, factor)
                for i in range(nk):
                    for j in range(nq):
                        write(s + i * s_row, j, read(s + i * s_row, j) * read(kept + i * s_row, j))
            if k0 > 0:
                for i in range(nq):
                    less = read(shrink, i)
                    if less != one():
                        for j in range(out_width):
                            write(y + i * y_t, j, read(y + i * y_t, j) * less)
            high = q0 + shift - k0 if causal != 0 else FAR
            add(nq, out_width, nk, -FAR, high, s, size, s_row, v + k0 * v_t, v_t, y, y_t, k0 == 0)
        log_sums = load_int(ctx, FIRST + 1)
        if log_sums != 0:
            log_sums += ((n * load_int(ctx, heads_at) + h) * load_int(ctx, steps_at) + q0) * size
        for i in range(nq):
            of_row = read(total, i)
            if log_sums != 0:
                write(log_sums, i, read(top, i) * ln2() + math.log(of_row))
            inverse = none() if of_row == none() else one() / of_row
            for j in range(out_width):
                write(y + i * y_t, j, read(y + i * y_t, j) * inverse if end > 0 else none())

    def attention_forward(ctx, chunk):
        heads, steps = load_int(ctx, heads_at), load_int(ctx, steps_at)
        blocks, items, together = load_int(ctx, FIRST + 2), load_int(ctx, FIRST + 3), load_int(ctx, FIRST + 4)
        panels, rows = load_int(ctx, FIRST + 5), load_int(ctx, FIRST + 7)
        if panels == 0:
            panels = panel_memory()
        else:
            panels += chunk * load_int(ctx, FIRST + 6)
        for item in range(chunk * together, min(items, (chunk + 1) * together)):
            head = item // blocks
            q0 = item % blocks * rows
            block(ctx, head // heads, head % heads, q0, min(rows, steps - q0), panels)

    return NativeFunction(attention_forward, replace=cpu_math.replacements(dtype))
