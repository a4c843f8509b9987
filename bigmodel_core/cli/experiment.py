"""What a training run is to be: from the command line, an experiment file, or both.

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

[[callbacks]]            # optional, any number
name = "early-stopping"
patience = 3
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bigmodel_core.cli.names import class_named, named, split_options
from bigmodel_core.errors import ConfigError, UsageError
from bigmodel_core.field_limits import check_number

if TYPE_CHECKING:
    from bigmodel_core.dataset import Data
    from bigmodel_core.model import Model
    from bigmodel_core.optimizer import Optimizer, Schedule


@dataclass(frozen=True)
class Train:
    """How to train: the section [train].

    Args:
        epochs: how often every sample is seen.
        batch_size: samples of a step.
        validation: share of the training samples that is held out; 0 for none.
        seed: keys first values, order of samples and dropout.
        device: "cpu" or "cuda".
        learning_rate: in place of the optimizer's own.
        loss: a loss, options behind its name; the model's where None.
        metrics: what to report; the model's where None.
    """

    epochs: int = 10
    batch_size: int = 64
    validation: float = 0.1
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    learning_rate: float | None = None
    loss: str | None = None
    metrics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_number(self, "epochs", whole=True, at_least=1)
        check_number(self, "batch_size", whole=True, at_least=1)
        check_number(self, "validation", at_least=0, below=1)
        check_number(self, "seed", whole=True, at_least=0)
        if self.learning_rate is not None:
            check_number(self, "learning_rate", at_least=0)


@dataclass(frozen=True)
class Choice:
    """Something of the registry that was chosen by name.

    Args:
        kind: "model", "optimizer" and so on.
        text: the name, with options behind it as the command line has them.
        more: further options as text.
        fields: options of an experiment file.
        section: the part of that file they come from.
        document: that file.
    """

    kind: str
    text: str
    more: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    section: str = ""
    document: Document | None = None

    @property
    def typed(self) -> dict[str, str]:
        """The options of the command line."""
        return {**split_options(self.text)[1], **self.more}

    @property
    def options(self) -> set[str]:
        """The names of all options that were given."""
        return {key.replace("-", "_") for key in (*self.fields, *self.typed)}

    def cls(self) -> type[Any]:
        """The class of this name.

        Raises:
            UsageError: there is none.
        """
        try:
            return class_named(self.kind, split_options(self.text)[0])
        except UsageError as error:
            raise self._placed(error, "name") from error

    def make(self, more: Mapping[str, Any] | None = None) -> Any:
        """The object; `more` has options as values, which count less than all others.

        Raises:
            UsageError: the name or an option is unknown, or a value does not fit; names the line of the file.
        """
        self.cls()
        try:
            return named(self.kind, self.text, self.more, {**(more or {}), **self.fields})
        except UsageError as error:
            said = f"{error.where or ''} {error.message}"
            keys = [key for key in self.fields if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", said)]
            raise self._placed(error, keys[0] if keys and keys[0] not in self.typed else None) from error

    def _placed(self, error: UsageError, key: str | None) -> UsageError:
        if self.document is None or (key == "name" and "name" not in self.document.section(self.section)):
            return error
        return self.document.error(error.message, self.section, key, fix=error.fix)


@dataclass(frozen=True)
class Experiment:
    """A training run before anything of it is made.

    Args:
        model: the model.
        data: the data set.
        data_dir: where its files are.
        optimizer: the optimizer; the model's where None.
        schedule: the learning rate over the steps; constant where None.
        callbacks: what else happens in training.
        train: how to train.
    """

    model: Choice
    data: Choice = field(default_factory=lambda: Choice("dataset", "digits"))
    data_dir: Path | None = None
    optimizer: Choice | None = None
    schedule: Choice | None = None
    callbacks: tuple[Choice, ...] = ()
    train: Train = field(default_factory=Train)

    def make_model(self, data: Data) -> Model:
        """The model, with as many outputs as the data has classes or targets unless options say otherwise."""
        return fitted(self.model.make(), data, self.model.options)

    def make_optimizer(self, model: Model, steps: int) -> Optimizer:
        """The optimizer with its learning rate or schedule.

        Args:
            model: whose usual optimizer is taken where none was chosen.
            steps: of the whole run; what a schedule is stretched to unless it says otherwise.

        Raises:
            UsageError: an option is unknown or does not fit.
        """
        choice = self.optimizer or Choice("optimizer", model.optimizer)
        rate = self.train.learning_rate
        if rate is not None and "learning_rate" not in choice.typed:
            choice = replace(choice, more={**choice.more, "learning_rate": repr(rate)})
        made: Optimizer = choice.make()
        if self.schedule is None:
            return made
        start = getattr(made, "learning_rate", None)
        if not isinstance(start, (int, float)):
            raise UsageError(
                f"the optimizer {choice.text} has a learning rate of its own.",
                where="schedule",
                fix="leave the schedule out, or give the optimizer a number.",
            )
        schedule = make_schedule(self.schedule, float(start), steps)
        return replace(made, learning_rate=schedule)  # type: ignore[call-arg]


def fitted(model: Model, data: Data, options: Collection[str]) -> Model:
    """A model with the outputs a data set needs; the options that somebody gave stay as they are."""
    kept = {name: getattr(model, name) for name in options if hasattr(model, name)}
    return replace(model.fitted(data), **kept)


def make_schedule(choice: Choice, rate: float, steps: int) -> Schedule:
    """A schedule; what it needs and was not said comes from the run.

    Args:
        choice: which.
        rate: the optimizer's learning rate.
        steps: of the whole run.
    """
    from bigmodel_core.field_values import field_types

    needs = set(field_types(choice.cls())) - choice.options
    usual: dict[str, Any] = {}
    if "rate" in needs:
        usual["rate"] = rate
        if "steps" in needs:
            usual["steps"] = steps
    if "then" in needs:
        usual["then"] = rate
    then = choice.typed.get("then", choice.fields.get("then"))
    if isinstance(then, (str, Mapping)) and not _is_number(then):
        first = choice.typed.get("steps", choice.fields.get("steps", 0))
        rest = steps - int(first) if _is_number(first) else steps
        fields = (
            {key: value for key, value in then.items() if key != "name"} if isinstance(then, Mapping) else {}
        )
        name = str(then.get("name", "")) if isinstance(then, Mapping) else then
        inner = replace(choice, text=name, more={}, fields=fields)
        usual["then"] = make_schedule(inner, rate, max(rest, 1))
        left = {key: value for key, value in choice.typed.items() if key != "then"}
        kept = {key: value for key, value in choice.fields.items() if key != "then"}
        choice = replace(choice, text=split_options(choice.text)[0], more=left, fields=kept)
    made: Schedule = choice.make(usual)
    return made


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


# The file -------------------------------------------------------------------------------------------------

SECTIONS = ("model", "data", "loss", "optimizer", "schedule", "metrics", "callbacks", "train", "plugins")


class Document:
    """An experiment file: its values, and the lines they stand in.

    Args:
        path: the file.

    Raises:
        UsageError: it cannot be read or is not TOML; names the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text("utf-8")
            self.values = tomllib.loads(self.text)
        except OSError as error:
            raise UsageError(
                f"cannot read the experiment: {error.strerror}.", where=str(path), fix="check the path."
            ) from error
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UsageError(
                "it is not UTF-8 text.", where=f"{path}, line {line}", fix="save it as UTF-8."
            ) from error
        except tomllib.TOMLDecodeError as error:
            message, _, place = str(error).rpartition(" (at ")
            place = place.rstrip(")") if message else ""
            if place == "end of document":
                place = f"line {len(self.text.splitlines())}"
            raise UsageError(
                f"this is not TOML: {message or error}.",
                where=", ".join(part for part in (str(path), place) if part),
                fix='write key = value; texts stand in quotes, as in name = "mlp".',
            ) from error

    def section(self, name: str) -> dict[str, Any]:
        """The keys of a section; empty where it is missing."""
        found = self.values.get(name, {})
        if not isinstance(found, dict):
            raise self.error(
                f"'{name}' is not a section.", name, None, fix=f"write [{name}] on a line of its own."
            )
        return found

    def error(self, message: str, section: str, key: str | None, *, fix: str | None = None) -> UsageError:
        """An error with the line that a key of a section stands in."""
        line = self.line(section, key)
        where = f"{self.path}, line {line}" if line else str(self.path)
        inside = f" [{section}]" if section else ""
        return UsageError(message, where=where + inside, fix=fix)

    def line(self, section: str, key: str | None) -> int | None:
        """The line of a key in a section, or that of the section, from 1."""
        current, header = "", None
        for number, text in enumerate(self.text.splitlines(), 1):
            if title := re.match(r"\s*\[\[?\s*([^\]#]+?)\s*\]\]?", text):
                current = title[1].strip("\"' ")
            elif found := re.match(r"""\s*["']?([\w-]+(?:\s*\.\s*[\w-]+)*)["']?\s*=""", text):
                path = [
                    part.strip()
                    for part in (f"{current}." if current else "").split(".") + found[1].split(".")
                ]
                names = [part for part in path if part]
                if key is not None and names == [*section.split("."), key]:
                    return number
                if names[: len(section.split("."))] == section.split(".") and header is None:
                    header = number
                continue
            if current == section and header is None:
                header = number
        return header


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
            near = difflib.get_close_matches(name, SECTIONS, 1)
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
            f"[{section}] has no name." if name is None else f"the name is {name!r}, not a text.",
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
            f"{section} is no list of names.",
            section,
            None,
            fix=f'write [[{section}]] and name = "{_example(kind)}".',
        )
    return tuple(
        Choice(kind, item["name"], {}, {k: v for k, v in item.items() if k != "name"}, section, document)
        for item in entries
    )


