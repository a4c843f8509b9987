"""Conversion of samples and targets from one encoding to another, by name, as a trained model needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.data.source import Source
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import BigmodelError, DataError

BLOCK = 1024
"""Samples that are converted at a time."""


def conformed_inputs(x: Any, own: Encoding, wanted: Encoding) -> Any:
    """Samples as the wanted encoding has them: what their own preprocessing did is undone.

    Args:
        x: samples of their own encoding; several inputs, a tuple or dict, have neither preprocessing nor
            columns, and stay as they are.
        own, wanted: the encodings.

    Raises:
        DataError: columns are missing or unknown, samples have another shape, or are tokens of another
            vocabulary; names them.
    """
    if own.tokenizer != wanted.tokenizer:
        raise _other_tokenizer(own.tokenizer, wanted.tokenizer, own.name)
    if own.columns != wanted.columns:
        raise DataError(
            "the columns of its table became numbers in another way than those the model was trained with.",
            where=own.name,
            fix="load the data as the model met its own: bm.datasets.load(name, path, like=run).",
        )
    order = columns_in_order(own.features, wanted.features, own.name)
    steps = wanted.preprocessing
    if (order is None and own.preprocessing == steps) or isinstance(x, (Mapping, tuple)):
        return x
    sample = x.shape[1:] if order is None else (len(order), *x.shape[2:])
    if steps is not None and steps.raw_shape != sample:
        raise DataError(
            f"samples have shape {sample}, the model was trained with {steps.raw_shape}.",
            where=own.name,
            fix="convert them to the shape of the training data.",
        )
    change = _Change(own.preprocessing, order, steps, own.name)
    if isinstance(x, Source):
        return Changed(x, change, (len(x), *sample))
    if steps is None and own.preprocessing is None:
        return change(x)
    out = np.empty((len(x), *sample), np.float32)
    for start in range(0, len(x), BLOCK):
        out[start : start + BLOCK] = change(x[start : start + BLOCK])
    return out


def columns_in_order(
    own: tuple[str, ...] | None, wanted: tuple[str, ...] | None, where: str
) -> list[int] | None:
    """The position of each wanted column among a table's own; None if they are in this order already,
    or have no names to go by.

    Raises:
        DataError: a column is missing, or is there and not wanted, or there are two of a name.

    >>> columns_in_order(("b", "a"), ("a", "b"), "t.csv")
    [1, 0]
    """
    if own is None or wanted is None or own == wanted:
        return None
    twice = sorted({name for name in own if own.count(name) > 1})
    missing = [name for name in wanted if name not in own]
    extra = [name for name in own if name not in wanted]
    problems = [
        f"{what} {', '.join(names[:10])}"
        for what, names in (("lacks", missing), ("also has", extra), ("has twice", twice))
        if names
    ]
    if problems:
        raise DataError(
            f"the table {', and '.join(problems)}; the model was trained with {', '.join(wanted[:20])}.",
            where=where,
            fix="give it the columns of the training data, in any order.",
        )
    return [own.index(name) for name in wanted]


@dataclass(frozen=True)
class _Change:
    """From x of one encoding to x of another."""

    undo: Preprocessing | None
    order: list[int] | None
    steps: Preprocessing | None
    where: str

    def __call__(self, x: np.ndarray) -> np.ndarray:
        raw = x if self.undo is None else self.undo.invert(x)
        raw = raw if self.order is None else raw[:, self.order]
        if self.steps is None:
            return np.ascontiguousarray(raw, np.float32 if raw.dtype.kind == "f" else x.dtype)
        try:
            return self.steps.apply(raw)
        except BigmodelError as error:
            raise DataError(error.message, where=self.where, fix=error.fix) from error


class Changed(Source):
    """Another source's samples, changed when they are read.

    Args:
        source: the samples.
        change: makes a batch of the new form from one of the old.
        shape: (n, ...) of the new form.
    """

    def __init__(
        self, source: Source, change: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
    ) -> None:
        self.source, self.change, self.shape, self.dtype = source, change, shape, np.dtype(np.float32)

    def blocks(self) -> tuple[np.ndarray, int] | None:
        """Those of the other source; see `Source.blocks`."""
        return self.source.blocks()

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Read the samples at some positions; see `Source.read`."""
        out[...] = self.change(self.source[indices])


