"""Accuracy, top-k accuracy and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_metrics.labels import check_logits, counted, flags, predicted_and_true


class _Share(bm.Metric):
    """The share of samples that were predicted right."""

    def empty(self) -> bm.MetricState:
        return {"correct": np.int64(0), "count": np.int64(0)}

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        return {key: a[key] + b[key] for key in a}

    def result(self, state: bm.MetricState) -> float:
        if state["count"] == 0:
            raise DataError("there are no samples to compute the metric from.", where=type(self).__name__)
        return float(state["correct"] / state["count"])


@dataclass(frozen=True)
class Accuracy(_Share):
    """The fraction of samples whose largest logit is that of their class.

    Takes logits (n, C), or predicted labels (n,) as integers, and labels (n,), integers or booleans.
    Logits of two classes may be one a sample, (n, 1) or (n,), where more than 0 means class 1; their labels
    may be (n, 1), and 0 and 1 as floats. Further axes in front of the classes count as samples. Of a
    share of each class, (n, C) floats, the largest is that of the class.

    Args:
        ignore: a label that is left out, such as -100; what the loss ignores is left out anyway.
        several: whether a sample may have several labels: it is then the share of all entries of (n, C)
            targets, 0 and 1, on whose side of 0 the logits are. Data of several labels set it.

    >>> Accuracy()(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """

    name: ClassVar[str] = "accuracy"
    ignore: int | None = None
    several: bool = False

    def fitted(self, encoding: bm.Encoding) -> bm.Metric:
        return replace(self, several=True) if encoding.task == "multilabel" else self

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        if self.several:
            predicted, true = flags(prediction, target, type(self).__name__)
        else:
            predicted, true, _ = predicted_and_true(prediction, target, type(self).__name__, self.ignore)
        return self.merge(state, {"correct": np.sum(predicted == true), "count": np.int64(true.size)})


@dataclass(frozen=True)
class TopKAccuracy(_Share):
    """The fraction of samples whose class is among the k largest logits.

    Takes logits (n, C) with C of at least k, and integer labels (n,); `ignore` is as for Accuracy. The lower
    class wins a tie.

    >>> logits = np.array([[0.1, 0.5, 0.4], [0.7, 0.2, 0.1]])
    >>> TopKAccuracy(k=2)(logits, np.array([2, 2]))
    0.5
    """

    name: ClassVar[str] = "top_k_accuracy"
    k: int = 5
    ignore: int | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k is {self.k}, expected at least 1.", where="TopKAccuracy")

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        prediction, target = counted(prediction, target, self.ignore)
        check_logits(prediction, target, "TopKAccuracy")
        classes = prediction.shape[-1]
        if classes < self.k:
            raise ConfigError(
                f"k is {self.k}, but there are {classes} classes.",
                where="TopKAccuracy",
                fix="use a smaller k.",
            )
        _, true, _ = predicted_and_true(prediction, target, "TopKAccuracy")
        logits, label = prediction.reshape(-1, classes), true[:, np.newaxis]
        own = np.take_along_axis(logits, label, axis=1)
        is_ahead = (logits > own) | ((logits == own) & (np.arange(classes) < label))
        correct = np.sum(is_ahead.sum(1) < self.k)
        return self.merge(state, {"correct": correct, "count": np.int64(true.size)})


@dataclass(frozen=True)
class ConfusionMatrix(bm.Metric):
    """How many samples of each class were predicted as which: rows are true classes, columns predicted ones.

    Takes what Accuracy takes, and `ignore`, too. The result is (C, C) int64.

    >>> ConfusionMatrix()(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    array([[0, 0],
           [1, 1]])
    """

    name: ClassVar[str] = "confusion_matrix"
    higher_is_better: ClassVar[bool | None] = None
    ignore: int | None = None

    def empty(self) -> bm.MetricState:
        return {"matrix": np.zeros((0, 0), np.int64)}

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        predicted, true, classes = predicted_and_true(prediction, target, type(self).__name__, self.ignore)
        counts = np.bincount(true * classes + predicted, minlength=classes * classes)
        return self.merge(state, {"matrix": counts.reshape(classes, classes)})

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        matrix = np.zeros(np.maximum(a["matrix"].shape, b["matrix"].shape), np.int64)
        for part in (a["matrix"], b["matrix"]):
            matrix[: len(part), : len(part)] += part
        return {"matrix": matrix}

    def result(self, state: bm.MetricState) -> np.ndarray:
        if not state["matrix"].any():
            raise DataError("there are no samples to compute the metric from.", where=type(self).__name__)
        return np.array(state["matrix"])

    def plot(
        self, prediction: Any, target: Any, labels: Sequence[str] | None = None, *, ax: Any = None
    ) -> Any:
        """Draw the matrix of predictions with matplotlib (the extra `plot`); returns the axes.

        Args:
            prediction, target: as for a call.
            labels: of the classes, as `data.labels`.
            ax: the axes to draw on; those of a new figure by default.
        """
        return bm.plot.confusion_matrix(self(prediction, target), labels, ax=ax)
