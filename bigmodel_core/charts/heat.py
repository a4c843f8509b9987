"""Tables of numbers as colours: confusion matrices, attention, correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.charts.chart import WIDTH, Chart, chart, place, text, told
from bigmodel_core.charts.colours import picture, png
from bigmodel_core.charts.frame import TICK, heading, nothing
from bigmodel_core.charts.numbers import floats
from bigmodel_core.charts.texts import number, shortened, width
from bigmodel_core.errors import UsageError

CELLS, DEEPEST = 40, 0.7
"""Rows and columns beyond which cells are pixels of a picture; and the share of colour in the strongest cell,
on which text can still be read."""


def heatmap(
    values: Any,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "",
    row_label: str = "",
    column_label: str = "",
) -> Chart:
    """A table of numbers, the stronger in colour the larger; numbers below 0 have a colour of their own.

    Args:
        values: (R, C); NaN is an empty cell. Numbers are written in cells where there is room for them.
        rows, columns: what each row and column is called.
        title, row_label, column_label: what is written.

    Raises:
        UsageError: something is no number, or there are more names than rows or columns.

    >>> heatmap([[8, 2], [1, 9]], rows=["cat", "dog"], columns=["cat", "dog"], title="Found").description
    '2 rows, 2 columns; least 1, most 9 (row dog, column dog).'
    """
    table = floats(values, "heatmap", 2)
    _check(table, rows, columns)
    if not np.isfinite(table).any():
        parts, height = nothing(title)
        return chart(parts, title, "No values.", height=height)
    high, wide = table.shape
    names = [str(name) for name in (range(high) if rows is None else rows)]
    above = [str(name) for name in (range(wide) if columns is None else columns)]
    where = np.unravel_index(int(np.nanargmax(table)), table.shape)
    least, most = number(float(np.nanmin(table))), number(float(np.nanmax(table)))
    words = (
        f"{high} rows, {wide} columns; least {least}, most {most}"
        f" (row {names[where[0]]}, column {above[where[1]]})."
    )
    note = " / ".join(
        part
        for part in (
            f"rows: {row_label}" if row_label else "",
            f"columns: {column_label}" if column_label else "",
        )
        if part
    )
    parts, top = heading(title, (), note)
    rooms = [shortened(name, WIDTH * 0.25, TICK, middle=True) for name in names] if high <= CELLS else []
    left = 14 + max(width(name, TICK) for name in rooms) if rooms else 8.0
    cell = min(46.0, (WIDTH - left - 10) / wide, 46.0 if rooms else (WIDTH - 16) / high)
    size = max(8.0, min(TICK, cell * 0.9))
    apart = max(1, round(size / cell))  # names that have no room are left out
    if wide <= CELLS:
        titles = [shortened(name, 90, size, middle=True) for name in above]
        is_upright = any(width(name, size) > cell - 2 for name in titles)
        top += max(width(name, size) for name in titles) + 4 if is_upright else 14
        parts += [
            _above(titles[at], left + (at + 0.5) * cell, top - 6, is_upright, size)
            for at in range(0, wide, apart)
        ]
    for at, name in list(enumerate(rooms))[::apart]:
        y = top + (at + 0.5) * cell + size / 3
        parts.append(text(left - 6, y, name, anchor="end", size=size))
    if max(high, wide) > CELLS:
        parts.append(
            f'<image x="{place(left)}" y="{place(top)}" width="{place(wide * cell)}"'
            f' height="{place(high * cell)}" preserveAspectRatio="none" style="image-rendering:pixelated"'
            f' href="{png(picture(table))}"/>'
        )
    else:
        parts += _cells(table, names, above, left, top, cell)
    return chart(parts, title, words, height=top + high * cell + 10)


def _check(table: np.ndarray, rows: Sequence[str] | None, columns: Sequence[str] | None) -> None:
    for names, count, what in ((rows, table.shape[0], "rows"), (columns, table.shape[1], "columns")):
        if names is not None and len(names) != count:
            raise UsageError(
                f"{len(names)} names for {count} {what}.",
                where="heatmap",
                fix="pass a name for each, or none.",
            )


def _above(name: str, x: float, y: float, is_upright: bool, size: float) -> str:
    """The name of a column: upright where names are wider than columns."""
    if not is_upright:
        return text(x, y, name, anchor="middle", size=size)
    turned = f'<text transform="rotate(-90 {place(x)} {place(y)}) translate(0 {place(size / 3)})"'
    return text(x, y, name, size=size).replace("<text", turned, 1)


def _cells(
    table: np.ndarray, rows: list[str], columns: list[str], left: float, top: float, cell: float
) -> list[str]:
    known = table[np.isfinite(table)]
    strongest = np.abs(known).max() or 1.0
    is_whole = bool(np.all(known == np.floor(known)))
    labels = [[_written(float(value), is_whole) for value in row] for row in table]
    size = min(TICK, cell / max(1.0, max(width(item, 1) for row in labels for item in row)) * 0.92)
    high, wide = (count * cell + 1 for count in table.shape)
    at = f'x="{place(left - 1)}" y="{place(top - 1)}"'
    parts = [f'<rect class="grid" {at} width="{place(wide)}" height="{place(high)}"/>']
    for i, j in np.ndindex(table.shape):
        value = table[i, j]
        if not np.isfinite(value):
            continue
        x, y = left + j * cell, top + i * cell
        kind, share = ("cold" if value < 0 else "heat"), float(abs(value) / strongest) * DEEPEST
        square = (
            f'<rect class="{kind}" x="{place(x)}" y="{place(y)}" width="{place(cell - 1)}"'
            f' height="{place(cell - 1)}" fill-opacity="{share:.2f}"/>'
        )
        parts.append(told(square, f"{rows[i]}, {columns[j]}: {number(float(value))}"))
        if size >= 7.5 and (value or not is_whole):
            parts.append(
                text(x + cell / 2, y + cell / 2 + size * 0.36, labels[i][j], anchor="middle", size=size)
            )
    return parts


def _written(value: float, is_whole: bool) -> str:
    return "" if not np.isfinite(value) else number(value) if is_whole else f"{value:.2f}"
