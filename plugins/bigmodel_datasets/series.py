"""Time series in CSV files cut into windows: a run of rows, and the values that come next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.dates import KINDS
from bigmodel_datasets.one_file import one_file
from bigmodel_datasets.series_file import Recorded, read_series
from bigmodel_datasets.standard import known_for, standardising


@dataclass(frozen=True)
class Series(bm.Dataset):
    """Time series in a CSV file: values are forecast from those before them; a row is a point in time.

    A sample is a window of `length` rows of all columns, (length, columns), its target the `horizon` values
    that follow: (horizon,) of one column, (horizon, k) of several. The last `test_fraction` of the windows of
    each series are the test split; no training sample reaches into their targets. Columns are standardised in
    float64 with the mean and deviation of the rows that training sees, targets too; `Trainer.predict` and
    metrics are in the units of the file. A validation split is the end of the training samples, and windows
    that reach into it are left out.

    Args:
        column: name or number of the one column to forecast; numbers count from 0, negative ones from the
            end. It is not used if `target` or `columns` are given.
        length: rows in a sample.
        header: whether the first row names the columns; None finds out.
        test_fraction: share of the windows, the latest ones, in the test split.
        delimiter: character between two cells.
        target: columns to forecast; those of `columns` if there are none.
        columns: columns that a sample has; those of `target` besides.
        known: columns known in advance, such as holidays or prices: a sample has them `horizon` rows ahead,
            too. Rows at the end in which only these are filled are the future of a forecast.
        horizon: how many values are forecast at once.
        date: column of dates, which have to be one step apart. It gives a sample sine and cosine of hour,
            weekday and month.
        calendar: which of these; what differs from row to row if there are none, and "none" for none.
        by: column that names the series of each row, if there are several; no window has rows of two.
        season: rows until the series comes round again, such as 12 for months; 0 if it does not. It is what
            the seasonal naive forecast repeats, and the model does not know it.
        gaps: "refuse" empty cells, or "fill" them along a straight line between their neighbours.
        step: how far dates are apart, as decided in training.
        seen: names of the series in training.

    `data_dir` is the file, or a folder with this one `.csv` file in it.
    """

    name: ClassVar[str] = "series"
    column: int | str = -1
    length: int = 20
    header: bool | None = None
    test_fraction: float = 0.2
    delimiter: str = ","
    target: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    horizon: int = 1
    date: str = ""
    calendar: tuple[str, ...] = ()
    by: str = ""
    season: int = 0
    gaps: str = "refuse"
    step: str = ""
    seen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bm.check_number(self, "length", whole=True, at_least=1)
        bm.check_number(self, "horizon", whole=True, at_least=1)
        bm.check_number(self, "season", whole=True, at_least=0)
        bm.check_number(self, "test_fraction", above=0, below=1)
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ConfigError(f"delimiter is {self.delimiter!r}, expected one character.", where="series")
        for field in ("target", "columns", "known", "calendar", "seen"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.gaps not in ("refuse", "fill"):
            raise ConfigError(f"gaps is {self.gaps!r}, expected refuse or fill.", where="series")
        if unknown := [kind for kind in self.calendar if kind not in (*KINDS, "none")]:
            raise ConfigError(
                f"calendar is {unknown[0]!r}, expected {', '.join(KINDS)} or none.", where="series"
            )
        if self.season > self.length:
            raise ConfigError(
                f"a season of {self.season} rows does not fit in a window of {self.length}.",
                where="series",
                fix=f"use a length of at least {self.season}.",
            )
        if self.known and self.length < self.horizon:
            raise ConfigError(
                f"windows of {self.length} rows cannot show what is known of {self.horizon} rows ahead.",
                where="series",
                fix=f"use a length of at least {self.horizon}.",
            )

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; x is (n, length, columns) float32, y is (n, horizon) or (n, horizon, k) float32.

        Raises:
            DataError: no file, a cell or date that cannot be used (names file, line and column), or too few
                values.
            ConfigError: a column that is not there.
        """
        path = one_file(self.name, ".csv", data_dir)
        found = read_series(path, self)
        cut = [self._cut(line, path) for line in found.lines]
        seen = np.concatenate(
            [line.columns(0, self._seen(line, test)) for line, test in zip(found.lines, cut, strict=True)]
        )
        k, wide = found.lines[0].values.shape[1], seen.shape[1]
        shape = (self.length, wide)
        preprocessing = known_for(like, shape) or tiled(standardising(seen, (wide,)), shape)
        scaling = self._target_scaling(preprocessing, wide, k)
        parts: dict[str, list[tuple[np.ndarray, ...]]] = {"train": [], "test": []}
        for number, (line, test) in enumerate(zip(found.lines, cut, strict=True)):
            x, y = line.windows()
            y = y if k > 1 else y[..., 0]
            # Series are ordered by the time that is left to their ends, so that the last samples are the
            # latest of each.
            left = np.arange(len(x))[::-1]
            first = len(x) - test
            for part, rows in (
                ("train", slice(0, first - self.horizon + 1)),
                ("test", slice(first, None)),
            ):
                whose = np.full(len(x[rows]), number)
                parts[part].append(
                    (preprocessing.apply(x[rows]), scaling.apply(y[rows]), left[rows] * -1, whose)
                )
        splits = {part: self._split(items, found) for part, items in parts.items()}
        title = ", ".join(found.targets)
        several = f" of {len(found.lines)} series" if self.by else ""
        return bm.Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            task="regression",
            preprocessing=preprocessing,
            target_preprocessing=scaling,
            target=title if found.is_named else "",
            input_meaning=f"{self.length} successive values of {', '.join(found.inputs)}{several}",
            source=f"{path.name}, {found.rows} rows, {title}",
            notes=found.notes,
            made_by=found.made_by,
        )

    def timelines(self, data_dir: Path | None, encoding: bm.Encoding) -> list[bm.Timeline]:
        """The whole series in the file; see `Dataset.timelines`."""
        return list(read_series(one_file(self.name, ".csv", data_dir), self).lines)

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write a wave with noise, a value for each of 120 days."""
        noise = np.random.default_rng(0).normal(size=120)
        rows = [f"{day},{10 * np.sin(day / 6) + noise[day]:.4f}\n" for day in range(120)]
        (folder / "example.csv").write_text("".join(["day,value\n", *rows]), "utf-8")

    def _cut(self, line: bm.Timeline, path: Path) -> int:
        """How many windows of a series, the last ones, are the test split."""
        count = max(len(line) - self.length - self.horizon + 1, 0)
        test = round(count * self.test_fraction)
        if not 0 < test <= count - self.horizon:
            ahead = "" if self.horizon == 1 else f" with {self.horizon} values after each"
            raise DataError(
                f"{len(line)} values give {count} windows of {self.length}{ahead}, too few for splits.",
                where=f"{path}: {line.name}" if line.name else str(path),
                fix=f"use shorter windows{'' if self.horizon == 1 else ', a shorter horizon'}, or another"
                " test_fraction.",
            )
        return test

    def _seen(self, line: bm.Timeline, test: int) -> int:
        """The rows that training may see."""
        return len(line) - self.horizon + 1 - test

    def _target_scaling(self, steps: bm.Preprocessing, wide: int, k: int) -> bm.Preprocessing:
        if wide == 1:
            return replace(steps, raw_shape=(self.horizon,))
        shape = (self.horizon,) if k == 1 else (self.horizon, k)
        mean, std = np.array(steps.mean)[:k], np.array(steps.std)[:k]
        return tiled(bm.Preprocessing(1.0, tuple(mean), tuple(std), steps.raw_dtype, (k,)), shape)

    def _split(self, items: list[tuple[np.ndarray, ...]], found: Recorded) -> bm.Split:
        x, y, time, whose = (np.concatenate(arrays) for arrays in zip(*items, strict=True))
        reach = (self.length + self.horizon - 1) * len(items)
        if len(items) == 1:
            return bm.Split(x, y, reach=reach)
        order = np.lexsort((whose, time))
        names = np.array([line.name for line in found.lines])[whose[order]]
        return bm.Split(x[order], y[order], reach=reach, columns={self.by: names})


def tiled(steps: bm.Preprocessing, shape: tuple[int, ...]) -> bm.Preprocessing:
    """Steps for each column as steps for windows of them, or for runs of the only one."""
    if len(steps.mean) == 1:
        return replace(steps, raw_shape=shape)
    rows = shape[0]
    return replace(steps, mean=steps.mean * rows, std=steps.std * rows, raw_shape=shape)
