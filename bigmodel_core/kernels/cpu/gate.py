"""The gate of a plan on the CPU: are all numbers of some arrays finite, and all products of them?

Magnitudes are compared as integers, the bits of floats without their sign: these are in the order of the
numbers, infinity is above all finite numbers and NaN above infinity, so that neither is ever lost, and the
result does not depend on the order.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch, Item
from bigmodel_core.kernels.cpu.engine.memory import (
    float_of,
    load,
    load_float,
    load_int,
    magnitude_of,
    store_int,
)
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.side_by_side import side_by_side
from bigmodel_core.kernels.status import CODE, FOUND, NOT_FINITE, OK, UNPROVEN

PIECE = 65_536
"""Numbers of a chunk: some microseconds."""
SHARE = 1 / 131_072
"""The work of one number, as a share of a chunk that is worth a thread."""


@cpu_launches
def gate(call: Call) -> list[CpuLaunch]:
    """Set the status if a check fails: `NOT_FINITE` for an array that is not finite, else `UNPROVEN`."""
    counts = [math.prod(spec.sizes) for spec in call.inputs]
    pieces = [-(-count // PIECE) for count in counts]
    slots = call.scratch(8 * sum(pieces))
    found: list[CpuLaunch] = []
    table: list[Item] = []
    slot = 0
    for spec, buffer, count, parts in zip(call.inputs, call.input_buffers, counts, pieces, strict=True):
        if parts:
            found.append(CpuLaunch(largest_kernel(spec.dtype), [buffer, count, slots, slot], parts))
        table += [slot, parts, int(spec.dtype == "float64")]
        slot += parts
    bounds = call.op.bounds
    context: list[Item] = [call.status, slots, len(bounds), 4 + len(table), *table]
    for number, bound in enumerate(bounds):
        limit = call.op.limit(call.inputs[bound.inputs[0]].dtype)
        context += [number, float(bound.factor), limit, len(bound.inputs)]
        context += [4 + 3 * position for position in bound.inputs]
    end = CpuLaunch(VERDICT, context)
    weights = [min(count, PIECE) * SHARE for count in counts if count]
    if sum(counts) * SHARE < 1:
        return side_by_side([*found, end], [*weights, 0.0], call.status)
    return [*side_by_side(found, weights, call.status), end]


@functools.cache
def largest_kernel(dtype: str) -> NativeFunction:
    """Context: the array, how many numbers, the slots, which of them is the first piece's."""
    read, size, magnitude = load(dtype), SIZES[dtype], magnitude_of(dtype)

    def largest(ctx, chunk):
        first = chunk * PIECE
        count = min(load_int(ctx, 1) - first, PIECE)
        at = load_int(ctx, 0) + first * size
        top = magnitude(read(at, 0))
        for i in range(count):
            here = magnitude(read(at, i))
            top = here if here > top else top
        store_int(load_int(ctx, 2), load_int(ctx, 3) + chunk, top)

    return NativeFunction(largest)


single, double = float_of("float32"), float_of("float64")


def magnitude(slots, first, pieces, wide):
    """The largest magnitude of an array whose pieces are measured; NaN if it holds NaN."""
    top = 0
    for piece in range(first, first + pieces):
        top = max(top, load_int(slots, piece))
    if wide != 0:
        return double(top)
    return single(np.int32(top))


def verdict(ctx, chunk):
    """Context: status, slots, how many bounds, where they start, three integers for each array (its first
    slot, how many, whether it is float64); then for each bound its number, factor, limit and arrays."""
    status, slots, at = load_int(ctx, 0), load_int(ctx, 1), ctx + load_int(ctx, 3) * 8
    for _ in range(load_int(ctx, 2)):
        count = load_int(at, 3)
        bound = load_float(at, 1)
        for operand in range(count):
            array = ctx + load_int(at, 4 + operand) * 8
            bound *= magnitude(slots, load_int(array, 0), load_int(array, 1), load_int(array, 2))
        if not bound < load_float(at, 2):
            certain = count == 1 and not bound < INF
            if load_int(status, CODE) == OK or (certain and load_int(status, CODE) == UNPROVEN):
                store_int(status, FOUND, load_int(at, 0))
                store_int(status, CODE, NOT_FINITE if certain else UNPROVEN)
        at += (4 + count) * 8


INF = float("inf")
VERDICT = NativeFunction(verdict)
