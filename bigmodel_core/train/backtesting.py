"""Errors of forecasts from moving origins: how they differ from time to time, and grow with the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.split import Split
from bigmodel_core.errors import UsageError
from bigmodel_core.train.baselines import by_column, is_series


@dataclass(frozen=True, eq=False)
class Backtest:
    """Mean absolute errors by origin and step, in the units of the series.

    Args:
        origins: the first date that is forecast from each, or how many rows before the end it is.
        errors: (origins, horizon), of the model.
        naive: (origins, horizon), of the last value before the origin.
    """

    origins: tuple[str, ...]
    errors: np.ndarray
    naive: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """The errors as JSON-able values."""
        return {
            "origins": list(self.origins),
            "errors": self.errors.tolist(),
            "naive": self.naive.tolist(),
        }


def backtest(data: Data, split: Split, predicted: np.ndarray, origins: int) -> Backtest:
    """The errors of forecasts from some origins, evenly spaced over the windows of a split.

    The model is the same for all of them. Of several series, the origins are as far from the end in each, and
    errors are means over the series that have them.

    Args:
        data: of a series.
        split: the windows.
        predicted: what is forecast of each, in the units of the series, of the shape of `split.truth`.
        origins: how many.

    Raises:
        UsageError: the data are no series, or there are fewer windows.
    """
    if not is_series(data):
        raise UsageError("its samples are no windows of a series.", where=data.name, fix="leave it out.")
    assert data.made_by is not None
    by = getattr(data.made_by, "by", "")
    whose = split.columns[by] if by else np.zeros(len(split), np.int64)
    left = np.empty(len(split), np.int64)
    for name in np.unique(whose):
        places = np.flatnonzero(whose == name)
        left[places] = np.arange(len(places))[::-1]
    if not 1 <= origins <= left.max() + 1:
        raise UsageError(
            f"{origins} origins were asked for, and there are {left.max() + 1} windows.",
            where=data.name,
            fix=f"ask for at most {left.max() + 1}.",
        )
    truth = by_column(split.truth)
    steps = data.preprocessing
    raw = split.x if steps is None else steps.invert(split.x)
    errors = np.abs(by_column(predicted) - truth).mean(2)
    naive = np.abs(raw[:, -1:, : truth.shape[2]] - truth).mean(2)
    chosen = np.rint(np.linspace(left.max(), 0, origins)).astype(np.int64)
    found = [np.flatnonzero(left == distance) for distance in chosen]
    return Backtest(
        tuple(_title(data, split, int(distance), bool(by)) for distance in chosen),
        np.stack([errors[places].mean(0) for places in found]),
        np.stack([naive[places].mean(0) for places in found]),
    )


def _title(data: Data, split: Split, distance: int, are_several: bool) -> str:
    """What an origin is called; only the test split ends where the series does."""
    assert data.made_by is not None
    if not are_several and split is data.test:
        (line,) = data.made_by.timelines(data.data_dir, data.encoding)
        if line.date is not None:
            return line.date(len(line) - line.horizon - distance)
    return f"{distance} before the last"
