"""Where the numbers of a resized axis come from, and with which weights, for kernels of all devices.

Places are quotients of integers, so that they are the same on every device and in every number type. Only the
nearest ones are found as PyTorch finds them, by a product of float32 numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.kernels.call import Call, FunctionKernel, Operand

METHODS = ("nearest", "nearest-exact", "bilinear", "bicubic")
"""How the numbers between others are found."""
TAPS = {"bilinear": 2, "bicubic": 4}
"""How many numbers along an axis one is made of; for other methods it is one."""


@dataclass(frozen=True)
class Line:
    """An axis before and after it is resized: the number j comes from the place (base + j * step) / apart.

    Args:
        size: before.
        count: after.
        taps: numbers that one is made of.
        base: see above.
        step: see above.
        apart: see above.
        rate: the distance of places, for the nearest ones.
        shift: added to j for these.
    """

    size: int
    count: int
    taps: int
    base: int = 0
    step: int = 1
    apart: int = 1
    rate: float = 1.0
    shift: float = 0.0

    @property
    def same(self) -> bool:
        """Whether nothing changes."""
        return self.size == self.count and self.base == 0 and self.step == self.apart and self.rate == 1

    @property
    def fan(self) -> int:
        """How many numbers one before has a part in, at most."""
        if self.taps == 1:
            return min(self.count, math.ceil(1 / self.rate) + 1)
        return min(self.count, -(-self.taps * self.apart // self.step)) if self.step else self.count


@dataclass(frozen=True)
class Pass:
    """Two neighbouring axes of an array that are resized: (planes, rows, columns, together).

    Args:
        planes: what lies before them.
        rows: the first.
        columns: the second.
        together: the numbers behind them.
    """

    planes: int
    rows: Line
    columns: Line
    together: int

    @property
    def given(self) -> tuple[int, int]:
        """The array before as a matrix of rows."""
        return self.planes * self.rows.size, self.columns.size * self.together

    @property
    def made(self) -> tuple[int, int]:
        """The array after."""
        return self.planes * self.rows.count, self.columns.count * self.together


def passes(op: Any, shape: tuple[int, ...]) -> list[Pass]:
    """How an array is resized, all sizes known: the depth of volumes before or after all else.

    Args:
        op: its sizes, method and layout.
        shape: of the array before.

    Raises:
        ShapeError: a free dimension turned out to be 0.
    """
    spatial = op.spatial(shape)
    outer, together = (shape[0], shape[-1]) if op.layout == "NHWC" else (shape[0] * shape[1], 1)
    lines = [_line(op, axis, size) for axis, size in enumerate(spatial)]
    one = Line(1, 1, lines[0].taps)
    if len(lines) == 1:
        return [Pass(outer, one, lines[0], together)]
    *deep, rows, columns = lines
    if not deep:
        return [Pass(outer, rows, columns, together)]
    (depth,) = deep
    if depth.count < depth.size:
        pixels = rows.size * columns.size * together
        return [Pass(outer, depth, one, pixels), Pass(outer * depth.count, rows, columns, together)]
    pixels = rows.count * columns.count * together
    return [Pass(outer * depth.size, rows, columns, together), Pass(outer, depth, one, pixels)]


def _line(op: Any, axis: int, size: int) -> Line:
    count, scale = op.sizes[axis], op.scales[axis]
    taps = TAPS.get(op.method, 1)
    if taps > 1:
        return Line(size, count, taps, *op.places(axis, size))
    rate = np.float32(1 / scale) if scale else np.float32(size) / np.float32(count)
    return Line(size, count, taps, rate=float(rate), shift=0.5 if op.method == "nearest-exact" else 0.0)


def find_taps(places, weights, j, size, base, step, apart, rate, shift, cubic):
    """places, weights (taps, count): what the number j is made of; `cubic` shapes the cubic weights (Keys,
    1981)."""
    taps = places.shape[0]
    last = size - 1
    one = weights.dtype.type(1)
    if taps == 1:
        place = math.floor((np.float32(j) + np.float32(shift)) * np.float32(rate))
        places[0, j] = min(place, last)
        weights[0, j] = one
        return
    number = base + j * step
    if taps == 2 and number < 0:
        number = -apart  # both numbers are the first one
    first = number // apart
    part = weights.dtype.type(number - first * apart) / weights.dtype.type(apart)
    rest = one - part
    if taps == 2:
        places[0, j] = max(0, min(first, last))
        places[1, j] = min(first + 1, last)
        weights[0, j] = rest
        weights[1, j] = part
        return
    for tap in range(4):
        places[tap, j] = max(0, min(first - 1 + tap, last))
    two = cubic + one + one
    three = two + one
    weights[0, j] = cubic * part * rest * rest
    weights[1, j] = (two * part - three) * part * part + one
    weights[2, j] = (two * rest - three) * rest * rest + one
    weights[3, j] = cubic * rest * part * part


def find_parts(firsts, parts, r, places, weights):
    """firsts (size,), parts (fan, size): which numbers after the number r before has a part in, and which."""
    taps, count = places.shape
    low = 0
    high = count
    while low < high:
        middle = (low + high) // 2
        if places[taps - 1, middle] < r:
            low = middle + 1
        else:
            high = middle
    first = min(low, count - parts.shape[0])
    firsts[r] = first
    for k in range(parts.shape[0]):
        total = weights.dtype.type(0)
        for tap in range(taps):
            if places[tap, first + k] == r:
                total += weights[tap, first + k]
        parts[k, r] = total


Tables = tuple[list[Any], list[Operand]]
"""Launches, and what they write."""


def weights_of(call: Call, step: Pass, fill: FunctionKernel) -> Tables:
    """The places and weights of the rows, then of the columns.

    Args:
        fill: the kernel that calls `find_taps` for each number of an axis.
    """
    launches: list[Any] = []
    tables: list[Operand] = []
    dtype = call.dtype if call.outputs[0].is_float else "float32"
    for line in (step.rows, step.columns):
        shape = (line.taps, line.count)
        made = [call.temporary(shape, "int64"), call.temporary(shape, dtype)]
        told = {name: getattr(line, name) for name in ("size", "base", "step", "apart", "rate", "shift")}
        launches += call.launch(fill, made, [], **told, cubic=call.op.cubic)
        tables += made
    return launches, tables


def parts_of(call: Call, step: Pass, fill: FunctionKernel, turn: FunctionKernel) -> Tables:
    """For the gradient: the numbers that each one of a row, then of a column, has a part in, and the parts.

    Args:
        fill: as above.
        turn: the kernel that calls `find_parts` for each number of an axis before.
    """
    launches, weights = weights_of(call, step, fill)
    tables: list[Operand] = []
    for line, table in ((step.rows, weights[:2]), (step.columns, weights[2:])):
        made = [call.temporary((line.size,), "int64"), call.temporary((line.fan, line.size))]
        launches += call.launch(turn, made, table)
        tables += made
    return launches, tables
