"""The features of a table: as they were in a training, or found out and fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.csv_file import Table
from bigmodel_datasets.standard import known_for, standardising
from bigmodel_datasets.table_columns import fitted, found_kinds, has_plain_numbers, notes, samples


@dataclass(frozen=True)
class Features:
    """What the features of a table became.

    Args:
        x: of all rows.
        names: of the features that are numbers.
        preprocessing: of plain numbers.
        columns: of all else.
        notes: what was decided, a sentence each.
    """

    x: Any
    names: tuple[str, ...]
    preprocessing: bm.Preprocessing | None = None
    columns: bm.Columns | None = None
    notes: tuple[str, ...] = ()


def features_of(
    table: Table,
    kept: np.ndarray,
    like: bm.Encoding | None,
    kinds: Sequence[str],
    form: bm.columns.Form,
    scaling: bm.columns.Scaling = "standard",
) -> Features:
    """What the features of all rows become.

    Args:
        table: the rows.
        kept: which of them training sees.
        like: how it was done in a training; None fits it.
        kinds: what a user said of some columns.
        form: of categories.
        scaling: of numbers.

    Raises:
        DataError: a cell cannot be used; names file, line and column. Columns that `like` does not know.
        ConfigError: `kinds` names a column that is no feature.
    """
    if like is not None and like.columns is not None:
        return Features(samples(table, like.columns), columns=like.columns, names=like.columns.features)
    columns = _columns(table, like)
    if like is None:
        found = found_kinds(table, columns, kinds)
        if scaling != "standard" or not has_plain_numbers(table, found, columns):
            made = fitted(table, found, kept, form, scaling)
            told = tuple(notes(made, table, found, columns))
            return Features(samples(table, made), columns=made, names=made.features, notes=told)
    raw = np.array([[table.number(row, column) for column in columns] for row in table.rows], np.float64)
    steps = known_for(like, raw.shape[1:]) or standardising(raw[kept], raw.shape[1:])
    names = tuple(table.names[column] for column in columns)
    return Features(steps.apply(raw), names, preprocessing=steps)


def _columns(table: Table, like: bm.Encoding | None) -> list[int]:
    """The columns of the features: by name as in training if both have names, else by position."""
    columns = table.features
    if like is None or like.features is None:
        return columns
    if table.is_named:
        order = bm.conforming.columns_in_order(
            tuple(table.names[column] for column in columns), like.features, str(table.path)
        )
        return columns if order is None else [columns[position] for position in order]
    if len(columns) != len(like.features):
        raise DataError(
            f"it has {len(columns)} columns beside the target, the model was trained with"
            f" {len(like.features)}: {', '.join(like.features[:20])}.",
            where=str(table.path),
            fix="give it these columns in this order, or name its columns in a first row.",
        )
    return columns