def conformed_targets(y: np.ndarray | None, own: Encoding, wanted: Encoding) -> np.ndarray | None:
    """Targets as the wanted encoding has them: classes renumbered by name, numbers scaled as in training.

    Raises:
        DataError: a class is unknown there, or targets are of another kind; names it.
    """
    if y is None:
        return None
    if own.target_tokenizer != wanted.target_tokenizer:
        raise _other_tokenizer(own.target_tokenizer, wanted.target_tokenizer, own.name)
    kinds = {"regression": "numbers", "multilabel": "several labels a sample"}
    kind, trained = (kinds.get(item.task or "", "classes") for item in (own, wanted))
    if wanted.task is not None and kind != trained:
        raise DataError(
            f"its targets are {kind}, the model was trained for {trained}.",
            where=own.name,
            fix="name the data set that the model was trained on, with the same task.",
        )
    if own.task == "regression":
        return _conformed_numbers(y, own, wanted)
    if wanted.labels is None or own.labels == wanted.labels:
        return y
    if own.task == "multilabel":
        return _conformed_flags(y, own, wanted.labels)
    if not isinstance(y, np.ndarray):
        raise DataError(
            "its classes have other numbers than in training, and they are not one array.",
            where=own.name,
            fix="load the data as the model met its own: bm.datasets.load(name, path, like=run).",
        )
    used = np.unique(y if own.ignore is None else y[y != own.ignore]).tolist()
    names = (
        [str(number) for number in used] if own.labels is None else [own.labels[number] for number in used]
    )
    if own.labels is None:
        unknown = [name for name, number in zip(names, used, strict=True) if number >= len(wanted.labels)]
    else:
        unknown = [name for name in names if name not in wanted.labels]
    if unknown:
        raise unknown_label(unknown, wanted.labels, own.name)
    if own.labels is None:
        return y
    numbers = np.zeros(max(used, default=0) + 1, np.int64)
    numbers[used] = [wanted.labels.index(name) for name in names]
    if own.ignore is None:
        return np.asarray(numbers[y])
    is_counted = y != own.ignore
    return np.where(is_counted, numbers[np.where(is_counted, y, 0)], own.ignore)


def _conformed_flags(y: np.ndarray, own: Encoding, wanted: tuple[str, ...]) -> np.ndarray:
    """The columns of several labels a sample in the wanted order; 0 for a label that no sample has."""
    names = own.labels or tuple(map(str, range(y.shape[1])))
    unknown = [name for name, used in zip(names, y.T, strict=True) if used.any() and name not in wanted]
    if unknown:
        raise unknown_label(unknown, wanted, own.name)
    found = np.zeros((len(y), len(wanted)), y.dtype)
    for column, name in enumerate(names):
        if name in wanted:
            found[:, wanted.index(name)] = y[:, column]
    return found


def _other_tokenizer(own: Tokenizer | None, wanted: Tokenizer | None, where: str) -> DataError:
    """The error about texts whose tokens are not those that a model was trained with."""

    def told(tokenizer: Tokenizer | None) -> str:
        return "without a tokenizer" if tokenizer is None else f"with {repr(tokenizer)[1:-1]}"

    return DataError(
        f"its texts were made tokens {told(own)}, and the model was trained {told(wanted)}.",
        where=where,
        fix="load the data as the model met its own: bm.datasets.load(name, path, like=run).",
    )


def unknown_label(unknown: list[str], known: tuple[str, ...], where: str) -> DataError:
    """The error about classes that a model was not trained with."""
    names = ", ".join(repr(name) for name in unknown[:10])
    is_one = len(unknown) == 1
    return DataError(
        f"the class{'' if is_one else 'es'} {names} {'is' if is_one else 'are'} not among those the model was"
        f" trained with: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}.",
        where=where,
        fix="rename it, leave its samples out, or train a model on these classes.",
    )


def _conformed_numbers(y: np.ndarray, own: Encoding, wanted: Encoding) -> np.ndarray:
    undo, steps = own.target_preprocessing, wanted.target_preprocessing
    if undo == steps:
        return y
    raw = y if undo is None else undo.invert(y)
    if steps is None:
        return np.asarray(raw, np.float32)
    if steps.raw_shape != raw.shape[1:]:
        raise DataError(
            f"targets have shape {raw.shape[1:]}, the model was trained with {steps.raw_shape}.",
            where=own.name,
        )
    return steps.apply(raw)
