"""The rows of a table from one file or several: which columns are what, and which rows are which split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Table, column_of, parsed
from bigmodel_datasets.text_tables import files_of

if TYPE_CHECKING:
    from bigmodel_datasets.rows import Rows
    from bigmodel_datasets.table import Csv


@dataclass(frozen=True)
class Read:
    """A table as it was read.

    Args:
        table: all rows.
        parts: the numbers of the rows of each split that there is.
        weight: the number of the column of weights, if there is one.
        group: the number of the column of groups, if there is one.
        notes: what was read, a sentence each.
    """

    table: Table
    parts: dict[str, np.ndarray]
    weight: int | None
    group: int | None = None
    notes: tuple[str, ...] = ()


def read_table(options: Csv | Rows, data_dir: Any, like: bm.Encoding | None) -> Read:
    """The table of the files that are meant, or of a DataFrame.

    Raises:
        DataError: there is no file, one cannot be read, or files have other columns; names the file.
        ConfigError: a column that an option names is not there.
    """
    if bm.table_files.is_frame(data_dir):
        rows = bm.table_files.frame_rows(data_dir)
        table, weight, group = _first_table(Path("DataFrame"), rows, options, like, is_named=True)
        return Read(table, {"train": np.arange(len(table.rows))}, weight, group)
    files = files_of(options.name, data_dir, bm.table_files.SUFFIXES)
    (first, *_), several = files["train"], sum(map(len, files.values())) > 1
    first_rows = bm.table_files.read_rows(first, options.delimiter)
    table, weight, group = _first_table(
        first, first_rows, options, like, is_named=bm.table_files.names_columns(first)
    )
    if not several:
        return Read(table, {"train": np.arange(len(table.rows))}, weight, group)
    joined, parts, told = list[tuple[int | str, list[str]]](), dict[str, np.ndarray](), []
    for part, paths in files.items():
        start = len(joined)
        for path in paths:
            some = table.rows if path == first else _more_rows(path, table, options.delimiter)
            joined += [(f"{line} of {path.name}", cells) for line, cells in some]
            told.append(f"{len(some)} of {path.name}")
        parts[part] = np.arange(start, len(joined))
    whole = Table(first.parent, table.names, joined, table.target, table.is_named, table.left_out)
    return Read(whole, parts, weight, group, (f"rows: {', '.join(told)}",))


def _more_rows(path: Path, table: Table, delimiter: str) -> Sequence[tuple[int | str, list[str]]]:
    """The rows of another file, with the columns of the first.

    Raises:
        DataError: it has other columns.
    """
    rows = bm.table_files.read_rows(path, delimiter)
    if not table.is_named:
        if len(rows[0][1]) == len(table.names):
            return rows
        raise DataError(
            f"it has {len(rows[0][1])} columns, the first file {len(table.names)}.",
            where=str(path),
            fix="give all files the same columns.",
        )
    names = [cell.strip() for cell in rows[0][1]]
    if sorted(names) != sorted(table.names):
        odd = sorted({*names} ^ {*table.names}) or sorted(name for name in names if names.count(name) > 1)
        raise DataError(
            f"its columns are not those of the first file: {', '.join(odd[:10])}.",
            where=str(path),
            fix="give all files the same columns, in any order, named in the first row.",
        )
    order = [names.index(name) for name in table.names]
    return [(line, [cells[place] for place in order]) for line, cells in rows[1:]]


def _first_table(
    path: Path,
    rows: Sequence[tuple[int | str, list[str]]],
    options: Csv | Rows,
    like: bm.Encoding | None,
    *,
    is_named: bool,
) -> tuple[Table, int | None, int | None]:
    """The table of the first file, and the numbers of the columns of weights and of groups, if there are."""
    delimiter, header, target = options.delimiter, options.header, options.target
    width = len(rows[0][1])
    if width < 2 and target is not None:
        raise DataError(
            f"the first row has one cell, {rows[0][1][0][:60]!r}, expected features and a target.",
            where=str(path),
            fix=f"set delimiter if cells are not separated by {delimiter!r}.",
        )
    first = [cell.strip() for cell in rows[0][1]]
    known = None if like is None else like.columns.names if like.columns is not None else like.features
    header = True if is_named else header
    if header is None and known is not None and set(known) & set(first):
        header = any(parsed(name, float) is None for name in known) or set(known) <= set(first)
    if header is None:
        names_target = isinstance(target, str) and target in first and parsed(target, int) is None
        header = names_target or _is_header(first, target, path)
    if (
        header
        and target is not None
        and like is not None
        and like.target in first
        and target == getattr(like.made_by(), "target", None)
    ):
        target = like.target  # wherever it stands in this file
    names = first if header else [f"column {number}" for number in range(1, width + 1)]
    if header:
        rows = rows[1:]
    column = -1 if target is None else column_of(target, first if header else None, width, path)
    if header and column >= 0 and like is not None and known is not None and first[column] in known:
        raise DataError(
            f"there is no column {like.target or target!r} of targets; there are {', '.join(first[:20])}.",
            where=str(path),
            fix="add it, or name the column with target; predict needs none.",
        )
    titles = first if header else None
    left_out = {column_of(name, titles, width, path, "drop") for name in options.drop}
    weighted = None if options.weight is None else column_of(options.weight, titles, width, path, "weight")
    grouped = None if options.groups is None else column_of(options.groups, titles, width, path, "groups")
    if options.columns:
        chosen = {column_of(name, titles, width, path, "columns") for name in options.columns}
        left_out |= set(range(width)) - chosen
    left_out |= {other for other in (weighted, grouped) if other is not None}
    if set(range(width)) <= left_out | {column}:
        raise ConfigError(
            "no column is left for features.",
            where=str(path),
            fix="name fewer columns in drop, or more in columns.",
        )
    return Table(path, names, rows, column, bool(header), frozenset(left_out)), weighted, grouped


def _is_header(first: list[str], target: int | str | None, path: Path) -> bool:
    """Whether the first row names the columns: then no feature in it is a number."""
    number = parsed(target, int) if isinstance(target, str) else target
    skipped = None if number is None else number % len(first)
    features = [cell for column, cell in enumerate(first) if column != skipped]
    numeric = [parsed(cell, float) is not None for cell in features]
    if any(numeric) and not all(numeric):
        raise DataError(
            f"it may be a header or data: {features[numeric.index(False)]!r} is mixed with numbers.",
            where=f"{path}, line 1",
            fix="set header to true or false.",
        )
    return not any(numeric)
