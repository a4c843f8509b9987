"""The target column: whether it holds classes or numbers, and which. It is read as a whole, alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import bigmodel_core as bm

from .columns import LARGEST, Misfit, holds_numbers, is_text, is_whole, numbers, plain_type, unusable
from .files import File

MOST_CLASSES = 20
"""Different whole numbers beyond which a target is read as numbers."""
MOST_LABELS = 1 << 16
"""Different texts beyond which a column is no target of classes."""


def read_target(files: Sequence[File], column: str, task: str | None, like: bm.Encoding | None) -> bm.Target:
    """The target column of some files.

    Args:
        files: the files.
        column: its name.
        task: what the user set; None decides by the column.
        like: what a model was trained with; its task and its classes are then those of the target.

    Raises:
        DataError: a value cannot be used, too few or too many classes, or one that the model does not know.
    """
    first, kind = files[0], plain_type(files[0].schema.field(column).type)
    if not is_text(kind) and not (holds_numbers(kind) and not pa.types.is_nested(kind)):
        raise bm.errors.DataError(
            f"the target column {column!r} is {kind}, expected texts, numbers or booleans.",
            where=str(first.path),
            fix="write it as such, or name another column with target.",
        )
    known = like.task if like is not None else None
    chosen, why = (task, f"task={task}") if task is not None else (known, "as in training")
    if chosen is None:
        chosen, why = _judged(files, column, kind)
    if chosen == "regression":
        if is_text(kind):
            raise bm.errors.DataError(
                f"the target column {column!r} holds texts, expected numbers.",
                where=str(first.path),
                fix="write it as numbers, name another column with target, or set task=classification.",
            )
        return bm.Target(_values(files, column), "regression", None, why)
    made: bm.Task = "binary" if chosen == "binary" else "classification"
    labels = like.labels if like is not None else None
    y, found = _classes(files, column, labels)
    if labels is None and (len(found) < 2 or (made == "binary" and len(found) > 2)):
        expected = "two" if made == "binary" else "at least two"
        raise bm.errors.DataError(
            f"the target column {column!r} has {len(found)} different value{'s' * (len(found) != 1)},"
            f" expected {expected}.",
            where=str(first.path if len(files) == 1 else first.path.parent),
            fix="name the target column with target, or set task.",
        )
    return bm.Target(y, made, found, why)


def _judged(files: Sequence[File], column: str, kind: pa.DataType) -> tuple[bm.Task, str]:
    """What a column is read as if nobody says, and why."""
    if is_text(kind) or pa.types.is_boolean(kind):
        return "classification", ""
    if not is_whole(kind):
        return "regression", ""
    different: set[int] = set()
    for _, array in _arrays(files, column):
        different.update(pc.unique(array).to_pylist())
        if len(different) > MOST_CLASSES:
            why = f"more than {MOST_CLASSES} different whole numbers; task=classification reads classes"
            return "regression", why
    return "classification", "whole numbers; task=regression reads numbers"


def _arrays(files: Sequence[File], column: str) -> Iterator[tuple[File, pa.Array]]:
    """The column, some rows at a time.

    Raises:
        DataError: a value cannot be used.
    """
    for file in files:
        for batch in file.batches([column]):
            array = batch.column(column)
            if isinstance(array.type, pa.DictionaryType):
                array = array.dictionary_decode()
            if array.null_count:
                raise file.refusal(Misfit(column, ()))
            yield file, array


def _values(files: Sequence[File], column: str) -> np.ndarray:
    values = np.empty((sum(file.metadata.num_rows for file in files), 1), np.float64)
    start = 0
    for file, array in _arrays(files, column):
        part = values[start : start + len(array), 0]
        part[:] = numbers(array)
        if not (np.abs(part) <= LARGEST).all():
            raise file.refusal(Misfit(column, ()))
        start += len(array)
    return values


def _classes(
    files: Sequence[File], column: str, labels: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers of the classes in the column, and their names in order.

    Args:
        files, column: the column.
        labels: those of a model; None takes what the column has, numbers by size and texts by letter.
    """
    codes = np.empty(sum(file.metadata.num_rows for file in files), np.int64)
    seen: dict[object, int] = {}
    given = {} if labels is None else {label: number for number, label in enumerate(labels)}
    start = 0
    for file, array in _arrays(files, column):
        array = _discrete(file, column, array).dictionary_encode()
        names = array.dictionary.to_pylist()
        unknown = sorted({_label(name) for name in names} - set(given)) if given else []
        if unknown:
            raise bm.conforming.unknown_label(unknown, tuple(given), f"{file.path}: column {column}")
        found = [given[_label(name)] if given else seen.setdefault(name, len(seen)) for name in names]
        if len(seen) > MOST_LABELS:
            raise bm.errors.DataError(
                f"the target column {column!r} has more than {MOST_LABELS:,} different values.",
                where=str(file.path),
                fix="name the target column with target, or set task=regression for numbers.",
            )
        indices = array.indices.to_numpy(zero_copy_only=False)
        codes[start : start + len(array)] = np.array(found, np.int64)[indices]
        start += len(array)
    if labels is not None:
        return codes, labels
    order = sorted(seen)  # type: ignore[type-var]  # a column holds texts, booleans or whole numbers alone
    place = np.empty(len(order), np.int64)
    place[[seen[name] for name in order]] = np.arange(len(order))
    return place[codes], tuple(_label(name) for name in order)


def _discrete(file: File, column: str, array: pa.Array) -> pa.Array:
    """The array itself, or whole numbers that are written as floats or decimals as such.

    Raises:
        DataError: one is not whole.
    """
    if is_text(array.type) or is_whole(array.type):
        return array
    values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if unusable(array, ()).any():
        raise file.refusal(Misfit(column, ()))
    if (wrong := values != np.rint(values)).any():
        raise bm.errors.DataError(
            f"the target column {column!r} has {values[wrong][0]}, which names no class.",
            where=str(file.path),
            fix="set task=regression, or write the classes as texts or whole numbers.",
        )
    return pa.array(values.astype(np.int64))


def _label(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)