def _example(kind: str) -> str:
    names = {"model": "mlp", "dataset": "digits", "schedule": "cosine", "callback": "early-stopping"}
    return names.get(kind, "adam")


def _train(document: Document) -> Train:
    values = dict(document.section("train"))
    if "loss" in document.values:
        loss = document.section("loss")
        if not isinstance(loss.get("name"), str):
            raise document.error("[loss] has no name.", "loss", None, fix='write name = "cross_entropy".')
        options = ",".join(f"{key}={_text(value)}" for key, value in loss.items() if key != "name")
        values["loss"] = loss["name"] + (f":{options}" if options else "")
    if "metrics" in document.values:
        values["metrics"] = [
            choice.text
            + (":" + ",".join(f"{k}={_text(v)}" for k, v in choice.fields.items()) if choice.fields else "")
            for choice in _listed(document, "metrics", "metric")
        ]
    return build_train(values, document)


def build_train(values: Mapping[str, Any], document: Document | None = None) -> Train:
    """The section [train] from its values.

    Raises:
        UsageError: a key is unknown or a value does not fit.
    """
    from bigmodel_core import config

    try:
        made: Train = config.build(Train, values)
        return made
    except ConfigError as error:
        said = f"{error.where or ''} {error.message}"
        key = next((key for key in values if re.search(rf"(?<![\w]){re.escape(key)}(?![\w])", said)), None)
        if document is not None:
            raise document.error(error.message, "train", key, fix=error.fix) from error
        option = f"--{key.replace('_', '-')}" if key else None
        raise UsageError(error.message, where=option, fix=error.fix) from error


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


def with_changes(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """An experiment with what the command line says besides.

    Args:
        experiment: from a file, or of a model alone.
        changes: by field of `Train`; None where nothing was said.
    """
    said = {key: value for key, value in changes.items() if value is not None}
    before = {key: getattr(experiment.train, key) for key in Train.__dataclass_fields__}
    if not said:
        return experiment
    made = build_train({**{key: value for key, value in before.items() if value is not None}, **said})
    return replace(experiment, train=made)
