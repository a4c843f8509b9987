"""Rows of a table that are their own targets, for models that give back what they get."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.one_file import one_file
from bigmodel_datasets.standard import standardising


@dataclass(frozen=True)
class Rows(bm.Dataset):
    """A table of numbers in a CSV file whose rows are their own targets: what `autoencoder` learns from.

    The first line names the columns, which are standardised in float64 with the mean and deviation of the
    training rows; x and y are the same (n, k) float32.

    Args:
        without: names of columns that are left out, such as labels, and may hold words.
        test_fraction: share of the rows to hold out as test split.
        seed: key of the choice of test rows.
        delimiter: character between two cells.

    `data_dir` is the file, or a folder with this one `.csv` file in it.
    """

    name: ClassVar[str] = "rows"
    without: tuple[str, ...] = ()
    test_fraction: float = 0.2
    seed: int = 0
    delimiter: str = ","

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", tuple(self.without))
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
            ConfigError: `without` names a column that is not there, or all columns.
        """
        path = one_file(self.name, ".csv", data_dir)
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
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, delimiter=self.delimiter)
                lines = [(reader.line_num, cells) for cells in reader if cells]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"it cannot be read: {error}.", where=str(path), fix="save it as UTF-8."
            ) from None
        header = [name.strip() for name in lines[0][1]] if lines else []
        lost = [name for name in self.without if name not in header]
        kept = [place for place, name in enumerate(header) if name not in self.without]
        if lost or not kept:
            what = f"there is no column '{lost[0]}'" if lost else "without leaves no column"
            raise ConfigError(
                f"{what}; the first line has {', '.join(header[:10]) or 'nothing'}.",
                where=str(path),
                fix="name columns that are there, and leave some.",
            )
        found = np.empty((len(lines) - 1, len(kept)))
        for row, (line, cells) in enumerate(lines[1:]):
            where = f"{path}, line {line}"
            if len(cells) != len(header):
                raise DataError(
                    f"it has {len(cells)} cells, expected {len(header)}.", where=where, fix="mend the line."
                )
            for column, place in enumerate(kept):
                found[row, column] = _number(cells[place], header[place], where)
        return tuple(header[place] for place in kept), found


def _number(cell: str, column: str, where: str) -> float:
    try:
        found = float(cell)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise DataError(
            f"{cell!r} in the column '{column}' is no number.",
            where=where,
            fix=f"fill the gap, or leave the column out: rows:without={column}.",
        )
    return found
