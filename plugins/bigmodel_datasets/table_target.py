"""The target column of a table: whether it holds classes or numbers, and which."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.csv_file import Table, is_written_otherwise, parsed

READINGS = ("classification", "binary", "regression")
"""The tasks that a column can be the target of."""
MOST_CLASSES = 20
"""Different integers beyond which a target is read as numbers."""


def read_target(table: Table, task: str | None, like: bm.Encoding | None) -> bm.Target:
    """The target column of a table.

    Args:
        table: the table.
        task: what the user set; None decides by the cells.
        like: what a model was trained with; its task and its classes are then those of the target.

    Raises:
        DataError: a cell cannot be used, too few or too many classes, or one that the model does not know.
    """
    cells = [table.filled(row, table.target) for row in table.rows]
    known = like.task if like is not None else None
    chosen, why = (task, f"task={task}") if task is not None else (known, "as in training")
    if chosen is None:
        chosen, why = _judged(table, cells)
    if chosen == "regression":
        values = [table.number(row, table.target) for row in table.rows]
        return bm.Target(np.array(values, np.float64).reshape(-1, 1), "regression", None, why)
    made: bm.Task = "binary" if chosen == "binary" else "classification"
    if like is not None and like.labels is not None:
        return bm.Target(_among(table, cells, like), made, like.labels, why)
    order = sorted(set(cells), key=_sort_key(cells))
    if len(order) < 2 or (made == "binary" and len(order) > 2):
        expected = "two" if made == "binary" else "at least two"
        raise DataError(
            f"{len(order)} different class{'es' * (len(order) > 1)}, expected {expected}.",
            where=_place(table),
            fix="name the target column with target, or set task.",
        )
    numbers = {label: number for number, label in enumerate(order)}
    return bm.Target(np.array([numbers[cell] for cell in cells], np.int64), made, tuple(order), why)


def _judged(table: Table, cells: Sequence[str]) -> tuple[bm.Task, str]:
    """What the cells look like, and why.

    Raises:
        DataError: they are numbers with something between the digits, or numbers and words.
    """
    is_number = [_is_finite(parsed(cell, float)) for cell in cells]
    odd = [row for row, fits in zip(table.rows, is_number, strict=True) if not fits]
    otherwise = [row for row in odd if is_written_otherwise(table.filled(row, table.target))]
    if odd and (len(otherwise) == len(odd) or 2 * len(odd) < len(cells)):
        row = (otherwise or odd)[0]
        raise table.no_number(
            row, table.target, fix="; task=classification takes the cells as names of classes"
        )
    if odd:
        return "classification", ""
    if any(parsed(cell, int) is None for cell in cells):
        return "regression", ""
    different = len(set(cells))
    if different > MOST_CLASSES:
        why = f"{different} different whole numbers are more than {MOST_CLASSES}"
        return "regression", f"{why}; task=classification reads classes"
    return "classification", "whole numbers; task=regression reads numbers"


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _sort_key(cells: Sequence[str]) -> Callable[[str], Any]:
    """By number if all cells are numbers, else by text."""
    for kind in (int, float):
        if all(_is_finite(parsed(cell, kind)) for cell in cells):
            return lambda cell, kind=kind: (kind(cell), cell)  # type: ignore[misc]  # mypy infers no lambda with defaults
    return str


def _among(table: Table, cells: Sequence[str], like: bm.Encoding) -> np.ndarray:
    """The numbers of classes that a model was trained with.

    Raises:
        DataError: there are others; names them.
    """
    assert like.labels is not None
    numbers = {label: number for number, label in enumerate(like.labels)}
    found = [
        numbers.get(cell, numbers.get(_as_before(cell))) if not like.complete else numbers.get(cell)
        for cell in cells
    ]
    unknown = sorted({cell for cell, number in zip(cells, found, strict=True) if number is None})
    if unknown:
        raise bm.conforming.unknown_label(unknown, like.labels, _place(table))
    return np.array(found, np.int64)


def _as_before(cell: str) -> str:
    """A label as an earlier version wrote it, which read all numbers as such."""
    whole, number = parsed(cell, int), parsed(cell, float)
    return cell if number is None else str(number if whole is None else whole)


def _place(table: Table) -> str:
    return f"{table.path}: column {table.names[table.target]}"
