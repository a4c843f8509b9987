"""The page of a run: everything its folder tells, and what its model does on samples."""

from __future__ import annotations

from bigmodel_core.errors import BigmodelError
from bigmodel_core.nn.quantities import count, duration
from bigmodel_core.reporting.classes import of_classes
from bigmodel_core.reporting.explained import explained
from bigmodel_core.reporting.labels import of_labels
from bigmodel_core.reporting.language import is_language, of_language
from bigmodel_core.reporting.learning import arrays, learning
from bigmodel_core.reporting.network import network_section
from bigmodel_core.reporting.numbers import of_numbers
from bigmodel_core.reporting.outputs import of_outputs
from bigmodel_core.reporting.page import Block, Charts, Facts, Page, Section, Text
from bigmodel_core.reporting.places import gives_boxes, of_boxes
from bigmodel_core.reporting.settings import cost, ending, settings
from bigmodel_core.reporting.subject import Subject
from bigmodel_core.reporting.tested import MOST, Tested, scalar
from bigmodel_core.train.run import Run
from bigmodel_core.version import __version__


def run_page(subject: Subject) -> Page:
    """The page of a run."""
    run, tested = subject.run, subject.tested
    manifest, epochs = run.config, run.history.epochs
    sections = [ending(run), learning(epochs)]
    if tested is not None:
        sections += _tested(tested)
    else:
        why = Text(f"The model was not tried on samples: {subject.left_out}", "warning")
        sections.append(Section("On samples", [why]))
    if subject.network is not None:
        inputs = None if tested is None else tested.inputs([0])
        sections.append(network_section(subject.network, inputs, run.folder))
    sections += [section for section in (cost(manifest), settings(manifest)) if section is not None]
    about = " on ".join(part for part in (run.model, run.data) if part)
    return Page(
        title=f"{run.name}: {about}" if about else run.name,
        lead=_lead(run),
        figures=_figures(subject),
        sections=sections,
        foot=f"Made by bigmodel {__version__} from {run.name}.",
    )


def _lead(run: Run) -> str:
    started = str(run.config.get("started") or "")[:10]
    status = run.status or "it does not say how it ended"
    return f"{status[0].upper()}{status[1:]}{f', started on {started}' if started else ''}."


def _figures(subject: Subject) -> dict[str, str]:
    """The most important numbers."""
    found: dict[str, str] = {}
    tested, epochs = subject.tested, subject.run.history.epochs
    if tested is not None:
        found |= {
            f"{tested.part} {key}".replace("_", " "): text for key, text in scalar(tested.measures).items()
        }
        found = dict(list(found.items())[:4])
    elif epochs:
        last = {key: value for key, value in epochs[-1].items() if key.endswith("loss")}
        found |= {f"last {key}".replace("_", " "): text for key, text in scalar(last).items()}
    found["epochs"] = count(len(epochs))
    if seconds := subject.run.seconds:
        found["training time"] = duration(seconds)
    if subject.network is not None:
        found["parameters"] = count(sum(int(item.spec.size) for item in subject.network.parameters.values()))
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
    others = {name: value for name, value in tested.measures.items() if name != "confusion_matrix"}
    if found := arrays(others, tested.names):
        blocks.append(Charts(found))
    if whole > MOST:
        blocks.append(Text(f"Charts below are of {count(MOST)} of them, in even distances.", "faint"))
    try:
        parts = _parts(tested)
    except BigmodelError as error:
        return [Section(named, [*blocks, Text(f"There is no more to show: {error.message}", "warning")])]
    if not parts:
        why = "What the model returns is of a kind that no charts are made of."
        return [Section(named, [*blocks, Text(why, "faint")])]
    return [Section(named, blocks, parts)]


def _parts(tested: Tested) -> list[Section]:
    if gives_boxes(tested):
        return of_boxes(tested)
    if tested.target is None:
        return of_outputs(tested)
    if tested.data.task == "regression":
        parts = of_numbers(tested)
    elif tested.data.task == "multilabel":
        parts = of_labels(tested)
    elif is_language(tested):
        parts = of_language(tested)
    else:
        parts = of_classes(tested)
    shown = explained(tested)
    return [*parts, *([shown] if shown else [])]
