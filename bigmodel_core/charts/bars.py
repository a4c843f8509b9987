"""Bars: a number for each of some names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bigmodel_core.charts.chart import WIDTH, Chart, chart, place, rule, text, told
from bigmodel_core.charts.frame import TICK, heading, nothing
from bigmodel_core.charts.numbers import floats
from bigmodel_core.charts.texts import number, shortened, width

MOST, ROW = 40, 20.0
"""Bars that are shown, and the height of one."""


def bars(values: Mapping[str, float | None], *, title: str = "", x_label: str = "") -> Chart:
    """Horizontal bars with their numbers, from top to bottom.

    Args:
        values: a number for each name; None and NaN have no bar. The first 40 are shown.
        title: of the chart.
        x_label: what the numbers measure.

    Raises:
        UsageError: something is no number.

    >>> bars({"petal width": 0.61, "sepal width": -0.05}, title="Importance").description
    'petal width: 0.61; sepal width: -0.05.'
    """
    numbers = floats(list(values.values()), "bars")
    names = [str(name) for name in values][:MOST]
    left_out = len(numbers) - len(names)
    numbers = numbers[:MOST]
    rest = f"; and {left_out:,} more that are not shown" if left_out else ""
    words = "; ".join(f"{name}: {number(value)}" for name, value in zip(names, numbers, strict=True)) + rest
    if not len(numbers):
        parts, height = nothing(title)
        return chart(parts, title, "No bars.", height=height)
    known = numbers[np.isfinite(numbers)]
    low, high = min(0.0, *known, 0.0), max(0.0, *known, 0.0)
    low, high = (low, high) if high > low else (0.0, 1.0)
    parts, top = heading(title, (), x_label)
    labels = [shortened(name, WIDTH * 0.4, TICK) for name in names]
    shown = [number(value) for value in numbers]
    aside = max(width(item, TICK) for item in shown) + 10
    left = 14 + max(width(label, TICK) for label in labels)
    # Numbers stand at the ends of bars: right of those above 0, left of those below.
    start, end = left + (aside if low < 0 else 2), WIDTH - 8 - (aside if high > 0 or not len(known) else 2)
    unit = (end - start) / (high / 2 - low / 2) / 2
    zero = start - low * unit
    for position, (label, name, value, written) in enumerate(zip(labels, names, numbers, shown, strict=True)):
        y = top + position * ROW
        parts.append(text(left - 6, y + 14, label, anchor="end", size=TICK))
        if not np.isfinite(value):
            parts.append(text(zero + 5, y + 14, written, kind="faint", size=TICK))
            continue
        length, is_low = abs(value) * unit, value < 0
        kind = "p1" if is_low else "p0"
        begin = zero - length if is_low else zero
        bar = (
            f'<rect class="{kind}" x="{place(begin)}" y="{place(y + 3)}" width="{place(length)}"'
            f' height="{place(ROW - 6)}"/>'
        )
        parts.append(told(bar, f"{name}: {written}"))
        at, anchor = (begin - 5, "end") if is_low else (begin + length + 5, "start")
        parts.append(text(at, y + 14, written, anchor=anchor, kind="faint", size=TICK))
    bottom = top + len(numbers) * ROW
    parts.append(rule(zero, top, zero, bottom, "axis"))
    if left_out:
        parts.append(text(left, bottom + 15, f"and {left_out:,} more", kind="faint", size=TICK))
        bottom += 20
    return chart(parts, title, f"{words}.", height=bottom + 8)
