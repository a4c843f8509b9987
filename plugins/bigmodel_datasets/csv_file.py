"""CSV files: rows of cells under names, with the line of each, so that what is wrong can be named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from bigmodel_core.errors import ConfigError, DataError

Number = TypeVar("Number", int, float)
MOST_GROUPS = 50
"""Different texts in a column by which rows fall into groups."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under names; one column is the target.

    Args:
        path: the file, or the folder of several.
        names: of the columns.
        rows: the line and the cells of each row; of several files the line says of which.
        target: the number of the target column.
        is_named: whether the file itself names the columns.
        left_out: the numbers of columns that are no features.
    """

    path: Path
    names: list[str]
    rows: Sequence[tuple[int | str, list[str]]]
    target: int
    is_named: bool = True
    left_out: frozenset[int] = frozenset()

    @property
    def features(self) -> list[int]:
        """The numbers of all columns but the target and those that are left out."""
        return [n for n in range(len(self.names)) if n != self.target and n not in self.left_out]

    def groups(self, always: int | None = None) -> dict[str, np.ndarray]:
        """By the name of a column the texts of its cells, of those with few different ones, and of one that
        is asked for by number."""
        found = {}
        for number, name in enumerate(self.names):
            cells = [row[number].strip() for _, row in self.rows]
            if number == always or len(set(cells)) <= MOST_GROUPS:
                found[name] = np.array(cells)
        return found

    def filled(self, row: tuple[int | str, list[str]], column: int) -> str:
        """The text of a cell.

        Raises:
            DataError: it is empty; names line and column.
        """
        line, cells = row
        cell = cells[column].strip()
        if not cell:
            raise DataError(
                "the cell is empty.", where=self._place(line, column), fix="fill it, or remove the row."
            )
        return cell

    def number(self, row: tuple[int | str, list[str]], column: int) -> float:
        """The number in a cell.

        Raises:
            DataError: there is none that float32 can hold; names line and column.
        """
        cell = self.filled(row, column)
        value = parsed(cell, float)
        # Beyond float32 a value would silently become infinite.
        if value is None or not abs(value) <= 3.4028235e38:
            raise self.no_number(row, column)
        return value

    def no_number(self, row: tuple[int | str, list[str]], column: int, fix: str = "") -> DataError:
        """The error about a cell that is no number float32 can hold; `fix` says what else would do."""
        cell = row[1][column].strip()
        advice = "write only numbers, with a decimal point, or remove the row or column"
        if is_written_otherwise(cell):
            advice = "write numbers with a decimal point and no thousands separators, as in 1000029.5"
        return DataError(
            f"{cell[:40]!r} is not a finite number.", where=self._place(row[0], column), fix=f"{advice}{fix}."
        )

    def _place(self, line: int | str, column: int) -> str:
        return f"{self.path}, line {line}, column {column + 1} ({self.names[column]})"


def column_of(
    target: int | str, names: list[str] | None, width: int, path: Path, option: str = "target"
) -> int:
    """The number of the column that an option means by name or number.

    Args:
        target: what was given.
        names: of the columns, if they have some.
        width: how many columns there are.
        path: the file, for messages.
        option: what the option is called.

    Raises:
        ConfigError: there is no such column, or there are two.
    """
    if isinstance(target, str):
        if names is not None and names.count(target) == 1:
            return names.index(target)
        number = parsed(target, int)
        if number is None:
            if names is None:
                raise ConfigError(
                    f"{option} is {target!r}, but the columns have no names.",
                    where=str(path),
                    fix=f"give the number of the {option} column, from 0.",
                )
            count = "two columns are" if target in names else "no column is"
            raise ConfigError(
                f"{count} called {target!r}; there are {', '.join(names[:20])}.",
                where=str(path),
                fix=f"set {option} to the name or number of one column.",
            )
        target = number
    if not -width <= target < width:
        raise ConfigError(
            f"{option} is column {target}, expected {-width} to {width - 1}.",
            where=str(path),
            fix="columns count from 0; -1 is the last.",
        )
    return target % width


def is_written_otherwise(cell: str) -> bool:
    """Whether a cell is a number with separated thousands or a decimal comma.

    >>> [is_written_otherwise(cell) for cell in ("1,000,029", "1 000", "3,14", "1e3", "v1.2.3")]
    [True, True, True, False, False]
    """
    thousands = r"[+-]?\d{1,3}(?:([,.'_ \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?"
    is_number = re.fullmatch(rf"{thousands}|[+-]?\d+,\d+", cell) is not None
    return is_number and parsed(cell, float) is None


def parsed(cell: str, kind: type[Number]) -> Number | None:
    """The number in a cell; None if there is none."""
    try:
        return None if "_" in cell else kind(cell)
    except ValueError:
        return None
