"""The page of a run: everything its folder tells, and what its model does on samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bigmodel_core.charts.texts import number
from bigmodel_core.errors import BigmodelError
from bigmodel_core.nn.quantities import count
from bigmodel_core.reporting.classes import of_classes
from bigmodel_core.reporting.language import is_language, of_language
from bigmodel_core.reporting.learning import learning
from bigmodel_core.reporting.network import network_section
from bigmodel_core.reporting.numbers import of_numbers
from bigmodel_core.reporting.page import Block, Facts, Page, Section, Table, Text
from bigmodel_core.reporting.saliency import saliency
from bigmodel_core.reporting.settings import (
    cost,
    data_name,
    duration,
    ending,
    model_name,
    seconds_of,
    settings,
)
from bigmodel_core.reporting.tested import MOST, Tested, scalar
from bigmodel_core.train import runs
from bigmodel_core.version import __version__


@dataclass(frozen=True, eq=False)
class Subject:
    """A run to be reported.

    Args:
        folder: of the run.
        manifest: its configuration.
        epochs: what each logged.
        network: the model; None if there is none.
        no_model: why not.
        tested: the model on samples; None if there are none.
        no_samples: why not.
    """

    folder: Path
    manifest: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]] = ()
    network: Any = None
    no_model: str = ""
    tested: Tested | None = None
    no_samples: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)


def run_page(subject: Subject) -> Page:
    """The page of a run."""
    manifest, epochs, tested = subject.manifest, subject.epochs, subject.tested
    sections = [ending(subject.folder, manifest, epochs), learning(epochs)]
    if tested is not None:
        sections += _tested(tested)
    else:
        why = subject.no_samples or subject.no_model or "there is no model."
        sections.append(
            Section("On samples", [Text(f"The model was not tried on samples: {why}", "warning")])
        )
    if subject.network is not None:
        inputs = None if tested is None else tested.inputs([0])
        sections.append(network_section(subject.network, inputs))
    elif subject.no_model:
        sections.append(Section("Model", [Text(f"The model cannot be shown: {subject.no_model}", "warning")]))
    sections += [section for section in (cost(manifest), settings(manifest)) if section is not None]
    name = subject.folder.resolve().name
    return Page(
        title=f"{name}: {model_name(manifest)} on {data_name(manifest)}",
        lead=_lead(manifest),
        figures=_figures(subject),
        sections=sections,
        foot=f"Made by bigmodel {__version__} from {name}.",
    )


def _lead(manifest: Mapping[str, Any]) -> str:
    words = {
        runs.FINISHED: "Finished",
        runs.INTERRUPTED: "Interrupted",
        runs.FAILED: "Failed",
        runs.DIVERGED: "Diverged",
        runs.RUNNING: "Not ended",
    }
    started = str(manifest.get("started") or "")[:10]
    told = words.get(str(manifest.get("status")), "Ended in an unknown way")
    return f"{told}{f', started on {started}' if started else ''}."


def _figures(subject: Subject) -> dict[str, str]:
    """The most important numbers."""
    found: dict[str, str] = {}
    tested = subject.tested
    if tested is not None:
        found |= {
            f"{tested.part} {key}".replace("_", " "): text for key, text in scalar(tested.measures).items()
        }
        found = dict(list(found.items())[:4])
    elif subject.epochs:
        last = {key: value for key, value in subject.epochs[-1].items() if key.endswith("loss")}
        found |= {f"last {key}".replace("_", " "): text for key, text in scalar(last).items()}
    found["epochs"] = count(len(subject.epochs))
    if seconds := seconds_of(subject.epochs):
        found["training time"] = duration(seconds)
    if subject.network is not None:
        found["parameters"] = count(sum(item.spec.size for item in subject.network.parameters.values()))
    return found


def _tested(tested: Tested) -> list[Section]:
    """What the model does on samples."""
    whole = len(tested.whole)
    title = f"{tested.part} samples"
    named = title[0].upper() + title[1:]
    blocks: list[Block] = [
        Text(f"{count(whole)} {title} of {tested.data.name}, predicted by the best checkpoint."),
        Facts({key.replace("_", " "): text for key, text in scalar(tested.measures).items()}),
    ]
    blocks += [
        Table(
            name.replace("_", " "),
            ["", *map(str, range(len(value[0])))],
            _cells(value),
            list(map(str, range(len(value[0])))),
        )
        for name, value in tested.measures.items()
        if isinstance(value, list) and value and isinstance(value[0], list) and name != "confusion_matrix"
    ]
    if whole > MOST:
        blocks.append(Text(f"Charts below are of {count(MOST)} of them, in even distances.", "faint"))
    try:
        parts = _parts(tested)
    except BigmodelError as error:
        return [Section(named, [*blocks, Text(f"There is no more to show: {error.message}", "warning")])]
    if not parts:
        why = "The model has several outputs or targets, of which no charts are made."
        return [Section(named, [*blocks, Text(why, "faint")])]
    return [Section(named, blocks, parts)]


def _parts(tested: Tested) -> list[Section]:
    if tested.target is None:
        return []
    if tested.data.task == "regression":
        parts = of_numbers(tested)
    elif is_language(tested):
        parts = of_language(tested)
    else:
        parts = of_classes(tested)
    shown = saliency(tested)
    return [*parts, *([shown] if shown else [])]


def _cells(matrix: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [[str(place), *(number(float(value)) for value in row)] for place, row in enumerate(matrix)]
