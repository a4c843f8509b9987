"""Fused elementwise chains on the CPU: generated loops over tiles of (rows, columns), vectorised by LLVM."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES, FLOATS, SIZES
from bigmodel_core.kernels.cpu.engine import math as cpu_math
from bigmodel_core.kernels.cpu.engine.instructions import prefetch_bytes
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import (
    larger,
    load,
    load_float,
    load_int,
    magnitude_of,
    store,
    store_int,
)
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.fused import Chain, Space, attribute_type, part_source
from bigmodel_core.kernels.scalar import CONVERTERS
from bigmodel_core.kernels.status import CODE, WRITTEN_NOT_FINITE

CHUNK_WEIGHT = 200_000
"""How much work a chunk holds, in units of `Chain.weight`: some ten microseconds."""

LEAST_WEIGHT = 0.01
"""The weight of a chunk of nothing: a call, and the addresses it reads."""

_WHOLE = ((True, True), (False, False))
"""How an operand varies that is a whole matrix, or a single number."""

_HEAD = 5  # rows, columns, rows of a tile, columns of a tile, tiles in a row


def launch(
    chain: Chain,
    space: Space,
    sizes: Sequence[int],
    operands: Sequence[CpuBuffer],
    results: Sequence[CpuBuffer],
    tile: tuple[int, int] | None = None,
    status: CpuBuffer | None = None,
) -> CpuLaunch | None:
    """The launch of a chain over concrete sizes; None if there is nothing to compute.

    Args:
        chain: the program.
        space: its iteration space.
        sizes: the space's axes as integers.
        operands: memory of the operands.
        results: memory of the results.
        tile: the tiles of a matrix kernel that this one follows; the last axis is then the matrix's columns.
        status: where a chain that watches results reports a failure.
    """
    columns = sizes[-1] if sizes else 1
    rows = int(np.prod(sizes[:-1], dtype=np.int64)) if sizes else 1
    if rows * columns == 0:
        return None
    if tile and tile[1] >= columns and all(varies in _WHOLE for varies in space.varies):
        # Tiles of whole rows are in one piece: one long row of them vectorises however few columns there are.
        sizes, tile = [1, rows * columns], (1, tile[0] * columns)
        rows, columns = sizes
    row_tile, column_tile = tile or _tile(rows, columns, chain.weight())
    across = -(-columns // column_tile)
    context: list[int | float | CpuBuffer] = [rows, columns, row_tile, column_tile, across]
    outer = list(sizes[:-1])
    context += outer if len(outer) > 1 else []
    for number, buffer in enumerate(operands):
        context += [buffer, *_outer_strides(space.strides(number, sizes), outer)]
    full = [int(np.prod(sizes[axis + 1 :], dtype=np.int64)) for axis in range(len(sizes))]
    for buffer in results:
        context += [buffer, *_outer_strides(full, outer)]
    for part in chain.parts:
        for _, value in part.attributes:
            kind = attribute_type(value, part.compute)
            context.append(float(value) if kind in FLOATS else int(value))
    if chain.watched:
        assert status is not None
        context.append(status)
    return CpuLaunch(kernel(chain.typed()), context, -(-rows // row_tile) * across, (row_tile, column_tile))


def chunk_weight(chain: Chain, launch: CpuLaunch) -> float:
    """The work of a chunk of a launch of this chain, as a share of a chunk that is worth a thread."""
    rows, columns = launch.context[:2]
    assert isinstance(rows, int) and isinstance(columns, int)
    return rows * columns * chain.weight() / launch.chunks / CHUNK_WEIGHT + LEAST_WEIGHT


def _outer_strides(strides: list[int], outer: list[int]) -> list[int]:
    return strides[:-1] if outer else [0]


def _tile(rows: int, columns: int, weight: int) -> tuple[int, int]:
    wanted = max(CHUNK_WEIGHT // max(weight, 1), 64)
    if columns >= wanted:
        return 1, -(-wanted // 64) * 64
    return max(min(wanted // columns, rows), 1), columns


def _next_row(chain: Chain) -> list[str]:
    """Lines that ask the memory for the next row of a tile that is narrower than its matrix: the processor
    expects the rest of the row."""
    lines = []
    for number, (dtype, varies) in enumerate(chain.operands):
        if varies:
            size = SIZES[dtype]
            lines += [
                f"            following = x{number}_row + (x{number}_0 + first_column) * {size}",
                f"            prefetch_bytes(following, (last_column - first_column) * {size})",
            ]
    # A condition that no row changed would make LLVM compile all loops twice, for both of its values.
    return ["        if row < last_followed:", *lines] if lines else []


@functools.cache
def kernel(chain: Chain) -> NativeFunction:
    """The compiled form of a typed chain, made once."""
    text, objects = source(chain)
    scope: dict[str, Any] = dict(objects)
    exec(compile(text, "<fused elementwise kernel>", "exec"), scope)
    scope["fused"].authors = tuple(part.function for part in chain.parts)
    return NativeFunction(scope["fused"], replace=_builtin_replacements(chain))


def _builtin_replacements(chain: Chain) -> tuple[tuple[Any, Any], ...]:
    computes = {part.compute for part in chain.parts if part.compute in FLOATS}
    return cpu_math.replacements(computes.pop()) if len(computes) == 1 else ()


def source(chain: Chain) -> tuple[str, dict[str, Any]]:
    """The generated source of a chain's kernel and the objects it refers to."""
    objects: dict[str, Any] = {
        "load_int": load_int,
        "store_int": store_int,
        "load_float": load_float,
        "prefetch_bytes": prefetch_bytes,
        **CONVERTERS,
    }
    helpers: dict[str, str] = {}
    for inlined in chain.inlined():
        helpers.update(inlined.helpers)
        objects.update(inlined.objects)
        for name, kind in inlined.math_names:
            objects[f"m_{name}_{kind}"] = cpu_math.functions(kind)[name]
    lines = ["def fused(ctx, chunk):"]
    lines += [
        "    rows = load_int(ctx, 0)",
        "    columns = load_int(ctx, 1)",
        "    row_tile = load_int(ctx, 2)",
        "    column_tile = load_int(ctx, 3)",
        "    across = load_int(ctx, 4)",
        "    first_row = chunk // across * row_tile",
        "    first_column = chunk % across * column_tile",
        "    last_row = min(rows, first_row + row_tile)",
        "    last_column = min(columns, first_column + column_tile)",
        "    if last_column - first_column <= 0:",  # never; LLVM would make loops for it, too
        "        return",
        "    last_followed = last_row - 1 if column_tile < columns else first_row",
    ]
    outer = max(chain.axes - 1, 1)
    slot = _HEAD
    if outer > 1:
        lines += [f"    size{axis} = load_int(ctx, {slot + axis})" for axis in range(outer)]
        slot += outer
    for name, count in (("x", len(chain.operands)), ("y", len(chain.results))):
        for number in range(count):
            lines.append(f"    {name}{number} = load_int(ctx, {slot})")
            for axis in range(outer):
                lines.append(f"    {name}{number}_{axis} = load_int(ctx, {slot + 1 + axis})")
            slot += 1 + outer
    attribute_names: list[list[str]] = []
    for number, part in enumerate(chain.parts):
        names = []
        for name, kind in part.attributes:
            read = f"load_float(ctx, {slot})" if kind in FLOATS else f"load_int(ctx, {slot})"
            lines.append(
                f"    p{number}_{name} = {read} != 0"
                if kind == "bool"
                else f"    p{number}_{name} = {DTYPES[kind].converter}({read})"
            )
            names.append(f"p{number}_{name}")
            slot += 1
        attribute_names.append(names)
    watched = {number: chain.parts[chain.results[number][0]].dtype for number in sorted(chain.watched)}
    for dtype in sorted(set(watched.values())):
        objects[f"magnitude_of_{dtype}"] = magnitude_of(dtype)
        bits = DTYPES[DTYPES[dtype].bits]
        objects[f"larger_{dtype}"] = larger(bits.name)
        lines.append(f"    top_{dtype} = {bits.converter}(0)")
    lines.append("    for row in range(first_row, last_row):")
    rest = "row"
    if outer > 1:
        for axis in reversed(range(outer)):
            lines.append(f"        at{axis} = {rest} % size{axis}" if axis else f"        at0 = {rest}")
            lines.append(f"        rest{axis} = {rest} // size{axis}")
            rest = f"rest{axis}"
    at = ["row"] if outer == 1 else [f"at{axis}" for axis in range(outer)]

    def row_pointer(name: str, dtype: str) -> str:
        offset = " + ".join(f"{at[axis]} * {name}_{axis}" for axis in range(outer))
        return f"        {name}_row = {name} + ({offset}) * {SIZES[dtype]}"

    for number, (dtype, varies) in enumerate(chain.operands):
        objects[f"load_{dtype}"] = load(dtype)
        lines.append(row_pointer(f"x{number}", dtype))
        if not varies:
            lines.append(f"        x{number}_value = load_{dtype}(x{number}_row, 0)")
    for number, (part_number, inplace) in enumerate(chain.results):
        objects[f"store_{chain.parts[part_number].dtype}"] = store(chain.parts[part_number].dtype)
        if inplace < 0:
            lines.append(row_pointer(f"y{number}", chain.parts[part_number].dtype))
    if outer == 1 and not chain.watched:  # new values of variables have no tiles
        lines += _next_row(chain)
    lines.append("        for column in range(first_column, last_column):")
    if any("index" in inlined.parameters for inlined in chain.inlined()):
        lines.append("            index = row * columns + column")
    names = []
    for number, (dtype, varies) in enumerate(chain.operands):
        if varies:
            lines.append(f"            x{number}_value = load_{dtype}(x{number}_row, column)")
        names.append(f"x{number}_value")
    for number in range(len(chain.parts)):
        lines.append(f"            v{number} = {part_source(chain, number, names, attribute_names[number])}")
        names.append(f"v{number}")
    for number, (part_number, inplace) in enumerate(chain.results):
        row = f"y{number}_row" if inplace < 0 else f"x{inplace}_row"
        lines.append(f"            store_{chain.parts[part_number].dtype}({row}, column, v{part_number})")
    for dtype in sorted(set(watched.values())):
        here = [f"magnitude_of_{dtype}(v{chain.results[n][0]})" for n in watched if watched[n] == dtype]
        largest = functools.reduce(lambda a, b: f"larger_{dtype}({a}, {b})", here)
        lines.append(f"            top_{dtype} = larger_{dtype}(top_{dtype}, {largest})")
    for dtype in sorted(set(watched.values())):
        lines += [
            f"    if top_{dtype} >= {DTYPES[dtype].infinite}:",
            f"        store_int(load_int(ctx, {slot}), {CODE}, {WRITTEN_NOT_FINITE})",
        ]
    parts = [f"{text}\n\n{name}.is_inlined = True" for name, text in helpers.items()]
    text = "\n\n".join([*parts, "\n".join(lines)])
    return text + "\n", objects
