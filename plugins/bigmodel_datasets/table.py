"""Tables from CSV files: numeric features, and one target column of classes or numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar, get_args

import numpy as np

from bigmodel_core.dataset import Data, Dataset, Preprocessing, Split, Task, split_indices
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Number, Table, column_of, parsed, read_rows
from bigmodel_datasets.one_file import one_file

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
        path = one_file(self.name, ".csv", data_dir)
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

    def _targets(self, table: Table) -> tuple[Task, np.ndarray, tuple[str, ...] | None]:
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


def _read_table(path: Path, delimiter: str, header: bool | None, target: int | str) -> Table:
    rows = read_rows(path, delimiter)
    width = len(rows[0][1])
    if width < 2:
        raise DataError(
            f"the first row has one cell, {rows[0][1][0][:60]!r}, expected features and a target.",
            where=str(path),
            fix=f"set delimiter if cells are not parted by {delimiter!r}.",
        )
    first = [cell.strip() for cell in rows[0][1]]
    if header is None:
        names_target = isinstance(target, str) and target in first and parsed(target, int) is None
        header = names_target or _is_header(first, target, path)
    names = first if header else [f"column {number}" for number in range(1, width + 1)]
    if header:
        rows = rows[1:]
    return Table(path, names, rows, column_of(target, first if header else None, width, path))


def _is_header(first: list[str], target: int | str, path: Path) -> bool:
    """Whether the first row names the columns: then no feature in it is a number."""
    number = target if isinstance(target, int) else parsed(target, int)
    skipped = None if number is None else number % len(first)
    features = [cell for column, cell in enumerate(first) if column != skipped]
    numeric = [parsed(cell, float) is not None for cell in features]
    if any(numeric) and not all(numeric):
        raise DataError(
            f"it may be names or data: {features[numeric.index(False)]!r} stands beside numbers.",
            where=f"{path}, line 1",
            fix="set header to true or false.",
        )
    return not any(numeric)


def _all(cells: list[str], kind: type[Number]) -> list[Number] | None:
    values = [parsed(cell, kind) for cell in cells]
    if any(value is None or not math.isfinite(value) for value in values):
        return None
    return [value for value in values if value is not None]


def _numbered(values: list[Key]) -> tuple[np.ndarray, list[str]]:
    """Labels from 0 in rising order of the values, and the values as class names."""
    order = sorted(set(values))
    labels = {value: label for label, value in enumerate(order)}
    return np.array([labels[value] for value in values], np.int64), [str(value) for value in order]
