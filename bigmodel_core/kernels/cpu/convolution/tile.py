"""The innermost product of a convolution: a tile of outputs, summed over runs of numbers in two loops.

It differs from the tile of the matrix product (`microkernel.py`) in how A is walked: `outer` runs of `inner`
numbers. With channels last, the numbers under one row of a filter are such a run and neighbouring outputs
are a fixed distance apart, so activations are read where they are. B's rows follow one another through all
runs.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import phi, vector_type
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.engine.tile_table import TileTable
from bigmodel_core.kernels.cpu.gemm.microkernel import (
    VECTORS,
    rows_of_a,
    store_tile,
    sums_after_step,
)

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
def convolve_tile(dtype: str) -> TileTable:
    """One tile: `c[i, j] = start[i, j] + sum over o, k of a[i, o, k] * b[o * inner + k, j]`.

    All strides are in bytes. Element k of a run is `a_step` after the one before; `a_next` is added between
    runs. `start` may be C itself, a vector (its row stride being 0), or 0 for nothing; it is added last.
    `rows` is at most `tallest()`, `columns` at most `tile_columns(dtype)`; `outer` and `inner` are at least
    1. Rows of B and of `start` are read in whole vectors, past the last column.
    """
    shapes = [(rows, vectors) for rows in range(1, tallest() + 1) for vectors in range(1, VECTORS + 1)]

    def body(function: Any, rows: int, vectors: int) -> None:
        _tile_function(function, dtype, rows, vectors)

    lanes = vector_unit().lanes(dtype)
    return TileTable(f"convolve_tile_{dtype}", len(ARGUMENTS), lanes, shapes, body)


def _tile_function(function: Any, dtype: str, rows: int, vectors: int) -> None:
    """The instructions for a tile of a number of rows and vectors; its last vector may be partial."""
    from llvmlite import ir

    integer, vector, size = ir.IntType(64), vector_type(dtype), SIZES[dtype]
    nothing = ir.Constant(vector, [0.0] * vector.count)
    given = dict(zip(ARGUMENTS, function.args, strict=True))
    entry, run, loop, after, done = (
        function.append_basic_block(label) for label in ("entry", "run", "loop", "after", "done")
    )

    builder = ir.IRBuilder(entry)
    groups, offsets = rows_of_a(builder, given, rows)
    builder.branch(run)

    builder = ir.IRBuilder(run)  # entered once for each run
    runs = phi(builder, integer, given["outer"], entry)
    run_b = phi(builder, integer, given["b"], entry)
    run_a = [phi(builder, integer, group, entry) for group in groups]
    run_sums = [[phi(builder, vector, nothing, entry) for _ in range(vectors)] for _ in range(rows)]
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    left = phi(builder, integer, given["inner"], run)
    b = phi(builder, integer, run_b, run)
    a = [phi(builder, integer, group, run) for group in run_a]
    sums = [[phi(builder, vector, value, run) for value in row] for row in run_sums]
    following = sums_after_step(builder, a, offsets, b, sums, dtype)
    for row, further in zip(sums, following, strict=True):
        for value, more in zip(row, further, strict=True):
            value.add_incoming(more, loop)
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
    for row, further in zip(run_sums, following, strict=True):
        for value, more in zip(row, further, strict=True):
            value.add_incoming(more, after)
    fewer_runs = builder.sub(runs, integer(1))
    runs.add_incoming(fewer_runs, after)
    builder.cbranch(builder.icmp_signed(">", fewer_runs, integer(0)), run, done)

    store_tile(ir.IRBuilder(done), given, following, size)
