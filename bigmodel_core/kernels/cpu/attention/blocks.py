"""What the loops over blocks of attention share: panels of transposed rows, products, masks, dropout."""

from __future__ import annotations

import functools
import math
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.attention.softmax_tile import number
from bigmodel_core.kernels.cpu.engine.instructions import (
    broadcast,
    load_vector,
    outlined,
    phi,
    store_vector,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.memory import load, load_float, load_int, store, store_int
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import multiply_tile, tile_columns, tile_rows
from bigmodel_core.kernels.cpu.gemm.packing import transpose_block
from bigmodel_core.kernels.random_words import random_bits
from bigmodel_core.kernels.status import CODE, FOUND, LENGTH_OUT_OF_RANGE, LIMIT, POSITION

SHARED = (
    *("q", "k", "v", "mask", "bias", "lengths", "status", "seed", "step"),
    *("batch", "heads", "each", "steps", "keys", "width", "out_width"),
    *("q_n", "q_h", "q_t", "k_n", "k_h", "k_t", "v_n", "v_h", "v_t", "y_n", "y_h", "y_t"),
    *("mask_n", "mask_h", "mask_t", "mask_s", "bias_n", "bias_h", "bias_t", "bias_s"),
    *("causal", "scale", "stream", "threshold", "grow"),
)
"""The first integers of the context of all kernels: addresses, sizes (`each`: query heads of a key head),
bytes from one to the next along each axis (of the output as of its gradient), and attributes."""
AT = {name: place for place, name in enumerate(SHARED)}
SEED, STEP, STREAM, THRESHOLD, GROW = (AT[x] for x in ("seed", "step", "stream", "threshold", "grow"))
LENGTHS, STATUS, KEYS, HEADS = (AT[x] for x in ("lengths", "status", "keys", "heads"))
MASK, BIAS, MASK_N, BIAS_N = (AT[x] for x in ("mask", "bias", "mask_n", "bias_n"))
STEPS = AT["steps"]
LOG2E = 1 / math.log(2)


def key_count(ctx, n):
    """How many keys of a sample count; a failure, and none, where that is out of range."""
    lengths, keys = load_int(ctx, LENGTHS), load_int(ctx, KEYS)
    if lengths == 0:
        return keys
    count = load_int(lengths, n)
    if count < 0 or count > keys:
        status = load_int(ctx, STATUS)
        store_int(status, FOUND, count)
        store_int(status, LIMIT, keys)
        store_int(status, POSITION, n)
        store_int(status, CODE, LENGTH_OUT_OF_RANGE)
        return 0
    return count


@functools.cache
def pack_rows(dtype: str) -> Any:
    """The function that transposes rows (count, width) into panels, each row a column, times the number
    at an address."""
    size, columns, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    transpose, scale = transpose_block(dtype), scale_column(dtype)

    def pack(source, row, count, width, panels, panel, factor):
        for j in range(0, count, lanes):
            to = panels + j // columns * panel + j % columns * size
            for p in range(0, width, lanes):
                place = to + p * columns * size
                transpose(source + j * row + p * size, row, count - j, place, columns * size)
            if width > 0:
                scale(to, columns * size, width, factor)

    return pack


@functools.cache
def scale_column(dtype: str) -> Intrinsic:
    """`scale_column(dtype)(address, row, rows, factor)` multiplies a vector in each row by a number in
    memory."""

    def body(function: Any) -> None:
        from llvmlite import ir

        vector, size, integer = vector_type(dtype), SIZES[dtype], ir.IntType(64)
        address, row, rows, factor = function.args
        entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))
        builder = ir.IRBuilder(entry)
        by = broadcast(builder, factor, vector, dtype, size)
        builder.branch(loop)
        builder = ir.IRBuilder(loop)
        left, place = phi(builder, integer, rows, entry), phi(builder, integer, address, entry)
        store_vector(builder, builder.fmul(load_vector(builder, place, vector, size), by), place, size)
        place.add_incoming(builder.add(place, row), loop)
        fewer = builder.sub(left, integer(1))
        left.add_incoming(fewer, loop)
        builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), loop, done)
        ir.IRBuilder(done).ret_void()

    return outlined(f"scale_column_{dtype}", 4, body)


@functools.cache
def product_tiles(dtype: str) -> Any:
    """The function c (rows, columns) = start + a (rows, k) times b, columns at most those of a tile, with any
    strides of a."""
    multiply, (tallest, second) = multiply_tile(dtype), tile_rows()[:2]

    def product(rows, columns, k, a, a_row, a_step, b, b_row, c, c_row, start, start_row):
        i = 0
        while i < rows:
            h = tallest
            if rows - i < tallest:
                h = second
                while h > rows - i:
                    h //= 2
            here = a + i * a_row
            to = c + i * c_row
            begin = start + i * start_row
            multiply(k, here, a_row, a_step, b, b_row, to, c_row, begin, start_row, here, 0, h, columns)
            i += h

    return product


