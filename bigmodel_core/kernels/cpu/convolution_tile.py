"""The innermost product of a convolution: a tile of outputs, summed over runs of numbers in two loops.

It differs from the tile of the matrix product (`microkernel.py`) in how A is walked: `outer` runs of `inner`
numbers. With channels last, the numbers under one row of a filter are such a run and neighbouring outputs
are a fixed distance apart, so activations are read where they lie. B's rows follow one another through all
runs.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.kernels.cpu.memory import SIZES, ir_type
from bigmodel_core.kernels.cpu.microkernel import (
    VECTORS,
    at,
    broadcast,
    lane_mask,
    load_vector,
    multiply_add,
    phi,
    store_vector,
)
from bigmodel_core.kernels.cpu.native import Intrinsic
from bigmodel_core.kernels.cpu.target import vector_unit

ARGUMENTS = (
    *("outer", "inner", "a", "a_row", "a_step", "a_next", "b", "b_step"),
    *("c", "c_row", "start", "start_row", "rows", "columns"),
)


def tallest() -> int:
    """Rows of the tallest tile: as many as the registers hold beside a row of B."""
    unit = vector_unit()
    if unit.registers < 32:
        return 6
    return (
        14 if unit.bits == 512 else 12
    )  # numbers of A are read from memory there, and need a register elsewhere


@functools.cache
def convolve_tile(dtype: str) -> Intrinsic:
    """One tile: `c[i, j] = start[i, j] + sum over o, k of a[i, o, k] * b[o * inner + k, j]`.

    All strides are in bytes. Element k of a run lies `a_step` after the one before; `a_next` is added between
    runs. `start` may be C itself, a vector (its row stride being 0), or 0 for nothing. `rows` is at most
    `tallest()`, `columns` at most `tile_columns(dtype)`; `outer` and `inner` are at least 1. Rows of B and
    of `start` are read in whole vectors, past the last column.
    """
    lanes, size = vector_unit().lanes(dtype), SIZES[dtype]
    shapes = tuple((rows, vectors) for rows in range(1, tallest() + 1) for vectors in range(1, VECTORS + 1))

    def convolve(builder: Any, *arguments: Any) -> None:
        builder.call(_dispatcher(builder.module, dtype, lanes, size, shapes), arguments)

    convolve.__name__ = f"convolve_tile_{dtype}"
    return Intrinsic(f"void({', '.join(['intp'] * len(ARGUMENTS))})", convolve)


def _dispatcher(module: Any, dtype: str, lanes: int, size: int, shapes: tuple[tuple[int, int], ...]) -> Any:
    """The function that goes to the tile function for (rows, columns), made once in a module."""
    from llvmlite import ir

    name = f"convolve_tile_{dtype}"
    if name in module.globals:
        return module.globals[name]
    integer = ir.IntType(64)
    kind = ir.FunctionType(ir.VoidType(), [integer] * len(ARGUMENTS))
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    rows, columns = function.args[-2:]
    vectors = builder.sdiv(builder.add(columns, integer(lanes - 1)), integer(lanes))
    never = function.append_basic_block("never")
    choice = builder.switch(builder.add(builder.mul(rows, integer(VECTORS + 1)), vectors), never)
    for height, count in shapes:
        tile = _tile_function(module, f"{name}_{height}_{count}", kind, dtype, lanes, size, height, count)
        block = function.append_basic_block()
        choice.add_case(integer(height * (VECTORS + 1) + count), block)
        with builder.goto_block(block):
            builder.call(tile, function.args, tail=True)
            builder.ret_void()
    ir.IRBuilder(never).unreachable()
    return function


def _tile_function(
    module: Any, name: str, kind: Any, dtype: str, lanes: int, size: int, rows: int, vectors: int
) -> Any:
    """The function for a tile of so many rows and vectors; its last vector may be cut."""
    from llvmlite import ir

    integer = ir.IntType(64)
    vector = ir.VectorType(ir_type(dtype), lanes)
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    given = dict(zip(ARGUMENTS, function.args, strict=True))
    entry, run, loop, after, done = (
        function.append_basic_block(label) for label in ("entry", "run", "loop", "after", "done")
    )

    builder = ir.IRBuilder(entry)
    # Without a start the loads go to the first row of B, which is needed anyway; their values are dropped.
    absent = builder.icmp_signed("==", given["start"], integer(0))
    start = builder.select(absent, given["b"], given["start"])
    start_row = builder.select(absent, integer(0), given["start_row"])
    nothing = ir.Constant(vector, [0.0] * lanes)

    def first(i: int, j: int) -> Any:
        read = load_vector(builder, at(builder, start, start_row, i, j * lanes * size), vector, size)
        return builder.select(absent, nothing, read)

    begin = [[first(i, j) for j in range(vectors)] for i in range(rows)]
    groups = [at(builder, given["a"], given["a_row"], i, 0) for i in range(0, rows, 3)]
    twice = builder.mul(given["a_row"], integer(2))
    builder.branch(run)

    builder = ir.IRBuilder(run)  # entered once for each run
    runs = phi(builder, integer, given["outer"], entry)
    run_b = phi(builder, integer, given["b"], entry)
    run_a = [phi(builder, integer, group, entry) for group in groups]
    run_sums = [[phi(builder, vector, value, entry) for value in row] for row in begin]
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    left = phi(builder, integer, given["inner"], run)
    b = phi(builder, integer, run_b, run)
    a = [phi(builder, integer, group, run) for group in run_a]
    sums = [[phi(builder, vector, value, run) for value in row] for row in run_sums]
    row_of_b = [
        load_vector(builder, at(builder, b, None, 0, j * lanes * size), vector, size) for j in range(vectors)
    ]
    following = []
    for i in range(rows):
        offset = (None, given["a_row"], twice)[i % 3]
        address = a[i // 3] if offset is None else builder.add(a[i // 3], offset)
        number = broadcast(builder, address, vector, dtype, size)
        following.append([multiply_add(builder, number, row_of_b[j], sums[i][j]) for j in range(vectors)])
    for i in range(rows):
        for j in range(vectors):
            sums[i][j].add_incoming(following[i][j], loop)
    ahead = [builder.add(group, given["a_step"]) for group in a]
    for group, value in zip(a, ahead, strict=True):
        group.add_incoming(value, loop)
    next_b = builder.add(b, given["b_step"])
    b.add_incoming(next_b, loop)
    fewer = builder.sub(left, integer(1))
    left.add_incoming(fewer, loop)
    builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), loop, after)

    builder = ir.IRBuilder(after)
    for group, value in zip(run_a, ahead, strict=True):
        group.add_incoming(builder.add(value, given["a_next"]), after)
    run_b.add_incoming(next_b, after)
    for i in range(rows):
        for j in range(vectors):
            run_sums[i][j].add_incoming(following[i][j], after)
    fewer_runs = builder.sub(runs, integer(1))
    runs.add_incoming(fewer_runs, after)
    builder.cbranch(builder.icmp_signed(">", fewer_runs, integer(0)), run, done)

    builder = ir.IRBuilder(done)
    whole, cut, end = (function.append_basic_block(label) for label in ("whole", "cut", "end"))
    builder.cbranch(builder.icmp_signed("==", given["columns"], integer(lanes * vectors)), whole, cut)
    for block in (whole, cut):
        builder = ir.IRBuilder(block)
        mask = lane_mask(builder, builder.sub(given["columns"], integer(lanes * (vectors - 1))), lanes)
        for i in range(rows):
            for j in range(vectors):
                address = at(builder, given["c"], given["c_row"], i, j * lanes * size)
                masked = block is cut and j == vectors - 1
                store_vector(builder, following[i][j], address, size, mask if masked else None)
        builder.branch(end)
    ir.IRBuilder(end).ret_void()
    return function
