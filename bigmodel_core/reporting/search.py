"""The page of a search: how its trials went, and what each option did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel_core import charts
from bigmodel_core.charts.texts import number
from bigmodel_core.reporting.page import Block, Charts, Page, Section, Table, Text
from bigmodel_core.train.history import is_better_high
from bigmodel_core.version import __version__


def search_page(
    name: str,
    monitor: str,
    trials: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any] | None,
    importance: Mapping[str, float],
) -> Page:
    """The page of a search.

    Args:
        name: of its folder.
        monitor: the measure that trials are judged by.
        trials: each as `bigmodel tune --json` gives it.
        best: the best of them; None if none came to its end.
        importance: how much each option matters; empty if that is not known.
    """
    figures = {"trials": str(len(trials)), "pruned": str(sum(trial["pruned"] for trial in trials))}
    if best is not None:
        figures = {monitor.replace("_", " "): number(best["score"], 4), **figures}
    given = next((trial for trial in trials if trial["as_given"] and trial["score"] is not None), None)
    if given is not None:
        figures["as given"] = number(given["score"], 4)
    return Page(
        title=f"{name}: search for the best {monitor.replace('_', ' ')}",
        figures=figures,
        sections=[
            Section("Best trial", _best(best, importance)),
            Section("Course", [Charts([_course(monitor, trials)])]),
            Section("Options", _options(monitor, trials, importance)),
            Section("All trials", [_table(monitor, trials)]),
        ],
        foot=f"Made by bigmodel {__version__} from {name}.",
    )


def _best(best: Mapping[str, Any] | None, importance: Mapping[str, float]) -> list[Block]:
    if best is None:
        return [Text("No trial came to its end.")]
    rows = [
        [name, value, number(importance[name], 2) if name in importance else ""]
        for name, value in best["values"].items()
    ]
    columns = ["option", "value", "importance"] if importance else ["option", "value"]
    return [
        Text(f"Trial {best['number']}, in {best['folder']}."),
        Table("Its options", columns, [row[: len(columns)] for row in rows], ["value", "importance"]),
    ]


def _course(monitor: str, trials: Sequence[Mapping[str, Any]]) -> charts.Chart:
    """The score of each trial, and the best so far of those that came to their end."""
    better = max if is_better_high(monitor) else min
    so_far: list[float | None] = []
    for trial in trials:
        known = [value for value in so_far[-1:] if value is not None]
        counts = trial["score"] is not None and not trial["pruned"]
        known += [trial["score"]] if counts else []
        so_far.append(better(known) if known else None)
    numbers = [trial["number"] for trial in trials]
    series = {"trial": [trial["score"] for trial in trials], "best so far": so_far}
    return charts.line(series, numbers, title=f"{monitor} by trial", x_label="trial")


def _options(
    monitor: str, trials: Sequence[Mapping[str, Any]], importance: Mapping[str, float]
) -> list[Block]:
    """What each option did to the score of the trials that came to their end."""
    whole = [trial for trial in trials if trial["score"] is not None and not trial["pruned"]]
    names = dict.fromkeys(name for trial in trials for name in trial["values"])
    shown = [_option(name, monitor, whole) for name in names]
    if importance:
        shown.insert(0, charts.bars(dict(importance), title="Importance", x_label="share of differences"))
    return [Text("Trials that were pruned are left out."), Charts(shown)]


def _option(name: str, monitor: str, trials: Sequence[Mapping[str, Any]]) -> charts.Chart:
    found = [(trial["values"][name], trial["score"]) for trial in trials if name in trial["values"]]
    try:
        x = [float(value) for value, _ in found]
    except ValueError:
        groups: dict[str, list[float]] = {}
        for value, score in found:
            groups.setdefault(value, []).append(score)
        means = {value: sum(scores) / len(scores) for value, scores in groups.items()}
        return charts.bars(means, title=f"{name}: mean {monitor}")
    return charts.scatter(x, [score for _, score in found], title=name, x_label=name, y_label=monitor)


def _table(monitor: str, trials: Sequence[Mapping[str, Any]]) -> Block:
    names = list(dict.fromkeys(name for trial in trials for name in trial["values"]))
    rows = [
        [
            trial["number"],
            "" if trial["score"] is None else number(trial["score"], 4),
            trial["epochs"],
            *(trial["values"].get(name, "") for name in names),
            trial["error"] or ("pruned" if trial["pruned"] else "as given" if trial["as_given"] else ""),
        ]
        for trial in trials
    ]
    return Table("Trials", ["trial", monitor, "epochs", *names, ""], rows, ["trial", monitor, "epochs"])
