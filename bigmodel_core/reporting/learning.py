"""What a run logged: its learning curves, and every number in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel_core.charts.texts import number
from bigmodel_core.reporting.page import Block, Charts, Code, Folded, Section, Table, Text
from bigmodel_core.train.curves import curves, groups
from bigmodel_core.train.history import ABOUT_TIME

ROWS, NUMBERS = 400, 60_000
"""Epochs up to which there is a table, and how many logged numbers have room on the page."""


def learning(epochs: Sequence[Mapping[str, Any]]) -> Section:
    """The learning curves, and all numbers that epochs logged."""
    if not epochs:
        return Section("Learning curves", [Text("No epoch was finished, so nothing was logged.")])
    names = tuple(name.replace("_", " ") for name in ABOUT_TIME)
    charts = curves(epochs)
    measures = Charts([chart for chart in charts if chart.title not in names])
    time = Charts([chart for chart in charts if chart.title in names])
    folded = [Folded("Learning rate and time", [time])] if time.charts else []
    return Section("Learning curves", [measures, *folded, *_numbers(epochs)])


def _numbers(epochs: Sequence[Mapping[str, Any]]) -> list[Block]:
    names = [name for group in groups(epochs).values() for name in group]
    columns = ["epoch", *names]
    apart = -(-len(epochs) * len(columns) // NUMBERS)
    shown = epochs if apart == 1 else [*epochs[:-1:apart], epochs[-1]]
    rows = [
        [_cell(logs.get(name, place if name == "epoch" else None)) for name in columns]
        for place, logs in enumerate(shown, 1)
    ]
    title = f"All {len(epochs):,} epochs in numbers" if len(epochs) > 1 else "The epoch in numbers"
    if len(rows) <= ROWS:
        return [Folded(title, [Table("What each epoch logged", columns, rows, columns)])]
    lines = "\n".join(",".join(cell.replace(",", "") for cell in row) for row in [columns, *rows])
    left_out = f"Every {apart}th epoch is listed; metrics.jsonl has all. " if apart > 1 else ""
    about = Text(f"{left_out}Columns are separated by commas.", "faint")
    return [Folded(title, [about, Code(lines, "What each epoch logged")])]


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    return number(value, 6) if isinstance(value, float) else f"{value:,}"
