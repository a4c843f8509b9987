"""How padded arrays lie in memory, and which numbers meet there, in plain functions for all devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph.spec import Spec

CONSTANT, REFLECT, EDGE = range(3)
MODES = ("constant", "reflect", "edge")
"""What borders are made of; their places are the numbers above."""
WIDE = 64
"""From so many numbers on, what lies along unpadded last axes is a row of its own."""


@dataclass(frozen=True)
class Bordered:
    """An array with borders along a few axes: neighbours that have none are one axis.

    Args:
        sizes: of the padded array, for each axis but the last.
        inside: of the array without borders.
        before: how many come before it.
        units: of a padded row.
        count: units of a row without borders.
        left: how many units come before it.
        unit: the numbers of a unit, which lie next to each other.
    """

    sizes: tuple[int, ...]
    inside: tuple[int, ...]
    before: tuple[int, ...]
    units: int
    count: int
    left: int
    unit: int

    @property
    def padded(self) -> tuple[int, int]:
        """The padded array as a matrix."""
        return math.prod(self.sizes), self.units * self.unit

    @property
    def plain(self) -> tuple[int, int]:
        """The array without borders as a matrix."""
        return math.prod(self.inside), self.count * self.unit

    def reversed(self) -> Bordered:
        """The padded array as one without borders, of which they are taken away."""
        before = tuple(-width for width in self.before)
        return Bordered(self.inside, self.sizes, before, self.count, self.units, -self.left, self.unit)


def bordered(sizes: Sequence[int], widths: Sequence[tuple[int, int]]) -> Bordered:
    """An array with borders, seen with as few axes as can be, but three at least.

    >>> bordered((8, 3, 5, 6), ((0, 0), (0, 0), (1, 0), (2, 2)))
    Bordered(sizes=(24, 6), inside=(24, 5), before=(0, 1), units=10, count=6, left=2, unit=1)
    """
    axes: list[tuple[int, int, int]] = []
    for size, (before, after) in zip(sizes, widths, strict=True):
        if axes and (before, after) == (0, 0) == axes[-1][1:]:
            axes[-1] = (axes[-1][0] * size, 0, 0)
        else:
            axes.append((size, before, after))
    unit = 1
    if axes and axes[-1][1:] == (0, 0) and (axes[-1][0] < WIDE or len(axes) == 1):
        unit = axes.pop()[0]
    count, left, right = axes.pop() if axes else (1, 0, 0)
    axes = [(1, 0, 0)] * (2 - len(axes)) + axes
    return Bordered(
        tuple(before + size + after for size, before, after in axes),
        tuple(size for size, _, _ in axes),
        tuple(before for _, before, _ in axes),
        left + count + right,
        count,
        left,
        unit,
    )


def bordered_by(op: Any, x: Spec) -> tuple[Bordered, int]:
    """How an array that an op pads lies in memory, all sizes known, and the op's mode as a number.

    Raises:
        ShapeError: a free dimension turned out too small for the mode.
    """
    op.infer(x)
    return bordered(x.sizes, op.widths), MODES.index(op.mode)


def source(place, size, kind):
    """The number that a place has along an axis, counted from the first one inside; -1 if it has none."""
    if 0 <= place < size:
        return place
    if kind == CONSTANT:
        return -1
    if kind == REFLECT:
        return -place if place < 0 else 2 * (size - 1) - place
    return 0 if place < 0 else size - 1


def copies(place, size, before, after, kind):
    """How many numbers of a padded axis are the one at a place inside: itself, those before, those behind."""
    count = 1
    if kind == REFLECT:
        count += 1 <= place <= before
        count += size - 1 - after <= place <= size - 2
    else:
        if place == 0:
            count += before
        if place == size - 1:
            count += after
    return count


def copy(number, place, size, before, kind):
    """Where one of the copies is, counted from the beginning of the padded axis; see `copies`."""
    if kind == REFLECT:
        if number == 0:
            return before + place
        if number == 1 and 1 <= place <= before:
            return before - place
        return before + 2 * (size - 1) - place
    return number if place == 0 else before + place + number
