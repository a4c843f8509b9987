"""Rows of a table that are their own targets, for models that give back what they get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Table, column_of
from bigmodel_datasets.one_file import one_file
from bigmodel_datasets.standard import standardising


@dataclass(frozen=True)
class Rows(bm.Dataset):
    """A table of numbers whose rows are their own targets: what `autoencoder` learns from.

    The first line names the columns, which are standardised in float64 with the mean and deviation of the
    training rows; x and y are the same (n, k) float32.

    Args:
        drop: names of columns that are left out, such as labels, and may hold words.
        test_fraction: share of the rows to hold out as test split.
        seed: key of the choice of test rows.
        delimiter: character between two cells.

    `data_dir` is the file, or a folder with this one file in it, of the kinds that `csv` reads.
    """

    name: ClassVar[str] = "rows"
    drop: tuple[str, ...] = ()
    test_fraction: float = 0.2
    seed: int = 0
    delimiter: str = ","

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop", tuple(self.drop))
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

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data.

        Raises:
            DataError: no file, or a cell that is no number; names file, line and column.
            ConfigError: `drop` names a column that is not there, or all columns.
        """
        path = one_file(self.name, bm.table_files.SUFFIXES, data_dir)
        names, numbers = self._read(path)
        if len(numbers) < 2:
            raise DataError(
                f"there is {len(numbers)} row of data, expected at least two.",
                where=str(path),
                fix="training and testing need one row each.",
            )
        kept, held_out = bm.split_indices(len(numbers), self.test_fraction, self.seed)
        steps = standardising(numbers[kept], numbers.shape[1:])
        x = steps.apply(numbers)
        return bm.Data(
            name=self.name,
            train=bm.Split(x[kept], x[kept]),
            test=bm.Split(x[held_out], x[held_out]),
            task="regression",
            preprocessing=steps,
            target_preprocessing=steps,
            input_meaning=f"features: {', '.join(names)}",
            source=f"{path.name}, {len(numbers)} rows",
            features=names,
        )

    def _read(self, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
        (_, first), *rows = bm.table_files.read_rows(path, self.delimiter)
        header = [name.strip() for name in first]
        left_out = frozenset(column_of(name, header, len(header), path, "drop") for name in self.drop)
        table = Table(path, header, rows, target=-1, left_out=left_out)  # no column is the target
        if not table.features:
            raise ConfigError("drop leaves no column.", where=str(path), fix="leave fewer columns out.")
        numbers = [[table.number(row, column) for column in table.features] for row in rows]
        names = tuple(header[column] for column in table.features)
        return names, np.array(numbers, np.float64).reshape(-1, len(names))
