"""How raw samples and targets became numbers: what a model was trained with and is used with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from bigmodel_core.data.columns import Columns
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import BigmodelError, ConfigError
from bigmodel_core.registry import config

Task = Literal["classification", "binary", "multilabel", "regression"]
"""What is learned: a class of several, one of two, any number of labels, or numbers."""

_TEXTS = ("name", "target", "input_meaning")
_LISTS = ("labels", "features")
_STEPS = ("preprocessing", "target_preprocessing")
_TOKENIZERS = ("tokenizer", "target_tokenizer")
SAME = "same"
"""Written in place of a target tokenizer that is that of the samples."""


@dataclass(frozen=True)
class Encoding:
    """What a data set decided or fitted while it was loaded; JSON can hold all of it.

    A checkpoint and an exported file keep the encoding of the training data. Other data are brought to it,
    `bm.datasets.load("csv", "new.csv", like=run)`, and nothing is fitted again.

    Args:
        name: what the data set is called.
        task: "classification", "binary", "multilabel" or "regression"; None if nothing is known.
        labels: class names by number.
        preprocessing: how raw samples became x.
        target_preprocessing: how recorded targets became y, for regression.
        features: the names of the columns, in the order in which x has them.
        target: the name of the column of targets.
        input_meaning: one phrase for people: what one sample is.
        tokenizer: what made tokens of texts; those of targets, too, unless they have their own.
        target_tokenizer: what made tokens of targets that are texts.
        ignore: the label of targets that count nothing in losses and metrics.
        dataset: the data set with all options as decided, as `config.to_config` writes it.
        columns: how the cells of a table became x, where not all of it are plain numbers.
        odd_above: the score above which a row is odd, of a model that gives back its input.
        complete: False if an earlier version wrote down only labels, task and preprocessing.

    >>> encoding = Encoding("pets", "classification", ("cat", "dog"))
    >>> Encoding.from_dict(encoding.to_dict()) == encoding
    True
    """

    name: str = ""
    task: Task | None = None
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    target_preprocessing: Preprocessing | None = None
    features: tuple[str, ...] | None = None
    target: str = ""
    input_meaning: str = ""
    dataset: Mapping[str, Any] | None = None
    complete: bool = True
    tokenizer: Tokenizer | None = None
    target_tokenizer: Tokenizer | None = None
    ignore: int | None = None
    columns: Columns | None = None
    odd_above: float | None = None

    @property
    def numbers(self) -> tuple[Any, ...]:
        """Everything that says what each number means: encodings that are equal in this agree on x and y."""
        return (
            self.task,
            self.labels,
            self.preprocessing,
            self.target_preprocessing,
            self.features,
            self.tokenizer,
            self.target_tokenizer,
            self.columns,
        )

    def filled(self, own: Encoding) -> Encoding:
        """This encoding; one of an earlier version takes from the data's own what it did not write down."""
        if self.complete:
            return self
        return replace(
            self,
            task=self.task or own.task,
            labels=self.labels or own.labels,
            preprocessing=self.preprocessing or own.preprocessing,
            target_preprocessing=own.target_preprocessing,
            features=own.features,
            target=own.target,
        )

    def completed(self, dataset: Any) -> Any:
        """A data set with the options of the one that made this encoding, wherever it has its defaults."""
        made = self.made_by()
        if type(made) is not type(dataset):
            return dataset
        usual = {item.name: item.default for item in fields(dataset) if item.init}
        changes = {name: getattr(made, name) for name in usual if getattr(dataset, name) == usual[name]}
        return replace(dataset, **changes) if changes else dataset

    def made_by(self) -> Any:
        """The data set that made this encoding; None if it is not known, or its plugin is missing."""
        if self.dataset is None:
            return None
        try:
            return config.from_config("dataset", self.dataset)
        except BigmodelError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values; `from_dict` reverses it."""
        found: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in _LISTS:
            found[name] = None if found[name] is None else list(found[name])
        for name in _STEPS:
            found[name] = None if found[name] is None else found[name].to_dict()
        for name in _TOKENIZERS:
            found[name] = None if found[name] is None else found[name].to_dict()
        found["columns"] = None if self.columns is None else self.columns.to_dict()
        if self.tokenizer is not None and self.tokenizer == self.target_tokenizer:
            found["target_tokenizer"] = SAME
        found["dataset"] = None if self.dataset is None else dict(self.dataset)
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Encoding:
        """The object that `to_dict` described; what is left out has its default.

        Raises:
            ConfigError: an unknown field or a value of the wrong kind.
        """
        known = {item.name for item in fields(cls)}
        if not isinstance(values, Mapping) or not set(values) <= known:
            raise _malformed("it has unknown fields")
        found = dict(values)
        for name in _TEXTS:
            if not isinstance(found.get(name, ""), str):
                raise _malformed(f"{name} is no text")
        for name in _LISTS:
            items = found.get(name)
            if items is not None:
                if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
                    raise _malformed(f"{name} are no texts")
                found[name] = tuple(items)
        for name in _STEPS:
            steps = found.get(name)
            if steps is not None:
                if not isinstance(steps, Mapping):
                    raise _malformed(f"{name} is no mapping")
                found[name] = Preprocessing.from_dict(steps)
        if (described := found.get("columns")) is not None:
            found["columns"] = Columns.from_dict(described)
        for name in _TOKENIZERS:
            if (document := found.get(name)) is not None:
                try:
                    found[name] = found["tokenizer"] if document == SAME else Tokenizer.from_json(document)
                except (BigmodelError, KeyError, TypeError, ValueError):
                    raise _malformed(f"{name} is no tokenizer") from None
        if type(found.get("ignore")) not in (int, type(None)):
            raise _malformed("ignore is no label")
        if not isinstance(found.get("odd_above"), (int, float, type(None))):
            raise _malformed("odd_above is no number")
        if found.get("task") not in (None, *get_args(Task)):
            raise _malformed("the task is unknown")
        if not isinstance(found.get("dataset"), (Mapping, type(None))):
            raise _malformed("dataset is no mapping")
        if not isinstance(found.get("complete", True), bool):
            raise _malformed("complete is neither true nor false")
        return cls(**found)


UNKNOWN = Encoding(complete=False)
"""Of a model that says nothing about its data."""


def _malformed(what: str) -> ConfigError:
    return ConfigError(
        f"cannot read the description of the data: {what}.",
        where="Encoding",
        fix="use what Encoding.to_dict() returned.",
    )


SAID = ("labels", "task", "preprocessing", "input_meaning")
"""What checkpoints and exported files say one by one,"""
REST = (
    "features",
    "target",
    "target_preprocessing",
    "dataset",
    "tokenizer",
    "target_tokenizer",
    "ignore",
    "columns",
    "odd_above",
)
"""and what they keep together, as "encoding"."""


def encoding_in(metadata: Mapping[str, Any]) -> Encoding:
    """The encoding that the metadata of a file tell; what cannot be read there counts as unknown."""
    found = {key: metadata[key] for key in SAID if key in metadata}
    found["name"] = metadata.get("dataset", "")
    rest = metadata.get("encoding")
    found["complete"] = isinstance(rest, Mapping)
    found |= {key: rest[key] for key in REST if key in rest} if isinstance(rest, Mapping) else {}
    known = Encoding()
    for key, value in found.items():
        if key == "target_tokenizer" and value == SAME:
            known = replace(known, target_tokenizer=known.tokenizer)
            continue
        try:
            known = replace(known, **{key: getattr(Encoding.from_dict({key: value}), key)})
        except ConfigError:
            continue
    return known
