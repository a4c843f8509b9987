"""Attention backward: scores are computed again from the log-sums, block by block (Dao, 2023).

A chunk has the keys of a head, or a part of them, and meets all queries of all heads that it serves: the
gradients of its keys and values are its own, and so is the gradient of the queries, or a part of it;
parts are added up in order afterwards. Blocks of scores have a row for each query.
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
from bigmodel_core.kernels.cpu.attention.forward import COLUMNS, FIRST, ROWS, WIDTH
from bigmodel_core.kernels.cpu.attention.softmax_tile import number, score_gradients
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory

assert len(SHARED) == FIRST


@functools.cache
def rows_kernel(dtype: str) -> NativeFunction:
    """The kernel that makes what each query needs: the log-sum to base 2, +inf where it sees no key, and the
    product of the output and its gradient. After the shared part: y, log-sums, dy, and the two."""
    size, read, write = SIZES[dtype], load(dtype), store(dtype)
    log2e, nothing, endless = (number(dtype, x) for x in (LOG2E, -math.inf, math.inf))
    none = number(dtype, 0.0)
    heads_at, steps_at, out_at, at_y = (AT[x] for x in ("heads", "steps", "out_width", "y_n"))

    def attention_rows(ctx, chunk):
        heads, steps, width = load_int(ctx, heads_at), load_int(ctx, steps_at), load_int(ctx, out_at)
        head = chunk * steps * size
        offset = chunk // heads * load_int(ctx, at_y) + chunk % heads * load_int(ctx, at_y + 1)
        y, dy = load_int(ctx, FIRST) + offset, load_int(ctx, FIRST + 2) + offset
        given, log_sums = load_int(ctx, FIRST + 1) + head, load_int(ctx, FIRST + 3) + head
        inner = load_int(ctx, FIRST + 4) + head
        for t in range(steps):
            log_sum = read(given, t)
            write(log_sums, t, endless() if log_sum == nothing() else log_sum * log2e())
            total = none()
            for j in range(width):
                total += read(y, j) * read(dy, j)
            write(inner, t, total)
            y += load_int(ctx, at_y + 2)
            dy += load_int(ctx, at_y + 2)

    return NativeFunction(attention_rows)


@functools.cache
def backward_kernel(dtype: str, is_dropped: bool) -> NativeFunction:
    """The kernel; after the shared part of its context: dy, log-sums, inner products, dq, dk, dv, parts, keys
    of a part, bytes of a part of dq, chunks, items of a chunk, memory for panels or 0, bytes of a chunk
    there, heads of keys."""
    size, columns, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    write = store(dtype)
    product, add, pack = product_tiles(dtype), slanted_product(dtype), pack_rows(dtype)
    slopes, apply_mask = score_gradients(dtype, is_dropped), show(dtype)
    drop, put = keep(dtype), write_number(dtype)
    panel_row, s_row = columns * size, COLUMNS * size
    panel_memory = stack_memory(2 * COLUMNS * WIDTH * size)
    s_memory = stack_memory((3 if is_dropped else 2) * ROWS * COLUMNS * size)
    number_memory = stack_memory(256)
    hidden, none = number(dtype, -math.inf), number(dtype, 0.0)
    at_q, at_k, at_v, at_y = (AT[x] for x in ("q_n", "k_n", "v_n", "y_n"))
    q_at, k_at, v_at, heads_at, each_at = (AT[x] for x in ("q", "k", "v", "heads", "each"))
    steps_at, width_at, out_at, causal_at = (AT[x] for x in ("steps", "width", "out_width", "causal"))
    scale_at, grow_at, keys_at = AT["scale"], AT["grow"], AT["keys"]

    def clear(address, row, rows, width):
        for i in range(rows):
            for j in range(width):
                write(address + i * row, j, none())

    def block(ctx, n, group, part, k0, nk, panels, panel_bytes):
        """What a block of keys gives: its own gradients, and its share of that of the queries."""
        width, out_width, each = load_int(ctx, width_at), load_int(ctx, out_at), load_int(ctx, each_at)
        steps, heads = load_int(ctx, steps_at), load_int(ctx, heads_at)
        k_t, v_t = load_int(ctx, at_k + 2), load_int(ctx, at_v + 2)
        q_t, y_t = load_int(ctx, at_q + 2), load_int(ctx, at_y + 2)
        of_k = n * load_int(ctx, at_k) + group * load_int(ctx, at_k + 1) + k0 * k_t
        of_v = n * load_int(ctx, at_v) + group * load_int(ctx, at_v + 1) + k0 * v_t
        k, dk = load_int(ctx, k_at) + of_k, load_int(ctx, FIRST + 4) + of_k
        v, dv = load_int(ctx, v_at) + of_v, load_int(ctx, FIRST + 5) + of_v
        causal, masked = load_int(ctx, causal_at), load_int(ctx, MASK) + load_int(ctx, BIAS)
        s, numbers = s_memory(), number_memory()
        ds, kept, of_v_panels = s + ROWS * s_row, s + 2 * ROWS * s_row, panels + panel_bytes
        k_panel = (width + lanes - 1) // lanes * lanes * panel_row
        v_panel = (out_width + lanes - 1) // lanes * lanes * panel_row
        scale, one, grown = numbers, numbers + 64, numbers + 128
        put(ctx, scale_at, scale, LOG2E)
        write(one, 0, 1.0)
        pack(k, k_t, nk, width, panels, k_panel, scale)
        pack(v, v_t, nk, out_width, of_v_panels, v_panel, one)
        put(ctx, scale_at, scale, 1.0)
        put(ctx, grow_at, grown, 1.0)
        padded = (nk + lanes - 1) // lanes * lanes
        shift = key_count(ctx, n) - steps
        first = max(0, k0 - shift) // ROWS * ROWS if causal != 0 else 0
        for h in range(group * each, group * each + each):
            q = load_int(ctx, q_at) + n * load_int(ctx, at_q) + h * load_int(ctx, at_q + 1)
            dq = q - load_int(ctx, q_at) + load_int(ctx, FIRST + 3) + part * load_int(ctx, FIRST + 8)
            dy = load_int(ctx, FIRST) + n * load_int(ctx, at_y) + h * load_int(ctx, at_y + 1)
            rows = (n * heads + h) * steps * size
            log_sums, inner = load_int(ctx, FIRST + 1) + rows, load_int(ctx, FIRST + 2) + rows
            for q0 in range(first, steps, ROWS):
                nq = min(ROWS, steps - q0)
                qs, dys = q + q0 * q_t, dy + q0 * y_t
                ahead = q0 + shift - k0  # how many keys of the block the first query sees, less one
                low, high = (-ahead, ahead) if causal != 0 else (-FAR, FAR)
                for j in range(0, nk, columns):
                    i = max(0, low + j) // lanes * lanes  # the queries before see none of these keys
                    wide, at = min(columns, padded - j), i * s_row + j * size
                    if i < nq:
                        of_panel = j // columns
                        b = panels + of_panel * k_panel
                        product(
                            nq - i, wide, width, qs + i * q_t, q_t, size, b, panel_row, s + at, s_row, 0, 0
                        )
                        b = of_v_panels + of_panel * v_panel
                        product(
                            nq - i,
                            wide,
                            out_width,
                            dys + i * y_t,
                            y_t,
                            size,
                            b,
                            panel_row,
                            ds + at,
                            s_row,
                            0,
                            0,
                        )
                if masked != 0:
                    apply_mask(ctx, n, h, q0, k0, nq, nk, True, s, s_row)
                if causal != 0:
                    for i in range(min(nq, nk - 1 - ahead)):
                        for j in range(max(0, ahead + i + 1), padded):
                            write(s + i * s_row, j, hidden())
                            write(ds + i * s_row, j, none())
                if is_dropped:
                    drop(ctx, n, h, q0, k0, nq, nk, True, kept, s_row, grown)
                slopes(
                    s, ds, s_row, kept, log_sums + q0 * size, inner + q0 * size, scale, nq, padded // lanes
                )
                add(nk, out_width, nq, low, FAR, s, size, s_row, dys, y_t, dv, v_t, False)
                add(nk, width, nq, low, FAR, ds, size, s_row, qs, q_t, dk, k_t, False)
                add(nq, width, nk, -FAR, high, ds, s_row, size, k, k_t, dq + q0 * q_t, q_t, False)

    def item(ctx, place, panels, panel_bytes):
        parts, of_part, groups = load_int(ctx, FIRST + 6), load_int(ctx, FIRST + 7), load_int(ctx, FIRST + 13)
        keys, each, steps = load_int(ctx, keys_at), load_int(ctx, each_at), load_int(ctx, steps_at)
        width, out_width = load_int(ctx, width_at), load_int(ctx, out_at)
        part, head = place % parts, place // parts
        n, group = head // groups, head % groups
        k_t, v_t, q_t = load_int(ctx, at_k + 2), load_int(ctx, at_v + 2), load_int(ctx, at_q + 2)
        for h in range(group * each, group * each + each):
            of_q = part * load_int(ctx, FIRST + 8) + n * load_int(ctx, at_q) + h * load_int(ctx, at_q + 1)
            clear(load_int(ctx, FIRST + 3) + of_q, q_t, steps, width)
        k0, k1 = part * of_part, min(keys, (part + 1) * of_part)
        of_k = n * load_int(ctx, at_k) + group * load_int(ctx, at_k + 1)
        of_v = n * load_int(ctx, at_v) + group * load_int(ctx, at_v + 1)
        clear(load_int(ctx, FIRST + 4) + of_k + k0 * k_t, k_t, k1 - k0, width)
        clear(load_int(ctx, FIRST + 5) + of_v + k0 * v_t, v_t, k1 - k0, out_width)
        k1 = min(k1, key_count(ctx, n))
        for k in range(k0, k1, COLUMNS):
            block(ctx, n, group, part, k, min(COLUMNS, k1 - k), panels, panel_bytes)

    def attention_backward(ctx, chunk):
        items, together = load_int(ctx, FIRST + 9), load_int(ctx, FIRST + 10)
        panels, panel_bytes = load_int(ctx, FIRST + 11), COLUMNS * WIDTH * size
        if panels == 0:
            panels = panel_memory()
        else:
            panel_bytes = load_int(ctx, FIRST + 12)
            panels += chunk * 2 * panel_bytes
        for place in range(chunk * together, min(items, (chunk + 1) * together)):
            item(ctx, place, panels, panel_bytes)

    return NativeFunction(attention_backward)


@functools.cache
def parts_kernel(dtype: str) -> NativeFunction:
    """The kernel that adds up parts: result, parts, numbers of a part, how many parts, numbers of a chunk."""
    size, read, write = SIZES[dtype], load(dtype), store(dtype)

    def attention_parts(ctx, chunk):
        out, source, count = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        first = chunk * load_int(ctx, 4)
        end = min(count, first + load_int(ctx, 4))
        for i in range(first, end):
            write(out, i, read(source, i))
        for part in range(1, load_int(ctx, 3)):
            more = source + part * count * size
            for i in range(first, end):
                write(out, i, read(out, i) + read(more, i))

    return NativeFunction(attention_parts)
