"""Series that need no file of one's own: yearly sunspots, and sine waves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError


def windows(series: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """All runs of `length` values of a series, (n, length, 1), and the value after each, (n, 1).

    >>> x, y = windows(np.arange(5.0), 3)
    >>> x[..., 0].tolist(), y[:, 0].tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], [3.0, 4.0])
    """
    runs = np.lib.stride_tricks.sliding_window_view(series, length)[: len(series) - length]
    return np.ascontiguousarray(runs[..., np.newaxis]), series[length:, np.newaxis].copy()


def _refuse_folder(name: str, data_dir: Path | None) -> None:
    if data_dir is not None:
        raise DataError(
            f"{name} is not read from a folder.",
            where=str(data_dir),
            fix="leave the data directory out, or load another data set from it.",
        )


@dataclass(frozen=True)
class Sunspots(bm.Dataset):
    """Yearly mean sunspot numbers from 1700 to 2008, forecast from the years before.

    A sample is a run of years (length, 1), its target the year that follows, both in hundreds of spots;
    `Trainer.predict` and metrics are in spots. The
    last `test_fraction` of the years are the test targets; no training sample sees them. It comes with the
    package (NOAA's National Geophysical Data Center, public domain).

    Args:
        length: years in a sample.
        test_fraction: share of the targets, the latest ones, in the test split.

    >>> data = Sunspots(length=20).load()
    >>> data.train.x.shape, data.test.x.shape
    ((217, 20, 1), (72, 20, 1))
    """

    name: ClassVar[str] = "sunspots"
    length: int = 20
    test_fraction: float = 0.25

    def __post_init__(self) -> None:
        bm.check_number(self, "length", whole=True, at_least=1)
        bm.check_number(self, "test_fraction", above=0, below=1)

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; x is (n, length, 1) float32, y is (n, 1) float32.

        Raises:
            DataError: the installed file is damaged, a folder was named, or too few windows for two splits.
        """
        _refuse_folder(self.name, data_dir)
        x, y = windows(_bundled(), self.length) if self.length < 309 else (np.zeros(0), np.zeros(0))
        test = round(len(y) * self.test_fraction)
        if not 0 < test < len(y):
            raise DataError(
                f"309 years give {max(309 - self.length, 0)} windows of {self.length}, too few for splits.",
                where=self.name,
                fix="use shorter windows, or another test_fraction.",
            )
        preprocessing = bm.Preprocessing(scale=1 / 100, raw_dtype="float32", raw_shape=(self.length, 1))
        spots = replace(preprocessing, raw_shape=(1,))
        x, y = preprocessing.apply(x), spots.apply(y)
        return bm.Data(
            name=self.name,
            train=bm.Split(x[:-test], y[:-test], reach=self.length),
            test=bm.Split(x[-test:], y[-test:], reach=self.length),
            task="regression",
            preprocessing=preprocessing,
            target_preprocessing=spots,
            input_meaning=f"mean sunspot numbers of {self.length} successive years",
            source="Yearly mean sunspot numbers 1700 to 2008, National Geophysical Data Center (NOAA), public"
            " domain",
        )

    def timelines(self, data_dir: Path | None, encoding: bm.Encoding) -> list[bm.Timeline]:
        """All years; see `Dataset.timelines`."""
        _refuse_folder(self.name, data_dir)
        years = _bundled()[:, np.newaxis].astype(np.float64)
        return [
            bm.Timeline(years, length=self.length, targets=("sunspots",), date=lambda row: str(1700 + row))
        ]


def _bundled() -> np.ndarray:
    resource = files("bigmodel_datasets") / "data" / "sunspots.csv"
    try:
        lines = resource.read_text("utf-8").split()[1:]
        series = np.array([float(line.partition(",")[2]) for line in lines], np.float32)
    except (OSError, ValueError) as error:
        series, problem = np.zeros(0, np.float32), f"cannot read it: {error}."
    else:
        problem = f"it holds {len(series)} years."
    if len(series) != 309:
        raise DataError(
            problem, where="sunspots.csv", fix="install bigmodel again; its data file is damaged."
        )
    return series


@dataclass(frozen=True)
class Sine(bm.Dataset):
    """Sine waves of random phase and frequency; the target is the next value.

    Args:
        length: values in a sample.
        samples: how many waves there are; the last fifth is the test split.
        noise: deviation of the normal noise on the values of a sample; targets have none.
        seed: key of phases, frequencies and noise.

    >>> Sine(length=30, samples=100).load().train.x.shape
    (80, 30, 1)
    """

    name: ClassVar[str] = "sine"
    length: int = 50
    samples: int = 1000
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        bm.check_number(self, "length", whole=True, at_least=1)
        bm.check_number(self, "samples", whole=True, at_least=5)
        bm.check_number(self, "noise", at_least=0)
        bm.check_number(self, "seed", whole=True, at_least=0)

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; x is (n, length, 1) float32, y is (n, 1) float32.

        Raises:
            DataError: a folder was named.
        """
        _refuse_folder(self.name, data_dir)
        generator = np.random.default_rng(self.seed)
        phase = generator.uniform(0, 2 * np.pi, (self.samples, 1))
        frequency = generator.uniform(0.1, 0.5, (self.samples, 1))
        values = np.sin(phase + frequency * np.arange(self.length + 1))
        y = values[:, -1:].astype(np.float32)
        x = values[:, :-1] + self.noise * generator.normal(size=(self.samples, self.length))
        preprocessing = bm.Preprocessing(raw_dtype="float32", raw_shape=(self.length, 1))
        everything = bm.Split(preprocessing.apply(x[..., np.newaxis]), y)
        test = np.arange(self.samples - self.samples // 5, self.samples)
        return bm.Data(
            name=self.name,
            train=everything.take(np.arange(test[0])),
            test=everything.take(test),
            task="regression",
            preprocessing=preprocessing,
            input_meaning=f"{self.length} successive values of a sine wave",
            source="computed; no licence needed",
        )
