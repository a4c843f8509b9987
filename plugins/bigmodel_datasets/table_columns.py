"""The columns of a table that are features: what each holds, and how it becomes numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Table


def check_kinds(kinds: Sequence[str], where: str = "csv") -> None:
    """Raise unless each of the option `kinds` is a text "column:kind".

    Raises:
        ConfigError: a kind is unknown.
    """
    for item in kinds:
        if item.rpartition(":")[2] not in bm.cells.KINDS or not item.rpartition(":")[0]:
            raise ConfigError(
                f"kinds has {item!r}, expected a column and one of {', '.join(bm.cells.KINDS)}.",
                where=where,
                fix='pass kinds=("zip:category",).',
                shell="write kinds=zip:category.",
            )


def found_kinds(table: Table, columns: Sequence[int], kinds: Sequence[str]) -> dict[int, str]:
    """What the columns hold, by their numbers; those that tell nothing are left out.

    Args:
        table: the table.
        columns: the columns to look at.
        kinds: what a user said of some.

    Raises:
        ConfigError: a user named a column that is no feature.
    """
    said = {item.rpartition(":")[0]: item.rpartition(":")[2] for item in kinds}
    unknown = sorted(set(said) - {table.names[column] for column in columns})
    if unknown:
        raise ConfigError(
            f"kinds names {', '.join(unknown[:5])}; the features are"
            f" {', '.join(table.names[column] for column in columns[:20])}.",
            where=str(table.path),
            fix="name columns that are features.",
        )
    found = {}
    for column in columns:
        name = table.names[column]
        kind = said.get(name) or bm.cells.kind_of(name, [row[column].strip() for _, row in table.rows])
        if kind is not None:
            found[column] = kind
    return found


def has_plain_numbers(table: Table, kinds: Mapping[int, str], columns: Sequence[int]) -> bool:
    """Whether all columns hold numbers and none has a gap, so that there is nothing to decide."""
    if any(kinds.get(column) != "number" for column in columns):
        return False
    return not any(bm.cells.is_gap(row[column].strip()) for _, row in table.rows for column in columns)


def fitted(
    table: Table,
    kinds: Mapping[int, str],
    kept: np.ndarray,
    form: bm.columns.Form,
    scaling: bm.columns.Scaling = "standard",
) -> bm.Columns:
    """How the columns become samples, from the rows that training sees.

    Raises:
        DataError: no column tells anything, or a cell is not of the kind of its column.
    """
    made = []
    for column, kind in kinds.items():
        if kind == "id":
            continue
        cells = [table.rows[row][1][column].strip() for row in kept]
        try:
            made.append(bm.Column.fitted(table.names[column], cast(Any, kind), cells, form, scaling))
        except DataError as error:
            error.where = _place_of(table, column, error) or f"{table.path}, {error.where}"
            raise
    found = bm.Columns(tuple(column for column in made if column.features()), form)
    if not found.columns:
        raise DataError(
            "no column tells one row from another.",
            where=str(table.path),
            fix="say what columns hold with kinds, as in kinds=name:category.",
        )
    return found


def samples(table: Table, columns: bm.Columns) -> Any:
    """x of all rows.

    Raises:
        DataError: a column is missing, or there are two of the name, or a cell is not of its kind.
    """
    cells: dict[str, list[str]] = {}
    for name in columns.names:
        if table.names.count(name) > 1:
            raise DataError(f"there are two columns {name}.", where=str(table.path), fix="rename one.")
        if name in table.names:
            place = table.names.index(name)
            cells[name] = [row[place] for _, row in table.rows]
    return columns.apply(cells, [f"{table.path}, line {line}" for line, _ in table.rows])


def notes(columns: bm.Columns, table: Table, kinds: Mapping[int, str], looked_at: Sequence[int]) -> list[str]:
    """What was decided, a sentence for each kind of column, and which columns are no features."""
    ids = [table.names[column] for column, kind in kinds.items() if kind == "id"]
    used = {*columns.names, *ids}
    same = [table.names[column] for column in looked_at if table.names[column] not in used]
    lines = list(columns.told())
    lines += [f"left out as they name rows: {', '.join(ids)}"] if ids else []
    return lines + ([f"left out as they tell nothing: {', '.join(same)}"] if same else [])


def _place_of(table: Table, column: int, error: DataError) -> str:
    """The place of the first cell that an error is about."""
    for line, row in table.rows:
        if error.message.startswith(repr(row[column].strip()[:40]) + " "):
            return f"{table.path}, line {line}, column {column + 1} ({table.names[column]})"
    return ""