FAR = 1 << 40
"""More steps than there are."""


@functools.cache
def slanted_product(dtype: str) -> Any:
    """The function c (rows, columns) = start + a (rows, k) times b (k, columns), tile by tile, where row i of
    a has nothing in the steps of k below `low + i`, nor after `high + i`.

    `start` is c, or nothing if `is_fresh`. Strides are in bytes, those of a any.
    """
    size, width, write = SIZES[dtype], tile_columns(dtype), store(dtype)
    multiply, (tallest, second) = multiply_tile(dtype), tile_rows()[:2]
    none = number(dtype, 0.0)

    def product(rows, columns, k, low, high, a, a_row, a_step, b, b_row, c, c_row, is_fresh):
        i = 0
        while i < rows:
            h = tallest
            if rows - i < tallest:
                h = second
                while h > rows - i:
                    h //= 2
            first = max(0, low + i)
            depth = min(k, high + i + h) - first
            to, here, there = c + i * c_row, a + i * a_row + first * a_step, b + first * b_row
            if depth > 0:
                for j in range(0, columns, width):
                    at = to + j * size
                    start, w = 0 if is_fresh else at, min(width, columns - j)
                    source = there + j * size
                    multiply(
                        depth, here, a_row, a_step, source, b_row, at, c_row, start, c_row, here, 0, h, w
                    )
            elif is_fresh:
                for r in range(h):
                    for j in range(columns):
                        write(to + r * c_row, j, none())
            i += h

    return product


@functools.cache
def show(dtype: str) -> Any:
    """The function that adds the bias to a block of scores and hides what the mask hides.

    The block is (rows, columns), of keys and queries either way, `by_query` saying that rows are queries.
    """
    size, read, write, is_shown = SIZES[dtype], load(dtype), store(dtype), load("bool")
    hidden, factor = number(dtype, -math.inf), number(dtype, LOG2E)

    def apply(ctx, n, h, q0, k0, rows, columns, by_query, s, s_row):
        mask, bias = load_int(ctx, MASK), load_int(ctx, BIAS)
        if bias != 0:
            of_t, of_s = load_int(ctx, BIAS_N + 2), load_int(ctx, BIAS_N + 3)
            bias += n * load_int(ctx, BIAS_N) + h * load_int(ctx, BIAS_N + 1) + q0 * of_t + k0 * of_s
            down, along = (of_t, of_s) if by_query else (of_s, of_t)
            for i in range(rows):
                to, source = s + i * s_row, bias + i * down
                if along == size:
                    for j in range(columns):
                        write(to, j, read(to, j) + read(source, j) * factor())
                else:
                    for j in range(columns):
                        write(to, j, read(to, j) + read(source + j * along, 0) * factor())
        if mask != 0:
            of_t, of_s = load_int(ctx, MASK_N + 2), load_int(ctx, MASK_N + 3)
            mask += n * load_int(ctx, MASK_N) + h * load_int(ctx, MASK_N + 1) + q0 * of_t + k0 * of_s
            down, along = (of_t, of_s) if by_query else (of_s, of_t)
            for i in range(rows):
                to, source = s + i * s_row, mask + i * down
                if along == 0:
                    if not is_shown(source, 0):
                        for j in range(columns):
                            write(to, j, hidden())
                elif along == 1:
                    for j in range(columns):
                        write(to, j, read(to, j) if is_shown(source, j) else hidden())
                else:
                    for j in range(columns):
                        write(to, j, read(to, j) if is_shown(source, j * along) else hidden())

    return apply


@functools.cache
def keep(dtype: str) -> Any:
    """The function that writes what each weight of a block is multiplied by: 0 where it is dropped."""
    write, none, many = store(dtype), number(dtype, 0.0), load(dtype)

    def factors(ctx, n, h, q0, k0, rows, columns, by_query, to, to_row, grown):
        """`grown` is where the factor of those that are kept is."""
        seed, step = load_int(load_int(ctx, SEED), 0), load_int(load_int(ctx, STEP), 0)
        stream, threshold, keys = load_int(ctx, STREAM), load_int(ctx, THRESHOLD), load_int(ctx, KEYS)
        first = ((n * load_int(ctx, HEADS) + h) * load_int(ctx, STEPS) + q0) * keys + k0
        down, along = (keys, 1) if by_query else (1, keys)
        kept = many(grown, 0)
        for i in range(rows):
            place, start = to + i * to_row, first + i * down
            for j in range(columns):
                bits = random_bits(start + j * along, seed, step, stream)
                write(place, j, kept if bits >= threshold else none())

    return factors


@functools.cache
def write_number(dtype: str) -> Any:
    """The function that writes a float64 of a context as a number of a type."""
    write = store(dtype)

    def put(ctx, place, to, times):
        write(to, 0, load_float(ctx, place) * times)

    return put
