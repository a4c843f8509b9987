"""Points over two axes: predictions beside the truth, residuals."""

from __future__ import annotations

import numpy as np

from bigmodel_core.charts.chart import Chart, chart, place
from bigmodel_core.charts.frame import frame, nothing
from bigmodel_core.charts.numbers import Numbers, floats
from bigmodel_core.charts.scales import scale
from bigmodel_core.charts.texts import number
from bigmodel_core.errors import UsageError

MOST = 4000
"""Points that are drawn; of more, as many in even distances."""


def scatter(
    x: Numbers,
    y: Numbers,
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    diagonal: bool = False,
    level: float | None = None,
) -> Chart:
    """Points.

    Args:
        x, y: their places; points with a missing number are left out.
        title, x_label, y_label: what is written.
        diagonal: whether there is a line where both are equal.
        level: where there is a horizontal line, as at 0 for residuals.

    Raises:
        UsageError: something is no number, or there are more of one than of the other.

    >>> scatter([1.0, 2.0, 3.0], [1.1, 1.9, 3.2], title="Predicted").description
    '3 points; x from 1 to 3, y from 1.1 to 3.2.'
    """
    xs, ys = floats(x, "scatter x"), floats(y, "scatter y")
    if len(xs) != len(ys):
        raise UsageError(
            f"{len(xs)} places for {len(ys)} numbers.", where="scatter", fix="pass as many of both."
        )
    known = np.isfinite(xs) & np.isfinite(ys)
    missing = len(xs) - int(known.sum())
    xs, ys = xs[known], ys[known]
    if not len(xs):
        parts, height = nothing(title)
        return chart(parts, title, "No points.", height=height)
    words = (
        f"{len(xs):,} point{'s' * (len(xs) != 1)}; x from {number(xs.min())} to {number(xs.max())}, "
        f"y from {number(ys.min())} to {number(ys.max())}"
        + (f"; {missing:,} without numbers left out" if missing else "")
        + (f"; {MOST:,} of them are drawn" if len(xs) > MOST else "")
    )
    if len(xs) > MOST:
        kept = np.linspace(0, len(xs) - 1, MOST).astype(int)
        xs, ys = xs[kept], ys[kept]
    both = [xs, ys] if diagonal else None
    up = scale(both or [ys, np.array([] if level is None else [level])])
    plot = frame(title, scale(both or [xs]), up, x_label=x_label, y_label=y_label)
    parts = [*plot.parts]
    if diagonal:
        ends = np.array([plot.x.low, plot.x.high])
        (x1, x2), (y1, y2) = plot.across(ends), plot.up(ends)
        parts.append(f'<path class="diagonal" d="M{place(x1)} {place(y1)}L{place(x2)} {place(y2)}"/>')
    if level is not None:
        at = place(float(plot.up(np.array([level]))[0]))
        parts.append(f'<path class="diagonal" d="M{place(plot.left)} {at}H{place(plot.right)}"/>')
    spots = zip(plot.across(xs).tolist(), plot.up(ys).tolist(), strict=True)
    dots = "".join(f"M{place(across)} {place(height)}h0" for across, height in spots)
    opacity = 0.9 if len(xs) < 400 else 0.6
    parts.append(f'<path class="l0" stroke-opacity="{opacity}" style="stroke-width:5" d="{dots}"/>')
    return chart(parts, title, f"{words}.", height=plot.height)
