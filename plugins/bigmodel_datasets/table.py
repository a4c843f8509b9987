"""Tables from CSV files: numeric features, and one target column of classes or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Table, column_of, parsed, read_rows
from bigmodel_datasets.one_file import one_file
from bigmodel_datasets.standard import known_for, standardising
from bigmodel_datasets.table_target import read_target


@dataclass(frozen=True)
class Csv(bm.Dataset):
    """A table in a CSV file: each row a sample, one column the target, all others numeric features.

    Features, and the targets of regression, are standardised in float64 with the mean and deviation of the
    training rows. Class labels keep their text: 01 and 1 are two classes.

    Args:
        target: name or number of the target column; numbers count from 0, negative ones from the end.
        header: whether the first row names the columns; None finds out.
        task: "classification", "binary" or "regression". None decides by the target: words are classes, and
            so are at most 20 different integers; all else is regression.
        test_fraction: share of the rows to hold out as test split; classes keep their proportions.
        seed: key of the choice of test rows.
        delimiter: character between two cells.
        without: names or numbers of columns that are no features, and may hold words; rows can still be
            grouped by them, as `bigmodel evaluate --by` does.

    `data_dir` is the file, or a folder with this one `.csv` file in it.
    """

    name: ClassVar[str] = "csv"
    target: int | str = -1
    header: bool | None = None
    task: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    delimiter: str = ","
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in get_args(bm.Task):
            raise ConfigError(
                f"task is {self.task!r}, expected one of {', '.join(get_args(bm.Task))}.", where="csv"
            )
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ConfigError(f"delimiter is {self.delimiter!r}, expected one character.", where="csv")
        object.__setattr__(self, "without", tuple(self.without))
        if not 0.0 < self.test_fraction < 1.0:
            raise ConfigError(
                f"test_fraction is {self.test_fraction}, expected more than 0 and less than 1.", where="csv"
            )

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; x is (n, features) float32, y is (n,) int64 labels or (n, 1) float32 standardised values.

        Raises:
            DataError: no file, or a cell that cannot be used; names file, line and column. Columns or classes
                that `like` does not know; names them.
            ConfigError: a target column that is not there, or a task that does not fit it.
        """
        path = one_file(self.name, ".csv", data_dir)
        table = _read_table(path, self.delimiter, self.header, self.target, like, self.without)
        columns = _columns(table, like)
        features = np.array(
            [[table.number(row, column) for column in columns] for row in table.rows], np.float64
        )
        if len(features) < 2:
            raise DataError(
                f"there is {len(features)} row of data, expected at least two.",
                where=str(path),
                fix="training and testing need one row each.",
            )
        target = read_target(table, self.task, like)
        kept, held_out = bm.split_indices(
            len(features), self.test_fraction, self.seed, classes=None if target.labels is None else target.y
        )
        preprocessing = known_for(like, features.shape[1:]) or standardising(
            features[kept], features.shape[1:]
        )
        scaling = None
        if target.labels is None:
            scaling = standardising(target.y[kept], (1,)) if like is None else like.target_preprocessing
        everything = bm.Split(
            preprocessing.apply(features),
            target.y if scaling is None else scaling.apply(target.y),
            columns=table.groups(),
        )
        names = tuple(table.names[column] for column in columns)
        title = table.names[table.target]
        return bm.Data(
            name=self.name,
            train=everything.take(kept),
            test=everything.take(held_out),
            labels=target.labels,
            task=target.task,
            preprocessing=preprocessing,
            target_preprocessing=scaling,
            features=names if table.is_named else like.features if like is not None else None,
            target=title if table.is_named else "",
            input_meaning=f"features: {', '.join(names)}",
            source=f"{path.name}, {len(features)} rows, target {title} read as {target.what}",
            notes=(f"target {title} read as {target.reading}",),
            made_by=replace(self, task=target.task),
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write rows of three classes, which two numbers tell apart."""
        numbers = np.random.default_rng(0).normal(size=(60, 2))
        rows = [f"{x + 3 * (n % 3):.4f},{y:.4f},{'abc'[n % 3]}\n" for n, (x, y) in enumerate(numbers)]
        (folder / "example.csv").write_text("".join(["width,height,kind\n", *rows]), "utf-8")


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


def _read_table(
    path: Path,
    delimiter: str,
    header: bool | None,
    target: int | str,
    like: bm.Encoding | None,
    without: Sequence[str],
) -> Table:
    rows = read_rows(path, delimiter)
    width = len(rows[0][1])
    if width < 2:
        raise DataError(
            f"the first row has one cell, {rows[0][1][0][:60]!r}, expected features and a target.",
            where=str(path),
            fix=f"set delimiter if cells are not separated by {delimiter!r}.",
        )
    first = [cell.strip() for cell in rows[0][1]]
    if header is None and like is not None and like.features is not None and set(like.features) & set(first):
        header = any(parsed(name, float) is None for name in like.features) or set(like.features) <= set(
            first
        )
    if header is None:
        names_target = isinstance(target, str) and target in first and parsed(target, int) is None
        header = names_target or _is_header(first, target, path)
    if (
        header
        and like is not None
        and like.target in first
        and target == getattr(like.made_by(), "target", None)
    ):
        target = like.target  # wherever it stands in this file
    names = first if header else [f"column {number}" for number in range(1, width + 1)]
    if header:
        rows = rows[1:]
    column = column_of(target, first if header else None, width, path)
    if header and like is not None and like.features is not None and first[column] in like.features:
        raise DataError(
            f"there is no column {like.target or target!r} of targets; there are {', '.join(first[:20])}.",
            where=str(path),
            fix="add it, or name the column with target; predict needs none.",
        )
    titles = first if header else None
    left_out = frozenset(column_of(name, titles, width, path, "without") for name in without)
    if len(left_out | {column}) == width:
        raise ConfigError(
            "without leaves no column for features.", where=str(path), fix="leave fewer columns out."
        )
    return Table(path, names, rows, column, header, left_out)


def _is_header(first: list[str], target: int | str, path: Path) -> bool:
    """Whether the first row names the columns: then no feature in it is a number."""
    number = target if isinstance(target, int) else parsed(target, int)
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
