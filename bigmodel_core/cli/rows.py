"""Rows of a table as samples: columns by name or by position, cells as numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from bigmodel_core.cli.port import Port
from bigmodel_core.data import table_files
from bigmodel_core.data.columns import Columns
from bigmodel_core.data.conforming import columns_in_order
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.errors import DataError


def read_rows(path: Path, port: Port, delimiter: str) -> tuple[list[int], np.ndarray]:
    """The rows of a table as raw samples, with the line each comes from.

    If the first row names the columns, they are taken by name in any order, and the column of targets,
    and those that training left out, are ignored; else by position.

    Raises:
        DataError: columns are missing or unknown, a cell is no number, or a row has another length.
    """
    steps = port.preprocessing
    shape = steps.raw_shape if steps is not None else port.shape
    count = int(np.prod(shape))
    rows: list[list[float]] = []
    lines: list[int] = []
    columns: list[int] | None = None
    width = count
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            is_first = True
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if is_first and _is_header(cells, port.encoding.features):
                    columns = _columns(cells, port.encoding, str(path))
                    width = len(cells) if columns is not None else count
                    is_first = False
                    continue
                is_first = False
                where = f"{path}, line {reader.line_num}"
                if len(cells) != width:
                    more = " (leave the target column out)" if len(cells) == count + 1 else ""
                    raise DataError(
                        f"{len(cells)} cells, expected {width}{more}.",
                        where=where,
                        fix="give every row the features the model was trained on, in the same order, or name"
                        " the columns in the first row.",
                    )
                rows.append([_number(cells, column, where) for column in columns or range(width)])
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read the table: {error}.", where=str(path), fix="save it as UTF-8 text."
        ) from error
    if not rows:
        raise DataError("the table has no rows.", where=str(path), fix="pass at least one row of features.")
    raw = np.array(rows, np.float64).reshape(-1, *shape)
    kind = np.dtype(steps.raw_dtype if steps is not None else port.dtype)
    if kind.kind in "iu":
        if not np.array_equal(raw, np.rint(raw)):
            raise DataError(
                "a cell is not an integer.", where=str(path), fix="pass the values as they were recorded."
            )
        return lines, raw.astype(np.int64)
    return lines, raw


def read_cells(path: Path, columns: Columns, delimiter: str) -> tuple[list[int], dict[str, list[str]]]:
    """The cells of a table by the name of their column, with the line of each row.

    Raises:
        DataError: columns are missing or there twice, or a row has another length.
    """
    found = table_files.read_rows(path, delimiter)
    lines, rows = [line for line, _ in found], [cells for _, cells in found]
    names = [name.strip() for name in rows[0]]
    problems = [name for name in columns.names if names.count(name) != 1]
    if problems:
        what = "has twice" if problems[0] in names else "lacks"
        raise DataError(
            f"the first row {what} {', '.join(problems[:10])}; the model was trained with"
            f" {', '.join(columns.names[:20])}.",
            where=str(path),
            fix="name the columns in the first row, as those of the training data, in any order.",
        )
    if len(rows) < 2:
        raise DataError("the table has no rows.", where=str(path), fix="pass at least one row of features.")
    return lines[1:], {name: [row[names.index(name)] for row in rows[1:]] for name in columns.names}


def _is_header(cells: list[str], features: tuple[str, ...] | None) -> bool:
    names = {cell.strip() for cell in cells}
    return (features is not None and set(features) <= names) or all(parsed(cell) is None for cell in cells)


def _columns(cells: list[str], encoding: Encoding, where: str) -> list[int] | None:
    """The position of each feature among the columns that the first row of a table names; None if the
    model does not know its columns by name."""
    if encoding.features is None:
        return None
    names = [cell.strip() for cell in cells]
    ignored = {encoding.target, *getattr(encoding.made_by(), "drop", ())}
    places = [place for place, name in enumerate(names) if name in encoding.features or name not in ignored]
    order = columns_in_order(tuple(names[place] for place in places), encoding.features, where)
    return places if order is None else [places[position] for position in order]


def parsed(cell: str) -> float | None:
    """The number in a cell; None if there is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _number(cells: list[str], column: int, where: str) -> float:
    value = parsed(cells[column])
    if value is None:
        raise DataError(
            f"{cells[column][:40]!r} is no number.",
            where=f"{where}, column {column + 1}",
            fix="write only numbers, with a decimal point and no thousands separators.",
        )
    return value
