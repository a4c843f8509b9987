"""The page that puts runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bigmodel_core import charts
from bigmodel_core.charts.texts import number
from bigmodel_core.nn.quantities import duration
from bigmodel_core.reporting.page import Block, Charts, Page, Section, Table, Text
from bigmodel_core.train.run_comparison import Comparison
from bigmodel_core.version import __version__


def comparison_page(compared: Comparison) -> Page:
    """Measures with the best marked, curves of all runs in one chart each, and the options that differ."""
    names = names_of(compared)
    return Page(
        title=f"{len(names)} runs compared",
        lead=", ".join(names),
        sections=[
            Section("What they reached", [_measures(compared, names)]),
            Section("Learning curves", [_curves(compared, names)]),
            Section("Options that differ", [_options(compared, names)]),
        ],
        foot=f"Made by bigmodel {__version__}.",
    )


def names_of(compared: Comparison) -> list[str]:
    """What the runs are called: by their folders' names, or by their paths where two have one name."""
    names = [run.name for run in compared.runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in compared.runs]


def _measures(compared: Comparison, names: Sequence[str]) -> Block:
    rows: list[list[Any]] = [
        ["status", *(run.status for run in compared.runs)],
        ["model", *(run.model for run in compared.runs)],
        ["data", *(run.data for run in compared.runs)],
        ["epochs", *(run.progress for run in compared.runs)],
        ["time", *(duration(run.seconds) for run in compared.runs)],
    ]
    for measure, values in compared.measures.items():
        best = compared.winners(measure)
        cells = [_cell(value) + " (best)" * (place in best) for place, value in enumerate(values)]
        rows.append([measure, *cells])
    return Table("The best epoch of each run", ["", *names], rows, names)


def _curves(compared: Comparison, names: Sequence[str]) -> Block:
    shown = []
    for measure in compared.measures:
        lines = {
            name: [logs.get(measure) for logs in run.history]
            for name, run in zip(names, compared.runs, strict=True)
            if any(isinstance(logs.get(measure), (int, float)) for logs in run.history)
        }
        places = {
            name: [logs.get("epoch", place) for place, logs in enumerate(run.history, 1)]
            for name, run in zip(names, compared.runs, strict=True)
            if name in lines
        }
        if lines:
            shown.append(charts.line(lines, places, title=measure.replace("_", " "), x_label="epoch"))
    return Charts(shown) if shown else Text("None of them has finished an epoch.")


def _options(compared: Comparison, names: Sequence[str]) -> Block:
    if not compared.options:
        return Text("They were started with the same options.")
    rows = [[key, *map(_cell, values)] for key, values in compared.options.items()]
    return Table("Options that differ", ["", *names], rows)


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_cell, value))
    return number(value, 6) if isinstance(value, float) else "" if value is None else str(value)
