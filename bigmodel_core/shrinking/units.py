"""What can be taken out of a model only as a whole: the same channel in every array that has it."""

from __future__ import annotations

import numpy as np

Axis = np.ndarray | None
"""The unit of each place along an axis; None where nothing can be taken out."""

Axes = list[Axis]
"""The axes of an array."""

FIXED = 0
"""The unit of all that stays."""


class Units:
    """Numbers for units, of which any two can turn out to be one."""

    def __init__(self) -> None:
        self._parent = [FIXED]

    def fresh(self, count: int) -> np.ndarray:
        """As many new units."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def join(self, first: Axis, second: Axis) -> None:
        """The places of two axes that are of the same size belong together, one by one."""
        if first is None:
            first, second = second, first
        if first is None or first is second:
            return
        other = np.full_like(first, FIXED) if second is None else second
        for a, b in zip(first.tolist(), other.tolist(), strict=True):
            a, b = self._root(a), self._root(b)
            self._parent[max(a, b)] = min(a, b)

    def join_rows(self, rows: np.ndarray) -> np.ndarray:
        """The places of each row (rows, columns) are one unit; those units."""
        for column in rows.T[1:]:
            self.join(rows[:, 0], column)
        return rows[:, 0]

    def fix(self, axis: Axis) -> None:
        """Nothing can be taken out of an axis."""
        self.join(axis, None)

    def of(self, axis: np.ndarray) -> np.ndarray:
        """The units along an axis, after all that was joined."""
        return np.array([self._root(unit) for unit in axis.tolist()], "int64")

    def _root(self, unit: int) -> int:
        parent = self._parent
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit
