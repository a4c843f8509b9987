"""Series in a CSV file: which columns are what, which rows are of which series, and gaps in them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Table, column_of, parsed
from bigmodel_datasets.dates import Dates, read_dates

if TYPE_CHECKING:
    from bigmodel_datasets.series import Series

Row = tuple[int | str, list[str]]
GAPS = ("", "na", "n/a", "nan", "null")


@dataclass(frozen=True)
class Recorded:
    """Series of a file, with what was decided about it.

    Args:
        lines: the series.
        targets: the columns that are forecast.
        inputs: the columns of a sample.
        is_named: whether the file names its columns.
        rows: how many rows of values there are.
        notes: decisions, in words.
        made_by: the data set with its options as decided.
    """

    lines: tuple[bm.Timeline, ...]
    targets: tuple[str, ...]
    inputs: tuple[str, ...]
    is_named: bool
    rows: int
    notes: tuple[str, ...]
    made_by: Series


@dataclass(frozen=True)
class _Columns:
    """The numbers of the columns of a table by what they are."""

    targets: tuple[int, ...]
    others: tuple[int, ...]
    known: tuple[int, ...]
    date: int | None
    by: int | None


def read_series(path: Path, options: Series) -> Recorded:
    """The series in a file.

    Raises:
        DataError: it cannot be read, or a cell cannot be used; names line and column.
        ConfigError: a column that is not there, or is named twice.
    """
    table = _table(path, options)
    columns = _columns(table, options, path)
    by_series: dict[str, list[Row]] = {}
    for row in table.rows:
        by_series.setdefault("" if columns.by is None else table.filled(row, columns.by).strip(), []).append(
            row
        )
    if not by_series:
        raise DataError("the file has no rows.", where=str(path), fix="name a CSV file with data.")
    notes: list[str] = []
    dates = None if columns.date is None else _dates(table, by_series, columns.date, options)
    kinds = _kinds(options, dates)
    lines, rows = [], 0
    for name, some in by_series.items():
        values, known = _values(table, some, columns, options, notes)
        rows += len(values)
        k = len(columns.targets)
        own = None if dates is None else dates[name]
        lines.append(
            bm.Timeline(
                values[:, :k],
                values[:, k:] if columns.others else None,
                known,
                functools.partial(own.features, kinds) if own is not None and kinds else None,
                options.length,
                options.horizon,
                name,
                tuple(table.names[number] for number in columns.targets),
                None if own is None else own.text,
                str(path),
            )
        )
    new = [name for name in by_series if options.seen and name not in options.seen]
    if new:
        notes.append(
            f"{len(new)} series the model was not trained on ({', '.join(new[:5])}) "
            f"{'is' if len(new) == 1 else 'are'} forecast as the others are."
        )
    named = [table.names[number] for number in (*columns.targets, *columns.others)]
    ahead = [f"{table.names[number]} in advance" for number in columns.known]
    made_by = replace(
        options,
        column=_text(table, columns.targets[0]) if not options.target else options.column,
        step="" if dates is None else next(iter(dates.values())).step,
        calendar=options.calendar or (kinds or ("none",) if dates is not None else ()),
        seen=options.seen or (tuple(by_series) if columns.by is not None else ()),
    )
    lines[0] = replace(lines[0], notes=tuple(notes))
    return Recorded(
        tuple(lines),
        tuple(table.names[number] for number in columns.targets),
        (*named, *ahead, *kinds),
        table.is_named,
        rows,
        tuple(notes),
        made_by,
    )


def _text(table: Table, number: int) -> int | str:
    return table.names[number] if table.is_named else number


def _table(path: Path, options: Series) -> Table:
    rows = bm.table_files.read_rows(path, options.delimiter)
    first = [cell.strip() for cell in rows[0][1]]
    chosen = options.target or options.columns
    asked = [
        *(chosen or (options.column,)),
        *options.known,
        *(text for text in (options.date, options.by) if text),
    ]
    is_named = any(isinstance(item, str) and parsed(item, int) is None for item in asked)
    header = options.header
    if header is None:
        number = column_of(asked[0], first if is_named else None, len(first), path, "column")
        header = is_named or parsed(first[number], float) is None
    names = first if header else [f"column {number}" for number in range(1, len(first) + 1)]
    target = column_of(asked[0], names if header else None, len(first), path, "column")
    return Table(path, names, rows[1:] if header else rows, target, header)


def _columns(table: Table, options: Series, path: Path) -> _Columns:
    names = table.names if table.is_named else None

    def numbers(given: Sequence[int | str], option: str) -> tuple[int, ...]:
        return tuple(column_of(item, names, len(table.names), path, option) for item in given)

    inputs = numbers(options.columns, "columns")
    targets = numbers(options.target, "target") or inputs or (table.target,)
    others = tuple(number for number in inputs if number not in targets)
    known = numbers(options.known, "known")
    date, by = (
        numbers((given,), option)[0] if given else None
        for given, option in ((options.date, "date"), (options.by, "by"))
    )
    used = [*targets, *others, *known, *(number for number in (date, by) if number is not None)]
    twice = sorted({table.names[number] for number in used if used.count(number) > 1})
    if twice:
        raise ConfigError(
            f"the column {twice[0]} is used for two things.",
            where=str(path),
            fix="name it in one of target, columns, known, date and by.",
        )
    return _Columns(targets, others, known, date, by)


def place(table: Table, line: int | str, column: int) -> str:
    """Where a cell is, for messages."""
    return f"{table.path}, line {line}, column {column + 1} ({table.names[column]})"


def _dates(table: Table, by_series: dict[str, list[Row]], column: int, options: Series) -> dict[str, Dates]:
    found = {
        name: read_dates([(place(table, line, column), cells[column].strip()) for line, cells in rows])
        for name, rows in by_series.items()
    }
    wanted = options.step or next(iter(found.values())).step
    for name, dates in found.items():
        if dates.step != wanted and len(by_series[name]) > 1:
            raise DataError(
                f"its dates are {dates.step} apart, expected {wanted} as "
                f"{'in training' if options.step else 'in the first series'}.",
                where=f"{table.path}: {name}" if name else str(table.path),
                fix="bring the series to one step.",
            )
    return found


def _kinds(options: Series, dates: dict[str, Dates] | None) -> tuple[str, ...]:
    if dates is None:
        return ()
    kinds = options.calendar or next(iter(dates.values())).usual_kinds()
    return tuple(kind for kind in kinds if kind != "none")


def _values(
    table: Table, rows: list[Row], columns: _Columns, options: Series, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The observed columns of a series, and those known in advance, which may have more rows."""
    observed = [*columns.targets, *columns.others]
    count = len(rows)
    if columns.known:
        while count and all(_is_gap(rows[count - 1][1][number]) for number in observed):
            count -= 1
    values = np.array([_numbers(table, row, observed, options) for row in rows[:count]], np.float64)
    values = values.reshape(count, len(observed))
    known = None
    if columns.known:
        known = np.array([_numbers(table, row, columns.known, options) for row in rows], np.float64)
        _fill(table, rows, known, columns.known, notes)
    _fill(table, rows, values, observed, notes)
    return values, known


def _is_gap(cell: str) -> bool:
    return cell.strip().lower() in GAPS


def _numbers(table: Table, row: Row, columns: Sequence[int], options: Series) -> list[float]:
    found = []
    for column in columns:
        if not _is_gap(row[1][column]):
            found.append(table.number(row, column))
        elif options.gaps == "fill":
            found.append(np.nan)
        else:
            text = row[1][column].strip()
            raise DataError(
                f"{text!r} is a gap." if text else "the cell is empty.",
                where=place(table, row[0], column),
                fix="fill it, or have gaps filled along a straight line: gaps=fill.",
            )
    return found


def _fill(
    table: Table, rows: list[Row], values: np.ndarray, columns: Sequence[int], notes: list[str]
) -> None:
    """Fill gaps along straight lines between their neighbours; at the ends with the nearest value."""
    for number, column in enumerate(columns):
        gaps = np.flatnonzero(np.isnan(values[:, number]))
        if not len(gaps):
            continue
        there = np.flatnonzero(~np.isnan(values[:, number]))
        if not len(there):
            raise DataError(
                "the column has no values.", where=place(table, rows[0][0], column), fix="leave it out."
            )
        values[gaps, number] = np.interp(gaps, there, values[there, number])
        word = "gap is" if len(gaps) == 1 else "gaps are"
        notes.append(
            f"{len(gaps)} {word} filled along a straight line in {table.names[column]}, the first in line"
            f" {rows[gaps[0]][0]}."
        )
