"""The frame of charts with two axes: title, legend, ticks, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel_core.charts.chart import HEIGHT, SERIES, WIDTH, place, rule, text
from bigmodel_core.charts.scales import Scale
from bigmodel_core.charts.texts import shortened, width, wrapped

TITLE, TICK, LINE, PLOT = 15, 12, 17.0, 160.0
"""Sizes of a title and of tick labels, the height of a line, and that of a plot at least."""


@dataclass(frozen=True)
class Frame:
    """Where the numbers of two axes are drawn.

    Args:
        parts: the elements of the frame itself.
        x, y: the axes.
        left, top, right, bottom: the plot.
        width, height: the whole chart.
    """

    parts: list[str]
    x: Scale
    y: Scale
    left: float
    top: float
    right: float
    bottom: float
    width: float = WIDTH
    height: float = HEIGHT

    def across(self, values: np.ndarray) -> np.ndarray:
        """The horizontal places of numbers."""
        return self.left + self.x.share(values) * (self.right - self.left)

    def up(self, values: np.ndarray) -> np.ndarray:
        """The vertical places of numbers."""
        return self.bottom - self.y.share(values) * (self.bottom - self.top)


def heading(title: str, names: Sequence[str], note: str, whole: float = WIDTH) -> tuple[list[str], float]:
    """Title, legend and a note above a plot, and where the plot may begin.

    Args:
        title: of the chart.
        names: of the series; one alone needs no legend.
        note: what the vertical axis measures.
        whole: the width of the chart.
    """
    parts, y = [], 4.0
    for line in wrapped(title, whole - 16, TITLE * 1.06):
        y += LINE + 1
        parts.append(text(8, y - 3, line, kind="bold", size=TITLE))
    x = whole
    for number, name in enumerate(names if len(names) > 1 else ()):
        shown = shortened(name, whole - 48)
        room = 28 + width(shown) + 14
        if x + room > whole:
            x, y = 8.0, y + LINE
        kind = f"l{number % SERIES}"
        parts += [rule(x, y - 8, x + 22, y - 8, kind), text(x + 28, y - 3.5, shown)]
        x += room
    if note:
        y += LINE
        parts.append(text(8, y - 3, shortened(note, whole - 16), kind="faint", size=TICK))
    return parts, y + 10


def frame(
    title: str, x: Scale, y: Scale, *, names: Sequence[str] = (), x_label: str = "", y_label: str = ""
) -> Frame:
    """The frame of a plot over two axes of numbers."""
    parts, top = heading(title, names, y_label)
    left = 14 + max((width(label, TICK) for label in y.labels), default=0)
    bottom = HEIGHT - 24 - (LINE if x_label else 0)
    bottom = max(bottom, top + PLOT)
    last = width(x.labels[-1], TICK) / 2 if x.labels else 0.0
    right = WIDTH - 10 - last
    height = bottom + 24 + (LINE if x_label else 0)
    found = Frame(parts, x, y, left, top, right, bottom, height=height)
    for at, label in zip(found.up(np.array(y.ticks)), y.labels, strict=True):
        parts.append(rule(left, at, right, at, "grid"))
        parts.append(text(left - 6, at + 4, label, anchor="end", kind="faint", size=TICK))
    parts.append(rule(left, bottom, right, bottom, "axis"))
    end = 0.0
    for at, label in zip(found.across(np.array(x.ticks)), x.labels, strict=True):
        parts.append(rule(at, bottom, at, bottom + 4, "axis"))
        half = width(label, TICK) / 2
        if at - half > end + 4 or end == 0.0:  # labels keep apart
            parts.append(text(at, bottom + 17, label, anchor="middle", kind="faint", size=TICK))
            end = at + half
    if x_label:
        middle = (left + right) / 2
        parts.append(text(middle, bottom + 34, x_label, anchor="middle", kind="faint", size=TICK))
    return found


def nothing(title: str) -> tuple[list[str], float]:
    """What is shown where there is no number to show, and its height."""
    parts, top = heading(title, (), "")
    return [*parts, text(8, top + LINE, "No values to show.", kind="faint")], top + 2 * LINE


def path(xs: np.ndarray, ys: np.ndarray) -> str:
    """The path through points, which breaks off where one is missing."""
    found, is_on = [], False
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if x != x or y != y:
            is_on = False
            continue
        found.append(f"{'L' if is_on else 'M'}{place(x)} {place(y)}")
        is_on = True
    return "".join(found)
