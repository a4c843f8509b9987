"""The largest magnitude in arrays, and the verdict on it: are all numbers finite, products of them included?

Magnitudes are compared as integers, the bits of floats without their sign: these are in the order of the
numbers, infinity lies above all that is finite and NaN above infinity, so that neither is ever lost, and the
result does not depend on the order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.launch import CpuBuffer, CpuLaunch, Item
from bigmodel_core.kernels.cpu.memory import float_of, load, load_float, load_int, magnitude_of, store_int
from bigmodel_core.kernels.cpu.native import NativeFunction
from bigmodel_core.kernels.cpu.side_by_side import side_by_side
from bigmodel_core.kernels.status import NOT_FINITE, UNPROVEN

PIECE = 65_536
"""Numbers of a chunk: some microseconds."""
SHARE = 1 / 131_072
"""The work of one number, as a share of a chunk that is worth a thread."""


@dataclass(frozen=True)
class Measured:
    """An array whose largest magnitude is wanted.

    Args:
        buffer: its memory.
        count: how many numbers.
        dtype: "float32" or "float64".
    """

    buffer: CpuBuffer
    count: int
    dtype: str


@dataclass(frozen=True)
class Verdict:
    """What is to be below a limit: a factor times the largest magnitudes of some arrays.

    Args:
        arrays: which of the measured arrays.
        factor: a number.
        limit: a number; infinity where all that is finite will do.
    """

    arrays: tuple[int, ...]
    factor: float
    limit: float


def launches(
    arrays: Sequence[Measured], verdicts: Sequence[Verdict], scratch: CpuBuffer, status: CpuBuffer
) -> list[CpuLaunch]:
    """The launches that set the status where a verdict fails: `NOT_FINITE` where a single array is not
    finite, `UNPROVEN` otherwise.

    Args:
        scratch: memory of `room(arrays)` bytes.
    """
    found: list[CpuLaunch] = []
    table: list[Item] = []
    slot = 0
    for array in arrays:
        pieces = -(-array.count // PIECE)
        if pieces:
            found.append(
                CpuLaunch(largest_kernel(array.dtype), [array.buffer, array.count, scratch, slot], pieces)
            )
        table += [slot, pieces, int(array.dtype == "float64")]
        slot += pieces
    context: list[Item] = [status, scratch, len(verdicts), 4 + len(table), *table]
    for number, verdict in enumerate(verdicts):
        context += [number, verdict.factor, verdict.limit, len(verdict.arrays)]
        context += [4 + 3 * position for position in verdict.arrays]
    end = CpuLaunch(VERDICT, context)
    weights = [min(array.count, PIECE) * SHARE for array in arrays if array.count]
    if sum(array.count for array in arrays) * SHARE < 1:
        return side_by_side([*found, end], [*weights, 0.0], status)
    return [*side_by_side(found, weights, status), end]


def room(arrays: Sequence[Measured]) -> int:
    """Bytes of temporary memory for some arrays: a slot of eight for each piece."""
    return 8 * sum(-(-array.count // PIECE) for array in arrays)


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
    """The largest magnitude of an array whose pieces are measured; NaN where it holds NaN."""
    top = 0
    for piece in range(first, first + pieces):
        top = max(top, load_int(slots, piece))
    if wide != 0:
        return double(top)
    return single(np.int32(top))


def verdict(ctx, chunk):
    """Context: status, slots, how many verdicts, where they start, three integers for each array (its first
    slot, how many, whether it is float64); then for each verdict its number, factor, limit and arrays."""
    status, slots, at = load_int(ctx, 0), load_int(ctx, 1), ctx + load_int(ctx, 3) * 8
    for _ in range(load_int(ctx, 2)):
        count = load_int(at, 3)
        bound = load_float(at, 1)
        for operand in range(count):
            array = ctx + load_int(at, 4 + operand) * 8
            bound *= magnitude(slots, load_int(array, 0), load_int(array, 1), load_int(array, 2))
        if not bound < load_float(at, 2):
            certain = count == 1 and not bound < INF
            if load_int(status, 0) == 0 or (certain and load_int(status, 0) == UNPROVEN):
                store_int(status, 1, load_int(at, 0))
                store_int(status, 0, NOT_FINITE if certain else UNPROVEN)
        at += (4 + count) * 8


INF = float("inf")
VERDICT = NativeFunction(verdict)
