"""Attention of a few queries against many keys, as in decoding: what is read decides how long it takes.

A chunk has heads of keys, and all queries that they serve: keys and values are read once, in place. Scores
are dot products along the width, which is contiguous, a row for each query.
"""

from __future__ import annotations

import functools
import math

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.attention_sizes import Sizes
from bigmodel_core.kernels.cpu.attention.blocks import (
    AT,
    BIAS,
    MASK,
    SHARED,
    keep,
    key_count,
    product_tiles,
    show,
    write_number,
)
from bigmodel_core.kernels.cpu.attention.softmax_tile import number
from bigmodel_core.kernels.cpu.engine import math as cpu_math
from bigmodel_core.kernels.cpu.engine.instructions import prefetch_bytes
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.gemm.dot_products import COLUMNS as TOGETHER
from bigmodel_core.kernels.cpu.gemm.dot_products import ROWS as PAIR
from bigmodel_core.kernels.cpu.gemm.dot_products import dot_tile
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory
from bigmodel_core.kernels.extremes import larger

MOST_ROWS = 8
"""Up to this many queries of a head of keys are few."""
KEYS = 128
"""Keys of a block: their values are in the first-level cache for all queries."""
WIDTH = 1024
"""Up to this width, scaled queries are on the stack."""
FIRST = len(SHARED)


def rows_of(sizes: Sizes) -> int:
    """How many queries meet a head of keys, at even distances; 0 if they are not few."""
    each = sizes.heads // max(sizes.kv_heads, 1)
    is_even = sizes.steps == 1 or each == 1
    rows = each * sizes.steps
    return rows if is_even and rows <= MOST_ROWS and sizes.width <= WIDTH else 0


