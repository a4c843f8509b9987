"""What a run logged: its learning curves, and every number in a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.charts import Chart, bars, heatmap
from bigmodel_core.charts.texts import number
from bigmodel_core.reporting.page import Block, Charts, Code, Folded, Section, Table, Text
from bigmodel_core.train.curves import ABOUT_TIME, curves, groups

ROWS, NUMBERS, LONGEST = 400, 60_000, 2000
"""Epochs up to which there is a table, logged numbers that have room on the page, and letters of a list."""


def learning(epochs: Sequence[Mapping[str, Any]]) -> Section:
    """The learning curves, and all numbers that epochs logged."""
    if not epochs:
        return Section("Learning curves", [Text("No epoch was finished, so nothing was logged.")])
    names = tuple(name.replace("_", " ") for name in ABOUT_TIME)
    charts = curves(epochs)
    measures = Charts([chart for chart in charts if chart.title not in names])
    time = Charts([chart for chart in charts if chart.title in names])
    folded = [Folded("Learning rate and time", [time])] if time.charts else []
    last = arrays(epochs[-1], [])
    folded += [Folded("Tables of the last epoch", [Charts(last)])] if last else []
    return Section("Learning curves", [measures, *folded, *_numbers(epochs)])


def _numbers(epochs: Sequence[Mapping[str, Any]]) -> list[Block]:
    logged = dict.fromkeys(name for logs in epochs for name in logs if name != "epoch")
    numbers = [name for group in groups(epochs).values() for name in group]
    columns = ["epoch", *numbers, *(name for name in logged if name not in numbers)]
    apart = -(-len(epochs) * len(columns) // NUMBERS)
    shown = epochs if apart == 1 else [*epochs[:-1:apart], epochs[-1]]
    rows = [
        [_cell(logs.get(name, place if name == "epoch" else None)) for name in columns]
        for place, logs in enumerate(shown, 1)
    ]
    title = f"All {len(epochs):,} epochs in numbers" if len(epochs) > 1 else "The epoch in numbers"
    if len(rows) <= ROWS:
        return [Folded(title, [Table("What each epoch logged", columns, rows, columns)])]
    lines = "\n".join(
        ",".join(cell.replace(",", " " if "[" in cell else "") for cell in row) for row in [columns, *rows]
    )
    left_out = f"Every {apart}th epoch is listed; metrics.jsonl has all. " if apart > 1 else ""
    about = Text(f"{left_out}Columns are separated by commas.", "faint")
    return [Folded(title, [about, Code(lines, "What each epoch logged")])]


def arrays(measures: Mapping[str, Any], names: Sequence[str]) -> list[Chart]:
    """Measures that are rows or tables of numbers, as charts.

    Args:
        measures: by name.
        names: of classes, for those that have a number for each.
    """
    found = []
    for name, value in measures.items():
        try:
            table = np.array(value if isinstance(value, list) else [], np.float64)
        except (TypeError, ValueError):  # no numbers
            continue
        title = name.replace("_", " ")
        if table.ndim == 2:
            found.append(heatmap(table, title=title))
        elif table.ndim == 1 and table.size:
            known = names if len(names) == len(table) else list(map(str, range(len(table))))
            found.append(bars(dict(zip(known, table, strict=True)), title=title))
    return found


def _cell(value: Any) -> str:
    if isinstance(value, list):
        text = json.dumps(value)
        return text if len(text) <= LONGEST else "in metrics.jsonl"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    return number(value, 6) if isinstance(value, float) else f"{value:,}"
