"""Rows of a table that are their own targets, for models that give back what they get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.table_columns import check_kinds
from bigmodel_datasets.table_features import features_of
from bigmodel_datasets.table_reading import read_table


@dataclass(frozen=True)
class Rows(bm.Dataset):
    """A table whose rows are their own targets: what `autoencoder` learns from.

    The first line names the columns. What they hold is found out as `csv` does, gaps, categories, dates and
    texts as well as numbers, and fitted on the training rows; categories are one-hot. x and y are the same
    (n, features) float32.

    Args:
        columns: names of the columns that are features; all if empty.
        drop: names of columns that are left out, such as labels; `predict` does not need them.
        kinds: what columns hold, where it is not what is found, as in "zip:category".
        test_fraction: share of the rows to hold out as test split.
        seed: key of the choice of test rows.
        delimiter: character between two cells.

    `data_dir` is the file, or a folder of such files, of the kinds that `csv` reads.
    """

    name: ClassVar[str] = "rows"
    takes_frames: ClassVar[bool] = True
    header: ClassVar[bool | None] = True
    target: ClassVar[int | str | None] = None
    weight: ClassVar[int | str | None] = None
    groups: ClassVar[int | str | None] = None
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    test_fraction: float = 0.2
    seed: int = 0
    delimiter: str = ","

    def __post_init__(self) -> None:
        for name in ("columns", "drop", "kinds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_kinds(self.kinds, self.name)
        bm.check_number(self, "test_fraction", above=0, below=1)
        bm.check_number(self, "seed", whole=True, at_least=0)
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ConfigError(
                f"delimiter is {self.delimiter!r}, expected one character.",
                where=self.name,
                fix='use one, such as delimiter=";".',
            )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Sixty rows of three numbers, two of which say the third."""
        numbers = np.random.default_rng(0).normal(size=(60, 2))
        rows = [f"{a:.4f},{b:.4f},{a + b:.4f}\n" for a, b in numbers]
        (folder / "example.csv").write_text("".join(["left,right,sum\n", *rows]), "utf-8")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data.

        Raises:
            DataError: no file, or a cell that cannot be used; names file, line and column.
            ConfigError: an option names a column that is not there, or all columns are left out.
        """
        found = read_table(self, data_dir, like)
        table, path, parts = found.table, found.table.path, found.parts
        if len(table.rows) < 2:
            raise DataError(
                f"there is {len(table.rows)} row of data, expected at least two.",
                where=str(path),
                fix="training and testing need one row each.",
            )
        if "test" not in parts:
            rows = parts["train"]
            kept, held_out = bm.split_indices(len(rows), self.test_fraction, self.seed)
            parts |= {"train": rows[kept], "test": rows[held_out]}
        features = features_of(table, parts["train"], like, self.kinds, "one-hot")
        splits = {}
        for part, rows in parts.items():
            x = features.x[rows]
            splits[part] = bm.Split(x, x)
        told = features.names if features.columns is None else features.columns.names
        return bm.Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            task="regression",
            preprocessing=features.preprocessing,
            target_preprocessing=features.preprocessing,
            features=features.names,
            input_meaning=f"features: {', '.join(told)}",
            source=f"{path.name}, {len(table.rows)} rows",
            notes=(*found.notes, *features.notes),
            columns=features.columns,
        )
