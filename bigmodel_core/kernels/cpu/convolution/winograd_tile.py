"""The linear maps of Winograd's algorithm on grids of pixels, as vector instructions over channels.

A map takes a small square grid X to M X M^T; the entries of M are 0, 1 and -1, so that it needs additions
alone. Each point of a grid is a vector of channels.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import (
    lane_mask,
    load_vector,
    outlined,
    phi,
    store_vector,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.native import Intrinsic

Matrix = tuple[tuple[int, ...], ...]

OF_INPUT: Matrix = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
"""From 4 x 4 pixels of the input to the 16 numbers that meet the filter's 16."""
OF_PRODUCT: Matrix = ((1, 1, 1, 0), (0, 1, -1, -1))
"""From 16 products to 2 x 2 pixels of the output."""
OF_UPSTREAM: Matrix = ((1, 0), (1, 1), (1, -1), (0, -1))
"""From 2 x 2 pixels of the output's gradient to the 16 numbers that meet the input's 16: the transpose."""

ARGUMENTS = (
    *("source", "source_row", "source_column", "source_valid", "nothing"),
    *("target", "target_row", "target_column", "target_valid", "waste", "bias", "count"),
)


@functools.cache
def transform_grid(dtype: str, matrix: Matrix) -> Intrinsic:
    """`transform_grid(dtype, M)(*ARGUMENTS)`: a grid of `count` channels through M, plus a bias.

    All strides are in bytes, those of a row and of a column of each grid. Bit i * n + j of a `valid` says
    whether point (i, j) of an n x n grid is there: points that are not are read from `nothing` (zeros, as
    long as the channels) and written to `waste`. `bias` is a vector, or 0. Reads go on to whole vectors.
    """
    name = f"transform_{len(matrix[0])}_to_{len(matrix)}_{dtype}"
    return outlined(name, len(ARGUMENTS), lambda function: _body(function, dtype, matrix))


def _body(function: Any, dtype: str, matrix: Matrix) -> None:
    from llvmlite import ir

    integer, vector, size = ir.IntType(64), vector_type(dtype), SIZES[dtype]
    lanes = vector.count
    given = dict(zip(ARGUMENTS, function.args, strict=True))
    entry, loop, end = (function.append_basic_block(label) for label in ("entry", "loop", "end"))

    def addresses(name: str, n: int, otherwise: str) -> list[list[Any]]:
        found = []
        for i in range(n):
            row = builder.add(given[name], builder.mul(given[f"{name}_row"], integer(i)))
            points = []
            for j in range(n):
                point = builder.add(row, builder.mul(given[f"{name}_column"], integer(j)))
                bit = builder.and_(given[f"{name}_valid"], integer(1 << (i * n + j)))
                there = builder.icmp_signed("!=", bit, integer(0))
                points.append(builder.select(there, point, given[otherwise]))
            found.append(points)
        return found

    builder = ir.IRBuilder(entry)
    sources = addresses("source", len(matrix[0]), "nothing")
    targets = addresses("target", len(matrix), "waste")
    has_bias = builder.icmp_signed("!=", given["bias"], integer(0))
    bias = builder.select(has_bias, given["bias"], given["source"])  # any address that can be read
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    at = phi(builder, integer, integer(0), entry)
    left = phi(builder, integer, given["count"], entry)

    def read(address: Any) -> Any:
        return load_vector(builder, builder.add(address, at), vector, size)

    grid = [[read(address) for address in row] for row in sources]
    nothing = ir.Constant(vector, [0.0] * lanes)
    shift = builder.select(has_bias, read(bias), nothing)
    columns = [_combined(builder, matrix, [row[j] for row in grid]) for j in range(len(grid))]
    rows = [_combined(builder, matrix, [columns[j][i] for j in range(len(grid))]) for i in range(len(matrix))]
    mask = lane_mask(builder, left, lanes)
    for values, places in zip(rows, targets, strict=True):
        for value, place in zip(values, places, strict=True):
            store_vector(builder, builder.fadd(value, shift), builder.add(place, at), size, mask)
    further = builder.add(at, integer(lanes * size))
    fewer = builder.sub(left, integer(lanes))
    at.add_incoming(further, loop)
    left.add_incoming(fewer, loop)
    builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), loop, end)
    ir.IRBuilder(end).ret_void()


def _combined(builder: Any, matrix: Matrix, values: list[Any]) -> list[Any]:
    """Each row of the matrix as a sum of the values, without a multiplication."""

    made = []
    for row in matrix:
        terms = sorted(zip(row, values, strict=True), key=lambda term: -term[0])
        total = builder.fneg(terms[-1][1]) if terms[0][0] == 0 else terms[0][1]
        for sign, value in terms[1:] if terms[0][0] else ():
            if sign:
                total = builder.fadd(total, value) if sign > 0 else builder.fsub(total, value)
        made.append(total)
    return made
