"""What forecasts without a network reach on a series: a model that is worse has learned nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.dataset import Dataset
from bigmodel_core.data.split import Split
from bigmodel_core.errors import UsageError


@dataclass(frozen=True)
class ForecastError:
    """How far forecasts of a series are from what came.

    Args:
        name: what made them.
        mae: the mean absolute error in the units of the series.
        mase: that error divided by the one that the naive forecast of one step (of one season, where there is
            one) has in training (Hyndman and Koehler, 2006), the mean over columns; None if that is 0.
    """

    name: str
    mae: float
    mase: float | None

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON-able values."""
        return asdict(self)


def is_series(data: Data) -> bool:
    """Whether samples are windows of series, so that forecasts can be compared."""
    made = data.made_by
    return (
        made is not None
        and type(made).timelines is not Dataset.timelines
        and isinstance(data.train.x, np.ndarray)
        and data.train.x.ndim == 3
        and isinstance(data.train.y, np.ndarray)
    )


def baselines(data: Data, split: Split | None = None) -> list[ForecastError]:
    """The errors of simple forecasts of a series.

    They are: the last value (naive); the value one season before (seasonal naive), if the data set has a
    `season`; a linear autoregression by least squares, on the training samples, of each column's own window.

    Args:
        data: of a series.
        split: the samples that are forecast; the test split if None.

    Raises:
        UsageError: the data are no series.

    >>> import bigmodel_core as bm
    >>> [item.name for item in bm.baselines(bm.datasets.load("sunspots"))]
    ['naive', 'linear autoregression']
    """
    if not is_series(data):
        raise UsageError(
            "its samples are no windows of a series.", where=data.name, fix="load the data set series."
        )
    split = data.test if split is None else split
    return [forecast_error(name, data, split, made) for name, made in _made(data, split).items()]


def forecast_error(name: str, data: Data, split: Split, predicted: np.ndarray) -> ForecastError:
    """The error of forecasts of the samples of a split.

    Args:
        name: what made them.
        data: the split is of.
        split: the samples.
        predicted: in the units of the series, of the shape of `split.truth`.
    """
    truth = by_column(split.truth)
    errors = np.abs(by_column(np.asarray(predicted, np.float64)) - truth)
    step = max(_season(data), 1)
    usual = np.abs(
        by_column(data.train.truth)[:, 0] - _raw(data, data.train)[:, -step, : truth.shape[2]]
    ).mean(0)
    mase = float((errors.mean((0, 1)) / usual).mean()) if usual.all() else None
    return ForecastError(name, float(errors.mean()), mase)


def _made(data: Data, split: Split) -> dict[str, np.ndarray]:
    truth, raw, season = by_column(split.truth), _raw(data, split), _season(data)
    horizon, k = truth.shape[1:]
    length = raw.shape[1]
    found = {"naive": np.repeat(raw[:, -1:, :k], horizon, 1)}
    if 0 < season <= length:
        found[f"seasonal naive ({season})"] = raw[:, length - season + np.arange(horizon) % season, :k]
    y = by_column(data.train.y).astype(np.float64)
    linear = np.empty(truth.shape)
    for column in range(k):
        weights, *_ = np.linalg.lstsq(_lags(data.train.x, column), y[:, :, column], rcond=None)
        linear[..., column] = _lags(split.x, column) @ weights
    steps = data.target_preprocessing
    shape = np.shape(split.truth)
    found["linear autoregression"] = (
        linear if steps is None else by_column(steps.invert(linear.reshape(shape)))
    )
    return found


def _lags(x: np.ndarray, column: int) -> np.ndarray:
    """The window of a column, and 1."""
    return np.concatenate([x[..., column].astype(np.float64), np.ones((len(x), 1))], 1)


def _raw(data: Data, split: Split) -> np.ndarray:
    return split.x if data.preprocessing is None else data.preprocessing.invert(split.x)


def by_column(values: Any) -> np.ndarray:
    """(n, horizon, k) of (n, horizon) or (n, horizon, k)."""
    array = np.asarray(values, np.float64)
    return array[..., np.newaxis] if array.ndim == 2 else array


def _season(data: Data) -> int:
    return int(getattr(data.made_by, "season", 0))
