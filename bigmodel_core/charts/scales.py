"""Axes: which place a number has on them, and where their ticks are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel_core.charts.texts import number


@dataclass(frozen=True)
class Scale:
    """An axis of numbers.

    Args:
        low, high: its ends.
        is_log: whether equal ratios are equal lengths.
        ticks: numbers that are marked.
        labels: what is written at them.
    """

    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def share(self, values: np.ndarray) -> np.ndarray:
        """Where numbers are, from 0 at the low end to 1; NaN for what the axis cannot show."""
        values = np.asarray(values, np.float64)
        low, high = self.low, self.high
        if self.is_log:
            values = np.log10(values, out=np.full(values.shape, np.nan), where=values > 0)
            low, high = math.log10(low), math.log10(high)
        # Halves: the ends may be as far apart as numbers can be.
        with np.errstate(over="ignore"):
            found = (values / 2 - low / 2) / (high / 2 - low / 2)
        return np.where(np.abs(found) < 1e6, found, np.nan)


def scale(
    arrays: Sequence[np.ndarray],
    *,
    is_log: bool = False,
    limits: tuple[float, float] | None = None,
    with_zero: bool = False,
    room: int = 6,
) -> Scale:
    """The axis that shows all finite numbers of some arrays.

    Args:
        arrays: the numbers.
        is_log: whether equal ratios are to be equal lengths; not done where no number is above 0.
        limits: its ends; None for those of the numbers.
        with_zero: whether 0 belongs to it, as for bars.
        room: about how many ticks it has.

    >>> scale([np.array([0.03, 0.97])]).labels
    ('0', '0.2', '0.4', '0.6', '0.8', '1.0')
    """
    values = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if is_log and len(positive):
        return _logarithmic(float(positive.min()), float(positive.max()))
    if limits is None:
        limits = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        if with_zero:
            limits = (min(0.0, limits[0]), max(0.0, limits[1]))
        if limits[0] == limits[1]:
            around, is_share = abs(limits[0]) / 2 or 0.5, 0 <= limits[0] <= 1
            limits = (0.0, 1.0) if is_share else (limits[0] - around, limits[1] + around)
        step = _step(limits[1] / room - limits[0] / room, _is_whole(values))
        ends = (math.floor(limits[0] / step) * step, math.ceil(limits[1] / step) * step)
        low, high = (end if math.isfinite(end) else limit for end, limit in zip(ends, limits, strict=True))
        limits = (low, high)
    return _linear(*limits, room, _is_whole(values))


def along(arrays: Sequence[np.ndarray]) -> Scale:
    """A horizontal axis, which ends where its numbers do."""
    values = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() == values.max():
        middle = float(values[0]) if len(values) else 0.5
        around = 0.5 if abs(middle) < 1e15 else abs(middle) / 2
        return _linear(middle - around, middle + around, 6, _is_whole(values))
    return _linear(float(values.min()), float(values.max()), 6, _is_whole(values))


def _is_whole(values: np.ndarray) -> bool:
    """Whether there are numbers, all of them whole, as those of epochs: so are their ticks."""
    return bool(len(values)) and bool(np.all(values == np.floor(values)))


def _step(raw: float, is_whole: bool) -> float:
    """The round number at or above a distance; of whole numbers a whole one."""
    raw = max(raw, 1e-300)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999999)
    return max(1.0, step) if is_whole else step


def _linear(low: float, high: float, room: int, is_whole: bool) -> Scale:
    step = _step(high / room - low / room, is_whole)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [position * step for position in range(first, min(last, first + 20) + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    is_usual = decimals <= 6 and max(abs(low), abs(high)) < 1e6
    labels = [f"{tick:,.{decimals}f}" if is_usual else number(tick, 6) for tick in ticks]
    return Scale(
        low, high, False, tuple(ticks), tuple("0" if not label.strip("-0.") else label for label in labels)
    )


def _logarithmic(low: float, high: float) -> Scale:
    least, most = math.floor(math.log10(low)), math.ceil(math.log10(high))
    most = most if most > least else least + 1
    factors = (1, 2, 5) if most - least <= 2 else (1,)
    apart = max(1, math.ceil((most - least) / 8))
    ticks = [10.0**power * factor for power in range(least, most, apart) for factor in factors]
    if (most - least) % apart == 0:
        ticks.append(10.0**most)
    ticks = [tick for tick in ticks if math.isfinite(tick) and tick > 0]
    low, high = max(10.0**least, 5e-324), min(10.0**most, 1.7e308) if most < 309 else 1.7e308
    return Scale(low, high, True, tuple(ticks), tuple(number(tick) for tick in ticks))
