"""Sums over a grid of products of two vectors: what a depthwise convolution is made of."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import (
    lane_mask,
    load_vector,
    multiply_add,
    outlined,
    phi,
    store_vector,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.native import Intrinsic

SUMS = 8
"""Vectors of sums at a time: so many independent ones keep the multipliers busy."""
VECTORS = 4
"""Vectors of channels at a time, at most."""

ARGUMENTS = (
    *("a", "a_row", "a_column", "b", "b_row", "b_column"),
    *("rows", "columns", "start", "target", "count"),
    *("a_apart", "start_apart", "target_apart"),
)


@functools.cache
def grid_products(dtype: str, targets: int = 1) -> Intrinsic:
    """`grid_products(dtype)(*ARGUMENTS)`: target = start + sum over a grid of a * b, for `count` channels.

    All strides are in bytes. `start` is a vector, or 0; it is added last. Reads go on to whole vectors.

    Args:
        dtype: of the numbers.
        targets: how many such sums are made of one b, which is read once for all of them; their a, start and
            target lie apart by the last arguments.
    """
    name = f"grid_products_{dtype}_{targets}"
    return outlined(name, len(ARGUMENTS), lambda function: _body(function, dtype, targets))


def _body(function: Any, dtype: str, targets: int) -> None:
    """Blocks of several vectors first, then one after the other."""
    from llvmlite import ir

    integer, vector, size = ir.IntType(64), vector_type(dtype), SIZES[dtype]
    given = dict(zip(ARGUMENTS, function.args, strict=True))
    entry = function.append_basic_block("entry")
    bytes_of_vector = vector.count * size
    builder = ir.IRBuilder(entry)
    all_bytes = builder.mul(given["count"], integer(size))
    has_start = builder.icmp_signed("!=", given["start"], integer(0))
    start = builder.select(has_start, given["start"], given["a"])  # any address that can be read
    empty = builder.icmp_signed("<=", builder.mul(given["rows"], given["columns"]), integer(0))
    apart = {
        name: [integer(0), *(builder.mul(given[f"{name}_apart"], integer(k)) for k in range(1, targets))]
        for name in ("a", "start", "target")
    }
    offset, before = integer(0), entry
    for vectors in (min(VECTORS, SUMS // targets), 1):
        places = [(k, j * bytes_of_vector) for j in range(vectors) for k in range(targets)]
        test, begin, row, column, next_row, write = (
            function.append_basic_block(f"{label}_{vectors}")
            for label in ("test", "begin", "row", "column", "next_row", "write")
        )
        end = function.append_basic_block(f"end_{vectors}")
        builder.branch(test)

        builder = ir.IRBuilder(test)
        at = phi(builder, integer, offset, before)
        reach = builder.add(at, integer(vectors * bytes_of_vector if vectors > 1 else 1))
        builder.cbranch(builder.icmp_signed("<=", reach, all_bytes), begin, end)

        builder = ir.IRBuilder(begin)
        nothing = ir.Constant(vector, [0.0] * vector.count)
        a0, b0 = builder.add(given["a"], at), builder.add(given["b"], at)
        builder.cbranch(empty, write, row)

        builder = ir.IRBuilder(row)
        rows = phi(builder, integer, given["rows"], begin)
        row_a, row_b = phi(builder, integer, a0, begin), phi(builder, integer, b0, begin)
        row_sums = [phi(builder, vector, nothing, begin) for _ in places]
        builder.branch(column)

        builder = ir.IRBuilder(column)
        columns = phi(builder, integer, given["columns"], row)
        a, b = phi(builder, integer, row_a, row), phi(builder, integer, row_b, row)
        sums = [phi(builder, vector, value, row) for value in row_sums]
        following = []
        for (k, shift), value in zip(places, sums, strict=True):
            if k == 0:
                right = load_vector(builder, builder.add(b, integer(shift)), vector, size)
            place = builder.add(builder.add(a, apart["a"][k]), integer(shift))
            left = load_vector(builder, place, vector, size)
            following.append(multiply_add(builder, left, right, value))
        for value, more in zip(sums, following, strict=True):
            value.add_incoming(more, column)
        a.add_incoming(builder.add(a, given["a_column"]), column)
        b.add_incoming(builder.add(b, given["b_column"]), column)
        fewer = builder.sub(columns, integer(1))
        columns.add_incoming(fewer, column)
        builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), column, next_row)

        builder = ir.IRBuilder(next_row)
        row_a.add_incoming(builder.add(row_a, given["a_row"]), next_row)
        row_b.add_incoming(builder.add(row_b, given["b_row"]), next_row)
        for value, more in zip(row_sums, following, strict=True):
            value.add_incoming(more, next_row)
        fewer = builder.sub(rows, integer(1))
        rows.add_incoming(fewer, next_row)
        builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), row, write)

        builder = ir.IRBuilder(write)
        found = []
        for more in following:
            total = phi(builder, vector, nothing, begin)
            total.add_incoming(more, next_row)
            found.append(total)
        left_over = builder.sdiv(builder.sub(all_bytes, at), integer(size))
        mask = lane_mask(builder, left_over, vector.count) if vectors == 1 else None
        for (k, shift), total in zip(places, found, strict=True):
            place = builder.add(at, integer(shift))
            further = builder.select(has_start, apart["start"][k], integer(0))
            first = load_vector(builder, builder.add(builder.add(start, further), place), vector, size)
            total = builder.fadd(total, builder.select(has_start, first, nothing))
            target = builder.add(builder.add(given["target"], apart["target"][k]), place)
            store_vector(builder, total, target, size, mask)
        at.add_incoming(builder.add(at, integer(vectors * bytes_of_vector)), write)
        builder.branch(test)

        builder = ir.IRBuilder(end)
        offset, before = at, end
    builder.ret_void()
