"""Tables from CSV files: numeric features, and one target column of classes or numbers."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar, get_args

import numpy as np

from bigmodel_core.dataset import Data, Dataset, Preprocessing, Split, Task, split_indices
from bigmodel_core.dataset_files import environment_folders, existing
from bigmodel_core.errors import ConfigError, DataError

Number = TypeVar("Number", int, float)
Key = TypeVar("Key", int, float, str)


@dataclass(frozen=True)
class Csv(Dataset):
    """A table in a CSV file: each row a sample, one column the target, all others numeric features.

    Features are standardised with the mean and deviation of the training rows.

    Args:
        target: name or number of the target column; numbers count from 0, negative ones from the end.
        header: whether the first row names the columns; None finds out.
        task: "classification", "binary" or "regression". None decides by the target: words and whole numbers
            are classes, other numbers are regression.
        test_fraction: share of the rows to hold out as test split; classes keep their proportions.
        seed: key of the choice of test rows.
        delimiter: character between two cells.

    `data_dir` is the file, or a folder with this one `.csv` file in it.
    """

    name: ClassVar[str] = "csv"
    target: int | str = -1
    header: bool | None = None
    task: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    delimiter: str = ","

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in get_args(Task):
            raise ConfigError(
                f"task is {self.task!r}, expected one of {', '.join(get_args(Task))}.", where="csv"
            )
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ConfigError(f"delimiter is {self.delimiter!r}, expected one character.", where="csv")
        if not 0.0 < self.test_fraction < 1.0:
            raise ConfigError(
                f"test_fraction is {self.test_fraction}, expected more than 0 and less than 1.", where="csv"
            )

    def load(self, data_dir: Path | None = None) -> Data:
        """The data; x is (n, features) float32, y is (n,) int64 labels or (n, 1) float32 values.

        Raises:
            DataError: no file, or a cell that cannot be used; names file, line and column.
            ConfigError: a target column that is not there, or a task that does not fit it.
        """
        path = _file(data_dir)
        table = _read_table(path, self.delimiter, self.header, self.target)
        features = np.array(
            [[table.number(row, column) for column in table.features] for row in table.rows], np.float32
        )
        if len(features) < 2:
            raise DataError(
                f"there is {len(features)} row of data, expected at least two.",
                where=str(path),
                fix="training and testing need a row each.",
            )
        task, y, labels = self._targets(table)
        kept, held_out = split_indices(
            len(y), self.test_fraction, self.seed, classes=None if labels is None else y
        )
        mean, std = features[kept].mean(0, np.float64), features[kept].std(0, np.float64)
        # A column whose deviation is rounding error is a constant.
        std[std <= 1e-7 * np.abs(mean)] = 1.0
        preprocessing = Preprocessing(1.0, tuple(mean), tuple(std), "float32", features.shape[1:])
        everything = Split(preprocessing.apply(features), y)
        return Data(
            name=self.name,
            train=everything.take(kept),
            test=everything.take(held_out),
            labels=labels,
            task=task,
            preprocessing=preprocessing,
            input_meaning="features: " + ", ".join(table.names[column] for column in table.features),
            source=f"{path.name}, {len(y)} rows, target {table.names[table.target]}",
        )

    def _targets(self, table: _Table) -> tuple[Task, np.ndarray, tuple[str, ...] | None]:
        where = f"{table.path}: column {table.names[table.target]}"
        cells = [table.filled(row, table.target) for row in table.rows]
        integers, numbers = _all(cells, int), _all(cells, float)
        task = self.task
        if task is None:
            task = "regression" if numbers is not None and integers is None else "classification"
            if integers is not None and len(set(integers)) > max(20, len(cells) // 2):
                raise ConfigError(
                    f"{len(set(integers))} whole numbers in {len(cells)} rows may be classes or values.",
                    where=where,
                    fix='set task to "classification" or "regression".',
                )
        if task == "regression":
            values = [table.number(row, table.target) for row in table.rows]
            return "regression", np.array(values, np.float32).reshape(-1, 1), None
        order: list[str]
        if integers is not None:
            y, order = _numbered(integers)
        elif numbers is not None:
            y, order = _numbered(numbers)
        else:
            y, order = _numbered(cells)
        if len(order) < 2 or (task == "binary" and len(order) > 2):
            expected = "two" if task == "binary" else "at least two"
            raise DataError(
                f"{len(order)} different class{'es' * (len(order) > 1)}, expected {expected}.",
                where=where,
                fix="name the target column with target, or set task.",
            )
        return ("binary" if task == "binary" else "classification"), y, tuple(order)


@dataclass(frozen=True)
class _Table:
    path: Path
    names: list[str]
    rows: list[tuple[int, list[str]]]  # line number and cells
    target: int

    @property
    def features(self) -> list[int]:
        return [column for column in range(len(self.names)) if column != self.target]

    def filled(self, row: tuple[int, list[str]], column: int) -> str:
        line, cells = row
        cell = cells[column].strip()
        if not cell:
            raise DataError(
                "the cell is empty.", where=self._place(line, column), fix="fill it, or remove the row."
            )
        return cell

    def number(self, row: tuple[int, list[str]], column: int) -> float:
        cell = self.filled(row, column)
        value = _parse(cell, float)
        # Beyond float32 a value would silently become infinite.
        if value is None or not abs(value) <= 3.4028235e38:
            raise DataError(
                f"{cell[:40]!r} is no finite number.",
                where=self._place(row[0], column),
                fix="write numbers alone, with a decimal point, or remove the row or column.",
            )
        return value

    def _place(self, line: int, column: int) -> str:
        return f"{self.path}, line {line}, column {column + 1} ({self.names[column]})"


def _file(data_dir: Path | None) -> Path:
    folders = [existing(Path(data_dir))] if data_dir is not None else environment_folders("csv")
    if not folders:
        raise DataError("csv needs a file to read.", where="csv", fix="name it with --data-dir FILE.csv.")
    place = folders[0]
    if place.is_file():
        return place
    found = sorted(path for path in place.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise DataError(
            f"expected one .csv file in it, found {names}.", where=str(place), fix="name the file itself."
        )
    return found[0]


def _read_table(path: Path, delimiter: str, header: bool | None, target: int | str) -> _Table:
    rows: list[tuple[int, list[str]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            try:
                rows.extend(
                    (reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)
                )
            except csv.Error as error:
                raise DataError(
                    f"cannot read the row: {error}.",
                    where=f"{path}, line {reader.line_num}",
                    fix="check the quotes of this row.",
                ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8.", where=str(path), fix="save the table as UTF-8 text."
        ) from error
    except OSError as error:
        raise DataError(f"cannot read it: {error.strerror or error}.", where=str(path)) from error
    if not rows:
        raise DataError("the file has no row.", where=str(path), fix="name a CSV file with data.")
    width = len(rows[0][1])
    if width < 2:
        raise DataError(
            f"the first row has one cell, {rows[0][1][0][:60]!r}, expected features and a target.",
            where=str(path),
            fix=f"set delimiter if cells are not parted by {delimiter!r}.",
        )
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(
                f"{len(cells)} cells, expected {width} as in the first row.",
                where=f"{path}, line {line}",
                fix="give every row the same cells; quote cells that hold the delimiter.",
            )
    first = [cell.strip() for cell in rows[0][1]]
    if header is None:
        names_target = isinstance(target, str) and target in first and _parse(target, int) is None
        header = names_target or _is_header(first, target, path)
    names = first if header else [f"column {number}" for number in range(1, width + 1)]
    if header:
        rows = rows[1:]
    return _Table(path, names, rows, _column(target, first if header else None, width, path))


def _is_header(first: list[str], target: int | str, path: Path) -> bool:
    """Whether the first row names the columns: then no feature in it is a number."""
    number = target if isinstance(target, int) else _parse(target, int)
    skipped = None if number is None else number % len(first)
    features = [cell for column, cell in enumerate(first) if column != skipped]
    numeric = [_parse(cell, float) is not None for cell in features]
    if any(numeric) and not all(numeric):
        raise DataError(
            f"it may be names or data: {features[numeric.index(False)]!r} stands beside numbers.",
            where=f"{path}, line 1",
            fix="set header to true or false.",
        )
    return not any(numeric)


def _column(target: int | str, names: list[str] | None, width: int, path: Path) -> int:
    if isinstance(target, str):
        if names is not None and names.count(target) == 1:
            return names.index(target)
        number = _parse(target, int)
        if number is None:
            if names is None:
                raise ConfigError(
                    f"target is {target!r}, but the columns have no names.",
                    where=str(path),
                    fix="give the number of the target column, from 0.",
                )
            count = "two columns are" if target in names else "no column is"
            raise ConfigError(
                f"{count} called {target!r}; there are {', '.join(names[:20])}.",
                where=str(path),
                fix="set target to the name or number of one column.",
            )
        target = number
    if not -width <= target < width:
        raise ConfigError(
            f"target is column {target}, expected {-width} to {width - 1}.",
            where=str(path),
            fix="columns count from 0; -1 is the last.",
        )
    return target % width


def _parse(cell: str, kind: type[Number]) -> Number | None:
    try:
        return None if "_" in cell else kind(cell)
    except ValueError:
        return None


def _all(cells: list[str], kind: type[Number]) -> list[Number] | None:
    values = [_parse(cell, kind) for cell in cells]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return [value for value in values if value is not None]


def _numbered(values: list[Key]) -> tuple[np.ndarray, list[str]]:
    """Labels from 0 in rising order of the values, and the values as class names."""
    order = sorted(set(values))
    labels = {value: label for label, value in enumerate(order)}
    return np.array([labels[value] for value in values], np.int64), [str(value) for value in order]
