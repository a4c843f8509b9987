"""Products of a few rows with many rows, both contiguous in k: dot products in whole vectors."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import (
    at,
    dispatched,
    lane_mask,
    load_vector,
    multiply_add,
    on_vectors,
    phi,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.memory import ir_type, load_int, pointer
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, NativeFunction

ROWS, COLUMNS = 2, 4
"""Rows of x and rows of y that meet at once: eight independent sums."""

STRETCH = 8192
"""Numbers of a row that are summed at a time; the partial sums are then added."""

ARGUMENTS = (
    *("k", "x", "x_row", "y", "y_row", "c", "c_row"),
    *("start", "start_row", "start_step", "rows", "columns"),
)


@functools.cache
def dots_kernel(dtype: str) -> NativeFunction:
    """The kernel for C[i, j] = bias[j] + x[i] . y[j]; a chunk is a run of rows of y."""
    size = SIZES[dtype]
    dots = dot_tile(dtype)

    def dot_products(ctx, chunk):
        x, y, c, bias = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
        rows, columns, k_bytes, c_row = load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6), load_int(ctx, 7)
        bias_step, each = load_int(ctx, 8) if bias != 0 else 0, load_int(ctx, 9)
        k = k_bytes // size
        j, end = chunk * each, min(columns, chunk * each + each)
        y += j * k_bytes
        c += j * size
        bias += j * bias_step
        while j < end:
            w = COLUMNS if end - j >= COLUMNS else 1
            i = 0
            while i < rows:
                h = ROWS if rows - i >= ROWS else 1
                target = c + i * c_row
                for first in range(0, k, STRETCH):
                    dots(
                        min(STRETCH, k - first),
                        x + i * k_bytes + first * size,
                        k_bytes,
                        y + first * size,
                        k_bytes,
                        target,
                        c_row,
                        bias if first == 0 else target,
                        0 if first == 0 else c_row,
                        bias_step if first == 0 else size,
                        h,
                        w,
                    )
                i += h
            y += w * k_bytes
            c += w * size
            bias += w * bias_step
            j += w

    return NativeFunction(dot_products)


@functools.cache
def dot_tile(dtype: str) -> Intrinsic:
    """`rows x columns` dot products; rows is 1 or `ROWS`, columns 1 or `COLUMNS`.

    Strides are in bytes; what is at `start` is added, 0 is nothing. Rows are read to their end only.
    """
    shapes = tuple((h, w) for h in (1, ROWS) for w in (1, COLUMNS))

    def body(function: Any, rows: int, columns: int) -> None:
        dot_function(function, dtype, rows, columns)

    # Columns stand where tiles have vectors: each is one.
    return dispatched(f"dot_tile_{dtype}", len(ARGUMENTS), 1, shapes, body)


def dot_function(function: Any, dtype: str, rows: int, columns: int) -> None:
    """The instructions for so many rows and columns: whole vectors in a loop, the rest of k masked."""
    from llvmlite import ir

    integer, number, vector, size = ir.IntType(64), ir_type(dtype), vector_type(dtype), SIZES[dtype]
    lanes = vector.count
    zero = ir.Constant(vector, [0.0] * lanes)
    arguments = dict(zip(ARGUMENTS, function.args, strict=True))
    entry, loop, rest = (function.append_basic_block(label) for label in ("entry", "loop", "rest"))

    builder = ir.IRBuilder(entry)
    whole = builder.and_(arguments["k"], integer(-lanes))
    xs = [at(builder, arguments["x"], arguments["x_row"], i, 0) for i in range(rows)]
    ys = [at(builder, arguments["y"], arguments["y_row"], j, 0) for j in range(columns)]
    builder.cbranch(builder.icmp_signed(">", whole, integer(0)), loop, rest)

    def step(builder: Any, done: Any, sums: list[list[Any]], mask: Any = None) -> list[list[Any]]:
        offset = builder.mul(done, integer(size))

        def read(base: Any) -> Any:
            return load_vector(builder, builder.add(base, offset), vector, size, mask)

        x, y = [read(base) for base in xs], [read(base) for base in ys]
        return [[multiply_add(builder, x[i], y[j], sums[i][j]) for j in range(columns)] for i in range(rows)]

    builder = ir.IRBuilder(loop)
    done = phi(builder, integer, integer(0), entry)
    sums = [[phi(builder, vector, zero, entry) for _ in range(columns)] for _ in range(rows)]
    following = step(builder, done, sums)
    further = builder.add(done, integer(lanes))
    done.add_incoming(further, loop)
    builder.cbranch(builder.icmp_signed("<", further, whole), loop, rest)

    builder = ir.IRBuilder(rest)
    final = [[phi(builder, vector, zero, entry) for _ in range(columns)] for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            sums[i][j].add_incoming(following[i][j], loop)
            final[i][j].add_incoming(following[i][j], loop)
    mask = lane_mask(builder, builder.sub(arguments["k"], whole), lanes)
    final = step(builder, whole, final, mask)
    none = builder.icmp_signed("==", arguments["start"], integer(0))
    anywhere = builder.select(none, arguments["x"], arguments["start"])
    down = builder.select(none, integer(0), arguments["start_row"])
    for j in range(columns):
        for i in range(rows):
            row = at(builder, anywhere, down, i, 0)
            read = builder.load(pointer(builder, at(builder, row, arguments["start_step"], j, 0), dtype))
            start = builder.select(none, number(0.0), read)
            total = builder.fadd(reduce_add(builder, final[i][j]), start)
            place = at(builder, arguments["c"], arguments["c_row"], i, j * size)
            builder.store(total, pointer(builder, place, dtype)).align = size
    builder.ret_void()


def reduce_add(builder: Any, value: Any) -> Any:
    """The sum of a vector's lanes, in halves."""
    number = value.type.element
    add = on_vectors(builder, "llvm.vector.reduce.fadd", value.type, [number, value.type], number)
    return builder.call(add, [number(-0.0), value], fastmath=("reassoc",))
