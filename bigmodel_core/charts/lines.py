"""Lines over numbers: learning curves, ROC curves, forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodel_core.charts.chart import SERIES, Chart, chart, place, rule, told
from bigmodel_core.charts.frame import frame, nothing, path
from bigmodel_core.charts.numbers import Numbers, pairs, summary
from bigmodel_core.charts.scales import along, scale
from bigmodel_core.charts.texts import number

MARKED, MOST = 40, 800
"""Points of a line up to which each has a dot; and beyond which a line shows least and most of neighbours."""


def line(
    series: Mapping[str, Numbers],
    x: Numbers | Mapping[str, Numbers] | None = None,
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log: bool = False,
    diagonal: bool = False,
    y_limits: tuple[float, float] | None = None,
    dots: bool | None = None,
) -> Chart:
    """Lines through points.

    Args:
        series: the numbers of each line by its name; None and NaN are gaps.
        x: where they are: the same for all lines, or for each by its name; counted from 0 if None.
        title, x_label, y_label: what is written.
        log: whether equal ratios are equal heights; numbers that are not above 0 are gaps then.
        diagonal: whether there is a line from corner to corner, as for ROC curves.
        y_limits: the ends of the vertical axis; None for what the numbers need.
        dots: whether points have dots; None for those of short lines. A point without neighbours always has.

    Raises:
        UsageError: something is no number, or a line has more or fewer places than numbers.

    >>> line({"loss": [3.0, None, 1.0]}, title="Loss").description
    'loss: 2 points, from 3 to 1, least 1, most 3, 1 missing.'
    """
    points = pairs(series, x, "line")
    words = "; ".join(f"{name}: {summary(ys)}" for name, (_, ys) in points.items())
    words = f"{words or 'No lines'}."
    if not any(np.isfinite(ys).any() for _, ys in points.values()):
        parts, height = nothing(title)
        return chart(parts, title, words, height=height)
    across = along([xs[np.isfinite(ys)] for xs, ys in points.values()])
    if diagonal:
        across = scale([], limits=(0.0, 1.0), room=5)
    up = scale([ys for _, ys in points.values()], is_log=log, limits=(0.0, 1.0) if diagonal else y_limits)
    plot = frame(title, across, up, names=list(points), x_label=x_label, y_label=y_label)
    parts = [*plot.parts]
    if diagonal:
        parts.append(rule(plot.left, plot.bottom, plot.right, plot.top, "diagonal"))
    for position, (name, (xs, ys)) in enumerate(points.items()):
        xs, ys = thinned(xs, ys)
        places, heights = plot.across(xs), plot.up(ys)
        parts.append(f'<path class="l{position % SERIES}" d="{path(places, heights)}"/>')
        has_dots = np.isfinite(heights).sum() <= MARKED if dots is None else dots
        for index in np.flatnonzero(np.isfinite(places) & np.isfinite(heights)):
            if has_dots or _is_alone(heights, int(index)):
                # Rings of every other line, so that a dot in the same place is seen, too.
                kind, radius = ("o", 4) if position % 2 else ("p", 3)
                dot = (
                    f'<circle class="{kind}{position % SERIES}" cx="{place(places[index])}"'
                    f' cy="{place(heights[index])}" r="{radius}"/>'
                )
                parts.append(told(dot, f"{name}: {number(ys[index])} at {number(xs[index])}"))
    return chart(parts, title, words, height=plot.height)


def _is_alone(heights: np.ndarray, index: int) -> bool:
    """Whether a point has no neighbour, so that no line shows it."""
    around = heights[[place for place in (index - 1, index + 1) if 0 <= place < len(heights)]]
    return not np.isfinite(around).any()


def thinned(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A long line by the least and the most of neighbours, which looks the same.

    >>> xs, ys = thinned(np.arange(100_000.0), np.sin(np.arange(100_000)))
    >>> len(xs) <= 1_600, bool(abs(ys.max() - 1) < 1e-8)
    (True, True)
    """
    if len(xs) <= 2 * MOST:
        return xs, ys
    kept: list[int] = []
    for part in np.array_split(np.arange(len(xs)), MOST):
        known = part[np.isfinite(ys[part])]
        ends: Any = (
            {int(known[ys[known].argmin()]), int(known[ys[known].argmax()])} if len(known) else {part[0]}
        )
        kept += sorted(ends)
    return xs[kept], ys[kept]