@functools.cache
def few_rows_kernel(dtype: str, is_dropped: bool) -> NativeFunction:
    """The kernel; after the shared part of its context: y, log-sums or 0, items, items of a chunk."""
    size, columns = SIZES[dtype], tile_columns(dtype)
    read, write, dots = load(dtype), store(dtype), dot_tile(dtype)
    product, apply_mask, drop, put = product_tiles(dtype), show(dtype), keep(dtype), write_number(dtype)
    s_row = KEYS * size
    q_memory = stack_memory(MOST_ROWS * WIDTH * size)
    s_memory = stack_memory((MOST_ROWS + 2) * s_row)
    row_memory = stack_memory(2 * MOST_ROWS * size)
    hidden, none, one, ln2 = (number(dtype, x) for x in (-math.inf, 0.0, 1.0, math.log(2)))
    at_q, at_k, at_v, at_y = (AT[x] for x in ("q_n", "k_n", "v_n", "y_n"))
    q_at, k_at, v_at, heads_at, each_at = (AT[x] for x in ("q", "k", "v", "heads", "each"))
    steps_at, width_at, out_at, causal_at = (AT[x] for x in ("steps", "width", "out_width", "causal"))
    scale_at, grow_at = AT["scale"], AT["grow"]
    log2e = 1 / math.log(2)

    def powers(s, count, top):
        """The powers of 2 above `top` of a row, in place; their sum."""
        total = none()
        for j in range(count):
            power = math.exp((read(s, j) - top) * ln2())
            write(s, j, power)
            total += power
        return total

    def head(ctx, n, group):
        each, steps, width = load_int(ctx, each_at), load_int(ctx, steps_at), load_int(ctx, width_at)
        out_width, rows = load_int(ctx, out_at), each * steps
        q_row, y_row = load_int(ctx, at_q + 2), load_int(ctx, at_y + 2)
        if steps == 1:
            q_row, y_row = load_int(ctx, at_q + 1), load_int(ctx, at_y + 1)
        first = group * each
        given = load_int(ctx, q_at) + n * load_int(ctx, at_q) + first * load_int(ctx, at_q + 1)
        k = load_int(ctx, k_at) + n * load_int(ctx, at_k) + group * load_int(ctx, at_k + 1)
        v = load_int(ctx, v_at) + n * load_int(ctx, at_v) + group * load_int(ctx, at_v + 1)
        y = load_int(ctx, FIRST) + n * load_int(ctx, at_y) + first * load_int(ctx, at_y + 1)
        k_t, v_t = load_int(ctx, at_k + 2), load_int(ctx, at_v + 2)
        causal, masked = load_int(ctx, causal_at), load_int(ctx, MASK) + load_int(ctx, BIAS)
        count = key_count(ctx, n)
        shift = count - steps
        q, s, tops = q_memory(), s_memory(), row_memory()
        totals, kept, numbers = tops + MOST_ROWS * size, s + MOST_ROWS * s_row, s + (MOST_ROWS + 1) * s_row
        put(ctx, scale_at, numbers, log2e)
        factor = read(numbers, 0)
        put(ctx, grow_at, numbers, 1.0)
        for r in range(rows):
            for j in range(width):
                write(q + r * width * size, j, read(given + r * q_row, j) * factor)
            write(tops, r, hidden())
            write(totals, r, none())
            for j in range(out_width):
                write(y + r * y_row, j, none())
        for k0 in range(0, count, KEYS):
            nk = min(KEYS, count - k0)
            for j in range(0, nk, TOGETHER):
                if j + TOGETHER <= nk:  # the values of these keys come near, and keys of the next block
                    for i in range(k0 + j, k0 + j + TOGETHER):
                        prefetch_bytes(v + i * v_t, out_width * size)
                        prefetch_bytes(k + min(i + KEYS, count - 1) * k_t, width * size)
                w = TOGETHER if nk - j >= TOGETHER else 1
                for i in range(j, min(nk, j + TOGETHER), w):
                    r = 0
                    while r < rows:
                        h = PAIR if rows - r >= PAIR else 1
                        x, to = q + r * width * size, s + r * s_row + i * size
                        dots(width, x, width * size, k + (k0 + i) * k_t, k_t, to, s_row, 0, 0, 0, h, w)
                        r += h
            for r in range(rows):
                row = s + r * s_row
                h, t = (first + r, 0) if steps == 1 else (first, r)
                if masked != 0:
                    apply_mask(ctx, n, h, t, k0, 1, nk, True, row, s_row)
                if causal != 0:
                    for j in range(max(0, t + shift + 1 - k0), nk):
                        write(row, j, hidden())
                before = read(tops, r)
                top = before
                for j in range(nk):
                    top = larger(top, read(row, j))
                away = top if top != hidden() else none()
                shrink = math.exp((before - away) * ln2()) if before != hidden() else none()
                write(tops, r, top)
                write(totals, r, read(totals, r) * shrink + powers(row, nk, away))
                if is_dropped:
                    drop(ctx, n, h, t, k0, 1, nk, True, kept, s_row, numbers)
                    for j in range(nk):
                        write(row, j, read(row, j) * read(kept, j))
                if shrink != one():
                    for j in range(out_width):
                        write(y + r * y_row, j, read(y + r * y_row, j) * shrink)
            for j in range(0, out_width, columns):
                c, wide = y + j * size, min(columns, out_width - j)
                product(rows, wide, nk, s, s_row, size, v + k0 * v_t + j * size, v_t, c, y_row, c, y_row)
        log_sums = load_int(ctx, FIRST + 1)
        if log_sums != 0:
            log_sums += (n * load_int(ctx, heads_at) + first) * steps * size
        for r in range(rows):
            total = read(totals, r)
            if log_sums != 0:
                write(log_sums, r, read(tops, r) * ln2() + math.log(total))
            inverse = none() if total == none() else one() / total
            for j in range(out_width):
                write(y + r * y_row, j, read(y + r * y_row, j) * inverse)

    def attention_few_rows(ctx, chunk):
        groups = load_int(ctx, heads_at) // load_int(ctx, each_at)
        items, together = load_int(ctx, FIRST + 2), load_int(ctx, FIRST + 3)
        for item in range(chunk * together, min(items, (chunk + 1) * together)):
            head(ctx, item // groups, item % groups)

    return NativeFunction(attention_few_rows, replace=cpu_math.replacements(dtype))
