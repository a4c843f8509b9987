"""Experiment files: the description of a training run as TOML. Errors name the line.

[model]                  # a name of the registry, and the model's options
name = "mlp"
widths = [128, 64]

[data]
name = "digits"          # data_dir, if given, counts from the file's own folder

[optimizer]
name = "adam"
learning_rate = 0.001

[schedule]               # optional; the rate is the optimizer's, the steps are the run's, unless said
name = "cosine"

[train]
epochs = 20
batch_size = 64
augment = ["horizontal-flip", "random-crop:padding=4"]

[loss]                   # optional; name = "huber", or by the names of outputs, with weights in their sum
class = "cross_entropy"
box = ["huber", 0.5]

[metrics]                # optional; by the names of outputs, or metrics = ["accuracy"] at the top
class = ["accuracy"]

[[callbacks]]            # optional, any number
name = "early-stopping"
patience = 3

[search]                 # optional; what `bigmodel tune` varies
learning_rate = "1e-4..1e-1"
"model.widths" = [[64, 64], [256]]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bigmodel_core.cli.choice import Choice
from bigmodel_core.cli.document import Document
from bigmodel_core.cli.experiment import Experiment, Train, build_train
from bigmodel_core.errors import close_matches

SECTIONS = (
    "model",
    "data",
    "augment",
    "loss",
    "optimizer",
    "schedule",
    "metrics",
    "callbacks",
    "train",
    "search",
    "plugins",
)


def is_experiment(what: str) -> bool:
    """Whether an argument of a command means an experiment file."""
    return what.lower().endswith(".toml")


def read_experiment(path: Path) -> Experiment:
    """The run that an experiment file describes.

    Args:
        path: a TOML file.

    Raises:
        UsageError: the file is missing, is no TOML, or has an unknown key or a wrong value; names the line.
    """
    document = Document(path)
    for name in document.values:
        if name not in SECTIONS:
            near = close_matches(name, SECTIONS, 1)
            hint = f"did you mean [{near[0]}]? " if near else ""
            raise document.error(
                f"there is no section '{name}'.",
                name,
                None,
                fix=f"{hint}the sections are {', '.join(SECTIONS)}.",
            )
    _switch_plugins(document)
    data = dict(document.section("data"))
    folder = data.pop("data_dir", None)
    if folder is not None and not isinstance(folder, str):
        raise document.error(
            f"data_dir is {folder!r}.", "data", "data_dir", fix='write a path in quotes, as in "data".'
        )
    model = _choice(document, "model", "model")
    if model is None:
        raise document.error("there is no section [model].", "", None, fix='write [model] and name = "mlp".')
    experiment = Experiment(
        model=model,
        data_dir=None if folder is None else path.parent / folder,
        optimizer=_choice(document, "optimizer", "optimizer"),
        schedule=_choice(document, "schedule", "schedule"),
        callbacks=_listed(document, "callbacks", "callback"),
        train=_train(document),
        losses=_by_output(document, "loss"),
        metrics=_by_output(document, "metrics"),
        document=document,
        said=frozenset(
            {*document.section("train"), *({"loss", "metrics", "augment"} & set(document.values))}
        ),
    )
    chosen = _choice(document, "data", "dataset", data) if "data" in document.values else None
    return experiment if chosen is None else replace(experiment, data=chosen)


def _choice(
    document: Document, section: str, kind: str, values: Mapping[str, Any] | None = None
) -> Choice | None:
    if section not in document.values:
        return None
    fields = dict(document.section(section) if values is None else values)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise document.error(
            f"[{section}] has no name." if name is None else f"the name is {name!r}, not a string.",
            section,
            None if name is None else "name",
            fix=f'say which {kind}: name = "{_example(kind)}".',
        )
    return Choice(kind, name, {}, fields, section, document)


def _listed(document: Document, section: str, kind: str) -> tuple[Choice, ...]:
    found = document.values.get(section, [])
    entries = [
        item if isinstance(item, dict) else {"name": item}
        for item in (found if isinstance(found, list) else [])
    ]
    if not isinstance(found, list) or not all(isinstance(item.get("name"), str) for item in entries):
        raise document.error(
            f"{section} is not a list of names.",
            section,
            None,
            fix=f'write [[{section}]] and name = "{_example(kind)}".',
        )
    return tuple(
        Choice(kind, item["name"], {}, {k: v for k, v in item.items() if k != "name"}, section, document)
        for item in entries
    )


def _example(kind: str) -> str:
    names = {
        "model": "mlp",
        "dataset": "digits",
        "augmentation": "horizontal-flip",
        "schedule": "cosine",
        "callback": "early-stopping",
    }
    return names.get(kind, "adam")


def _train(document: Document) -> Train:
    values = dict(document.section("train"))
    if "from" in values:  # a word that no field of Python can have
        values["start_from"] = values.pop("from")
    if "loss" in document.values and _by_output(document, "loss") is None:
        loss = document.section("loss")
        if not isinstance(loss.get("name"), str):
            raise document.error("[loss] has no name.", "loss", None, fix='write name = "cross_entropy".')
        options = ",".join(f"{key}={_text(value)}" for key, value in loss.items() if key != "name")
        values["loss"] = loss["name"] + (f":{options}" if options else "")
    for section, kind in (("metrics", "metric"), ("augment", "augmentation")):
        if section in document.values and _by_output(document, section) is None:
            values[section] = [
                choice.text
                + (
                    ":" + ",".join(f"{k}={_text(v)}" for k, v in choice.fields.items())
                    if choice.fields
                    else ""
                )
                for choice in _listed(document, section, kind)
            ]
    return build_train(values, document)


def _by_output(document: Document, section: str) -> dict[str, Any] | None:
    """A section that has losses or metrics by the names of outputs; None if it has one of its own."""
    found = document.values.get(section)
    if not isinstance(found, dict) or "name" in found or not found:
        return None
    if not all(isinstance(value, (str, list, dict)) for value in found.values()):
        return None  # options without a name
    return dict(found)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def _switch_plugins(document: Document) -> None:
    from bigmodel_core import registry

    values = document.section("plugins")
    known = {"strict": bool, "allow": list, "disable": list}
    for key, value in values.items():
        if key not in known:
            raise document.error(
                f"there is no key '{key}'.", "plugins", key, fix=f"the keys are {', '.join(known)}."
            )
        if not isinstance(value, known[key]) or (
            isinstance(value, list) and not all(isinstance(n, str) for n in value)
        ):
            wanted = "true or false" if known[key] is bool else "a list of names"
            raise document.error(f"{key} is {value!r}.", "plugins", key, fix=f"write {wanted}.")
    if values:
        registry.configure(
            strict=values.get("strict"), allow=values.get("allow"), block=values.get("disable")
        )
