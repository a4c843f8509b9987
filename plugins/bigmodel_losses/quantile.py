"""The pinball loss, by which a model learns quantiles: intervals in which what comes will lie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Quantile(bm.Loss):
    """The pinball loss of several quantiles (Koenker and Bassett, 1978), their mean.

    Predictions have an axis more than targets, at the end, with a number for each quantile. With the error
    e = target - prediction, a quantile t costs t * e where e is positive, else (t - 1) * e.

    Args:
        quantiles: their levels, between 0 and 1, the least first.

    Raises:
        ConfigError: levels are not between 0 and 1 and growing.
        ShapeError: predictions have another shape.
    """

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantiles", checked_levels(self.quantiles, "Quantile"))

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction = bm.one_output(self, prediction)
        wanted = (*target.shape, len(self.quantiles))
        if prediction.shape != wanted:
            raise ShapeError(
                f"Quantile needs predictions of {bm.format_shape(wanted)}, a number for each of"
                f" {len(self.quantiles)} quantiles, got {bm.format_shape(prediction.shape)}.",
                fix="use a model that gives quantiles, such as n-beats or tcn, with the same ones.",
            )
        error = ops.expand_dims(target.astype(prediction.dtype), -1) - prediction
        levels = np.array(self.quantiles, prediction.dtype)
        return ops.mean(ops.maximum(error * levels, error * (levels - 1)), -1)

    def point(self, prediction: np.ndarray) -> np.ndarray:
        """The quantile that is nearest to the median."""
        return prediction[..., int(np.abs(np.array(self.quantiles) - 0.5).argmin())]


def checked_levels(given: Any, where: str) -> tuple[float, ...]:
    """The levels of quantiles.

    Raises:
        ConfigError: they are not between 0 and 1 and growing.
    """
    try:
        levels = tuple(float(level) for level in given)
    except (TypeError, ValueError):
        levels = ()
    ends = (0.0, *levels, 1.0)
    if not levels or any(low >= high for low, high in itertools.pairwise(ends)):
        raise ConfigError(
            f"quantiles is {given!r}, expected numbers between 0 and 1 that grow.",
            where=where,
            fix="as in quantiles=(0.1, 0.5, 0.9).",
            shell="as in quantiles=0.1,0.5,0.9.",
        )
    return levels
