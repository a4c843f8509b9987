"""Tables from CSV files: features of several kinds, and one target column of classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.standard import standardising
from bigmodel_datasets.table_columns import check_kinds
from bigmodel_datasets.table_features import features_of
from bigmodel_datasets.table_groups import groups_told, parted_by_groups
from bigmodel_datasets.table_reading import read_table
from bigmodel_datasets.table_target import READINGS, read_target
from bigmodel_datasets.table_weights import row_weights


@dataclass(frozen=True)
class Csv(bm.Dataset):
    """A table in a CSV file: each row a sample, one column the target, all others features.

    What a column holds is found out: numbers, truth values, categories, dates or texts; names of rows, and
    columns that tell nothing, are left out. Everything is fitted on the training rows. Numbers, and the
    targets of regression, are standardised in float64; gaps are filled with the median and are a feature of
    their own; categories are one-hot or codes, 0 being one that training did not tell apart; dates become
    days and cyclic parts, texts whether they have each frequent word. Class labels keep their text: 01 and 1
    are two classes.

    Args:
        target: name or number of the target column; numbers count from 0, negative ones from the end.
        header: whether the first row names the columns; None finds out.
        task: "classification", "binary" or "regression". None decides by the target: words are classes, and
            so are at most 20 different integers; all else is regression.
        test_fraction: share of the rows to hold out as test split; classes keep their proportions.
        seed: key of the choice of test rows.
        delimiter: character between two cells.
        columns: names or numbers of the columns that are features; all but the target if empty.
        drop: names or numbers of columns that are no features; rows can still be grouped by them, as
            `bigmodel evaluate --by` does.
        kinds: what columns hold, where it is not what is found, as in "zip:category"; the kinds are number,
            bool, category, date, text, id.
        categories: "one-hot", so that all features are numbers, or "embed": x is then a dict of `numbers`
            (n, k) and of `categories` (n, m) codes; None is what the model asks for, else "one-hot".
        weight: name or number of a column that says what each row counts in the loss; it is no feature.
        class_weights: "balanced" lets the rows of each class count as much in the loss as those of another,
            by how many of each are trained on; None leaves them.
        groups: name or number of a column whose cells say what belongs together, such as a customer: rows
            with one cell are all trained on, all validated with, or all tested on; it is no feature.
        validation_fraction: with groups, share of the rows to validate with, of those that are not tested on.
        scaling: of numbers: "standard" (mean 0, deviation 1) or "quantile", by which a share of the training
            rows becomes a place between -1 and 1, whatever outliers there are.

    `data_dir` is the file, or a folder of such files: CSV, TSV, JSON lines with an object in each, or Parquet
    (extra `table`), gzipped or not. The rows of all files of a folder are one table, unless they are called
    `train`, `test` and `validation`: then each is that split. All have the same columns, in any order.
    """

    name: ClassVar[str] = "csv"
    takes_frames: ClassVar[bool] = True
    target: int | str = -1
    header: bool | None = None
    task: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    categories: bm.columns.Form | None = None
    weight: int | str | None = None
    class_weights: Literal["balanced"] | None = None
    groups: int | str | None = None
    validation_fraction: float = 0.1
    scaling: bm.columns.Scaling = "standard"

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in READINGS:
            raise ConfigError(f"task is {self.task!r}, expected one of {', '.join(READINGS)}.", where="csv")
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ConfigError(f"delimiter is {self.delimiter!r}, expected one character.", where="csv")
        for name in ("columns", "drop", "kinds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_kinds(self.kinds)
        if self.scaling not in get_args(bm.columns.Scaling):
            raise ConfigError(
                f"scaling is {self.scaling!r}, expected {' or '.join(get_args(bm.columns.Scaling))}.",
                where="csv",
            )
        bm.check_number(self, "validation_fraction", above=0, below=1)
        if self.categories not in (None, *get_args(bm.columns.Form)):
            raise ConfigError(
                f"categories is {self.categories!r}, expected {' or '.join(get_args(bm.columns.Form))}.",
                where="csv",
            )
        if not 0.0 < self.test_fraction < 1.0:
            raise ConfigError(
                f"test_fraction is {self.test_fraction}, expected more than 0 and less than 1.", where="csv"
            )

    def suited(self, model: type) -> Csv:
        """With categories in the form that a class of models asks for."""
        asked = getattr(model, "categories_as", None)
        return self if self.categories is not None or asked is None else replace(self, categories=asked)

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; x is (n, features) float32 or a dict, y is (n,) int64 labels or (n, 1) float32
        standardised values.

        Raises:
            DataError: no file, or a cell that cannot be used; names file, line and column. Columns or classes
                that `like` does not know; names them.
            ConfigError: a target column that is not there, or a task that does not fit it.
        """
        found = read_table(self, data_dir, like)
        table, path = found.table, found.table.path
        if len(table.rows) < 2:
            raise DataError(
                f"there is {len(table.rows)} row of data, expected at least two.",
                where=str(path),
                fix="training and testing need one row each.",
            )
        target = read_target(table, self.task, like)
        labels = None if target.labels is None else target.y
        parts = found.parts
        if found.group is not None:
            parts = parted_by_groups(
                table, found.group, parts, self.test_fraction, self.validation_fraction, self.seed
            )
        elif "test" not in parts:
            rows = parts["train"]
            kept, held_out = bm.split_indices(
                len(rows), self.test_fraction, self.seed, classes=None if labels is None else labels[rows]
            )
            parts |= {"train": rows[kept], "test": rows[held_out]}
        kept = parts["train"]
        features = features_of(table, kept, like, self.kinds, self.categories or "one-hot", self.scaling)
        scaling = None
        if target.labels is None:
            scaling = standardising(target.y[kept], (1,)) if like is None else like.target_preprocessing
        everything = bm.Split(
            features.x,
            target.y if scaling is None else scaling.apply(target.y),
            weight=row_weights(table, found.weight, self.class_weights, labels, kept),
            columns=table.groups(found.group),
        )
        told_of_groups = () if found.group is None else (groups_told(table, found.group, parts),)
        title, known = table.names[table.target], features.columns
        is_named = table.is_named or known is not None
        names = features.names if is_named else like.features if like is not None else None
        told = features.names if known is None else known.names
        return bm.Data(
            name=self.name,
            train=everything.take(kept),
            test=everything.take(parts["test"]),
            validation=everything.take(parts["validation"]) if "validation" in parts else None,
            labels=target.labels,
            task=target.task,
            preprocessing=features.preprocessing,
            target_preprocessing=scaling,
            features=None if known is not None and known.form == "embed" else names,
            target=title if table.is_named else "",
            input_meaning=f"features: {', '.join(told)}",
            source=f"{path.name}, {len(table.rows)} rows, target {title} read as {target.what}",
            notes=(
                f"target {title} read as {target.reading}",
                *found.notes,
                *told_of_groups,
                *features.notes,
            ),
            columns=known,
            made_by=replace(
                self, task=target.task, categories=self.categories if known is None else known.form
            ),
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write rows of three classes, which two numbers tell apart."""
        numbers = np.random.default_rng(0).normal(size=(60, 2))
        rows = [f"{x + 3 * (n % 3):.4f},{y:.4f},{'abc'[n % 3]}\n" for n, (x, y) in enumerate(numbers)]
        (folder / "example.csv").write_text("".join(["width,height,kind\n", *rows]), "utf-8")
