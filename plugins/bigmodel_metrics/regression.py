"""Errors of predicted numbers, and the share of variance they explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError, DtypeError


class _MeanOfErrors(bm.Metric):
    """The mean over all numbers of some error of each; sums are kept in float64."""

    higher_is_better: ClassVar[bool | None] = False

    def empty(self) -> bm.MetricState:
        return {"sum": np.float64(0), "count": np.int64(0)}

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        prediction, target = _numbers(self, prediction, target)
        errors = self._errors(prediction - target)
        return self.merge(state, {"sum": np.sum(errors), "count": np.int64(errors.size)})

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        return {key: a[key] + b[key] for key in a}

    def result(self, state: bm.MetricState) -> float:
        if state["count"] == 0:
            raise DataError("there are no samples to compute the metric from.", where=type(self).__name__)
        return float(state["sum"] / state["count"])

    def _errors(self, difference: np.ndarray) -> np.ndarray:
        return np.asarray(np.square(difference))


@dataclass(frozen=True)
class MeanAbsoluteError(_MeanOfErrors):
    """The mean of |prediction - target|; both of the same shape.

    >>> MeanAbsoluteError()(np.array([[1.0], [4.0]]), np.array([[2.0], [2.0]]))
    1.5
    """

    name: ClassVar[str] = "mean_absolute_error"

    def _errors(self, difference: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(difference))


@dataclass(frozen=True)
class MeanSquaredError(_MeanOfErrors):
    """The mean of (prediction - target)^2; both of the same shape.

    >>> MeanSquaredError()(np.array([[1.0], [4.0]]), np.array([[2.0], [2.0]]))
    2.5
    """

    name: ClassVar[str] = "mean_squared_error"


@dataclass(frozen=True)
class RootMeanSquaredError(_MeanOfErrors):
    """The root of the mean of (prediction - target)^2; both of the same shape.

    >>> RootMeanSquaredError()(np.array([[1.0], [5.0]]), np.array([[2.0], [-2.0]]))
    5.0
    """

    name: ClassVar[str] = "root_mean_squared_error"

    def result(self, state: bm.MetricState) -> float:
        return float(np.sqrt(super().result(state)))


@dataclass(frozen=True)
class R2(bm.Metric):
    """The coefficient of determination: 1 - squared error / squared deviation of the targets from their mean.

    Takes (n, k) or (n,) numbers, both of one shape and n of at least 2. With several outputs the mean of
    their scores. If all targets are equal an output scores 1 if every prediction is exact, else 0. Sums of
    deviations are merged as in Chan, Golub and LeVeque (1979), so a large mean costs no precision.

    >>> R2()(np.array([[1.0], [2.0], [2.0]]), np.array([[1.0], [2.0], [3.0]]))
    0.5
    """

    name: ClassVar[str] = "r2"

    def empty(self) -> bm.MetricState:
        return {"count": np.int64(0), "mean": np.zeros(1), "deviation": np.zeros(1), "error": np.zeros(1)}

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        prediction, target = _numbers(self, prediction, target)
        if len(target) == 0:
            return dict(state)
        prediction, target = prediction.reshape(len(target), -1), target.reshape(len(target), -1)
        # Around the first target: equal targets then have a deviation of exactly 0.
        centred = target - target[0]
        mean = centred.mean(0)
        batch = {
            "count": np.int64(len(target)),
            "mean": target[0] + mean,
            "deviation": np.square(centred - mean).sum(0),
            "error": np.square(prediction - target).sum(0),
        }
        return self.merge(state, batch)

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        if a["count"] == 0 or b["count"] == 0:
            return dict(b if a["count"] == 0 else a)
        count = a["count"] + b["count"]
        step = b["mean"] - a["mean"]
        return {
            "count": count,
            "mean": a["mean"] + step * (b["count"] / count),
            "deviation": a["deviation"]
            + b["deviation"]
            + np.square(step) * (a["count"] * (b["count"] / count)),
            "error": a["error"] + b["error"],
        }

    def result(self, state: bm.MetricState) -> float:
        if state["count"] < 2:
            raise DataError(
                f"R2 of {state['count']} samples is not defined, expected at least 2.", where="R2"
            )
        error, deviation = state["error"], state["deviation"]
        is_constant = deviation == 0
        scores = 1 - error / np.where(is_constant, 1, deviation)
        return float(np.where(is_constant, error == 0, scores).mean())


def _numbers(metric: bm.Metric, prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64, once they are known to be numbers of one shape."""
    prediction, target = metric.same_shape(prediction, target)
    for name, values in (("prediction", prediction), ("target", target)):
        if values.dtype.kind not in "fiu":
            raise DtypeError(f"{name} is {values.dtype}, expected real numbers.", where=type(metric).__name__)
    if target.ndim == 0:
        prediction, target = prediction.reshape(1), target.reshape(1)
    return prediction.astype(np.float64), target.astype(np.float64)
