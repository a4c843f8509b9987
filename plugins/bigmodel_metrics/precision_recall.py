"""Precision, recall and F1, averaged over classes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_metrics.labels import flags, predicted_and_true

_AVERAGES = ("macro", "micro", "weighted", "binary", "none")


@dataclass(frozen=True)
class ByClass(bm.Metric):
    """A score of each class, averaged."""

    average: str = "macro"
    ignore: int | None = None
    several: bool = False

    def __post_init__(self) -> None:
        if self.average not in _AVERAGES:
            raise ConfigError(
                f"average is {self.average!r}, expected one of {', '.join(_AVERAGES)}.",
                where=type(self).__name__,
            )

    def empty(self) -> bm.MetricState:
        return {key: np.zeros(0, np.int64) for key in ("hits", "predicted", "true")}

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        if self.several:
            found, has = flags(prediction, target, type(self).__name__)
            sums = {"hits": found & has, "predicted": found, "true": has}
            counts = {key: v.reshape(-1, v.shape[-1]).sum(0, np.int64) for key, v in sums.items()}
            return self.merge(state, counts)
        predicted, true, classes = predicted_and_true(prediction, target, type(self).__name__, self.ignore)
        counted = {"hits": true[predicted == true], "predicted": predicted, "true": true}
        return self.merge(state, {key: np.bincount(v, minlength=classes) for key, v in counted.items()})

    def fitted(self, encoding: bm.Encoding) -> bm.Metric:
        return replace(self, several=True) if encoding.task == "multilabel" else self

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        merged = {}
        for key in a:
            total = np.zeros(max(len(a[key]), len(b[key])), np.int64)
            for part in (a[key], b[key]):
                total[: len(part)] += part
            merged[key] = total
        return merged

    def result(self, state: bm.MetricState) -> float | np.ndarray:
        hits, predicted, true = state["hits"], state["predicted"], state["true"]
        if not true.any():
            raise DataError("there are no samples to compute the metric from.", where=type(self).__name__)
        if self.average == "micro":
            return float(
                self.score(hits.sum(keepdims=True), predicted.sum(keepdims=True), true.sum(keepdims=True))[0]
            )
        scores = self.score(hits, predicted, true)
        if self.average == "none":
            return scores
        if self.average == "binary":
            if len(scores) > 2:
                raise ConfigError(
                    f'average is "binary", but there are {len(scores)} classes.',
                    where=type(self).__name__,
                    fix='set average to "macro", "micro" or "weighted".',
                )
            return float(scores[1]) if len(scores) == 2 else 0.0
        if self.average == "weighted":
            return float(np.average(scores, weights=true))
        return float(scores[(predicted + true) > 0].mean())

    @abstractmethod
    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        """The score of each class from its counts; 0 if it would be 0 / 0."""


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Shares of counts; 0 for 0 / 0."""
    return np.asarray(numerator / np.maximum(denominator, 1))


@dataclass(frozen=True)
class Precision(ByClass):
    """The fraction of samples predicted as a class that belong to it.

    Takes what Accuracy takes, and `ignore`, too. A class that was never predicted scores 0.

    Args:
        average: "macro", the mean over the classes that occur in predictions or targets; "weighted", the mean
            weighted by the samples of each class; "micro", that of all samples together; "binary", that of
            class 1; "none", that of each class, (C,).
        several: whether a sample may have several labels: prediction and target are then (n, C), and a logit
            above 0 says that it has the label. Data of several labels set it.

    >>> Precision(average="binary")(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 0])) == 1 / 3
    True
    """

    name: ClassVar[str] = "precision"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(hits, predicted)


@dataclass(frozen=True)
class Recall(ByClass):
    """The fraction of a class's samples that were predicted as it.

    Takes what Accuracy takes; `average` is as for Precision. A class without samples scores 0.

    >>> Recall(average="binary")(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 0]))
    1.0
    """

    name: ClassVar[str] = "recall"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(hits, true)


@dataclass(frozen=True)
class F1(ByClass):
    """The harmonic mean of precision and recall.

    Takes what Accuracy takes; `average` is as for Precision.

    >>> F1(average="binary")(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 0]))
    0.5
    """

    name: ClassVar[str] = "f1"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(2 * hits, predicted + true)
