"""The innermost product of a small tile of C, emitted as LLVM instructions for the host's vector registers.

A tile of `rows x columns` numbers of C stays in vector registers while k runs: each step loads the
vectors of one row of B, broadcasts one number of A for each row of the tile, and multiplies and adds.
Where the numbers of A lie is a pair of strides, so that A and its transpose are read in place; B needs
its columns contiguous.

The shapes of tiles come from the register file: as many accumulators as fit beside a row of B and one
number of A. Shorter tiles of the same family serve the rows that are left over.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import (
    at,
    broadcast,
    dispatched,
    lane_mask,
    load_vector,
    multiply_add,
    phi,
    prefetch,
    store_vector,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit

VECTORS = 2
"""Vectors in a row of a tile."""

WIDE = 8
"""Vectors in the tile of a single row, which needs that many independent sums to keep multipliers busy."""

ARGUMENTS = (
    *("k", "a", "a_row", "a_step", "b", "b_step"),
    *("c", "c_row", "start", "start_row", "ahead", "ahead_step", "rows", "columns"),
)


def tile_rows() -> tuple[int, ...]:
    """The heights of tiles: the tallest fills the registers, the others are powers of two."""
    return (12, 8, 4, 2, 1) if vector_unit().registers >= 32 else (6, 4, 2, 1)


def tile_columns(dtype: str) -> int:
    """The width of a tile in numbers."""
    return VECTORS * vector_unit().lanes(dtype)


@functools.cache
def multiply_tile(dtype: str) -> Intrinsic:
    """One tile of C: `c[i, j] = start[i, j] + sum over k of a[i, k] * b[k, j]`.

    All strides are in bytes. `start` may be C itself (to continue a sum), a vector (a bias with row stride
    0), or 0 for nothing; it is added last, so that a block of k has its own sum. `rows` is one of
    `tile_rows()`, `columns` at most `tile_columns(dtype)` (with one row, also `WIDE` vectors), `k` at least
    1. Rows of B and of `start` are read in whole vectors, past the last column. Tall tiles ask the memory for
    their lines of C, and for what comes next: in each step of k for the cache line at `ahead`, which then
    moves on by `ahead_step`; any address will do.
    """
    lanes, heights = vector_unit().lanes(dtype), tile_rows()
    shapes = (*((rows, vectors) for rows in heights for vectors in range(1, VECTORS + 1)), (1, WIDE))

    def body(function: Any, rows: int, vectors: int) -> None:
        tile_function(function, dtype, rows, vectors)

    return dispatched(f"multiply_tile_{dtype}", len(ARGUMENTS), lanes, shapes, body)


def tile_function(function: Any, dtype: str, rows: int, vectors: int) -> None:
    """The instructions for a tile of a number of rows and vectors; its last vector may be partial."""
    from llvmlite import ir

    integer, vector, size = ir.IntType(64), vector_type(dtype), SIZES[dtype]
    nothing = ir.Constant(vector, [0.0] * vector.count)
    arguments = dict(zip(ARGUMENTS, function.args, strict=True))
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))

    builder = ir.IRBuilder(entry)
    groups, offsets = rows_of_a(builder, arguments, rows)
    if rows in tile_rows()[:2]:
        for i, j in itertools.product(range(rows), range(vectors)):
            place = at(builder, arguments["c"], arguments["c_row"], i, j * vector.count * size)
            prefetch(builder, place, to_write=True)
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    left = phi(builder, integer, arguments["k"], entry)
    b = phi(builder, integer, arguments["b"], entry)
    a = [phi(builder, integer, group, entry) for group in groups]
    if rows in tile_rows()[:2]:
        ahead = phi(builder, integer, arguments["ahead"], entry)
    sums = [[phi(builder, vector, nothing, entry) for _ in range(vectors)] for _ in range(rows)]
    if rows in tile_rows()[:2]:
        prefetch(builder, ahead)
        ahead.add_incoming(builder.add(ahead, arguments["ahead_step"]), loop)
    following = sums_after_step(builder, a, offsets, b, sums, dtype)
    for row, further in zip(sums, following, strict=True):
        for value, more in zip(row, further, strict=True):
            value.add_incoming(more, loop)
    for group in a:
        group.add_incoming(builder.add(group, arguments["a_step"]), loop)
    b.add_incoming(builder.add(b, arguments["b_step"]), loop)
    fewer = builder.sub(left, integer(1))
    left.add_incoming(fewer, loop)
    builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), loop, done)

    store_tile(ir.IRBuilder(done), arguments, following, size)


def with_start(
    builder: Any, arguments: dict[str, Any], sums: list[list[Any]], size: int
) -> tuple[Any, list[list[Any]]]:
    """The sums of a tile and what is at `start`, if anything is; and the builder to resume."""
    from llvmlite import ir

    vector, before = sums[0][0].type, builder.block
    add, joined = (builder.function.append_basic_block(label) for label in ("add", "joined"))
    absent = builder.icmp_signed("==", arguments["start"], ir.IntType(64)(0))
    builder.cbranch(absent, joined, add)

    builder = ir.IRBuilder(add)
    totals = []
    for i, row in enumerate(sums):
        places = [
            at(builder, arguments["start"], arguments["start_row"], i, j * vector.count * size)
            for j in range(len(row))
        ]
        totals.append(
            [
                builder.fadd(value, load_vector(builder, place, vector, size))
                for value, place in zip(row, places, strict=True)
            ]
        )
    builder.branch(joined)

    builder = ir.IRBuilder(joined)
    found = [[phi(builder, vector, value, before) for value in row] for row in sums]
    for row, further in zip(found, totals, strict=True):
        for value, total in zip(row, further, strict=True):
            value.add_incoming(total, add)
    return builder, found


def rows_of_a(builder: Any, arguments: dict[str, Any], rows: int) -> tuple[list[Any], list[Any]]:
    """Where A's rows are: the addresses of every third, which move on with k, and what leads to its two
    neighbours, so that fewer registers hold addresses."""
    row = arguments["a_row"]
    groups = [at(builder, arguments["a"], row, i, 0) for i in range(0, rows, 3)]
    return groups, [None, row, builder.mul(row, row.type(2))]


def sums_after_step(
    builder: Any, a: list[Any], offsets: list[Any], b: Any, sums: list[list[Any]], dtype: str
) -> list[list[Any]]:
    """The sums of a tile (rows of vectors) after one more k: a number of each row of A times a row of B."""
    vector, size = sums[0][0].type, SIZES[dtype]
    row_of_b = [
        load_vector(builder, at(builder, b, None, 0, j * vector.count * size), vector, size)
        for j in range(len(sums[0]))
    ]
    following = []
    for i, row in enumerate(sums):
        offset = offsets[i % 3]
        address = a[i // 3] if offset is None else builder.add(a[i // 3], offset)
        number = broadcast(builder, address, vector, dtype, size)
        following.append(
            [multiply_add(builder, number, y, value) for y, value in zip(row_of_b, row, strict=True)]
        )
    return following


def store_tile(builder: Any, arguments: dict[str, Any], values: list[list[Any]], size: int) -> None:
    """Write a tile and what is at `start` to `c`, up to its last column, and return."""
    from llvmlite import ir

    builder, values = with_start(builder, arguments, values, size)
    integer, vectors, lanes = ir.IntType(64), len(values[0]), values[0][0].type.count
    function = builder.function
    whole, cut, end = (function.append_basic_block(label) for label in ("whole", "cut", "end"))
    columns = arguments["columns"]
    builder.cbranch(builder.icmp_signed("==", columns, integer(lanes * vectors)), whole, cut)
    for block in (whole, cut):
        builder = ir.IRBuilder(block)
        mask = lane_mask(builder, builder.sub(columns, integer(lanes * (vectors - 1))), lanes)
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                address = at(builder, arguments["c"], arguments["c_row"], i, j * lanes * size)
                masked = block is cut and j == vectors - 1
                store_vector(builder, value, address, size, mask if masked else None)
        builder.branch(end)
    ir.IRBuilder(end).ret_void()
