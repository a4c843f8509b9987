"""The area under the receiver operating characteristic: how well scores rank two classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError, ShapeError
from bigmodel_metrics.labels import binary_logits, predicted_and_true


@dataclass(frozen=True)
class AUC(bm.Metric):
    """The probability that a sample of class 1 scores higher than one of class 0, a tie counting half.

    Takes one logit a sample, (n, 1) or (n,), and labels as Accuracy takes them; or logits (n, 2) of both
    classes, of which the difference counts. This is the area under the receiver operating characteristic
    (Hanley and McNeil, 1982), counted from ranks: exact for any number of batches, since every score is kept.

    >>> AUC()(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """

    name: ClassVar[str] = "auc"

    def empty(self) -> bm.MetricState:
        return {}

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        prediction, target = np.asarray(prediction), np.asarray(target)
        if prediction.dtype.kind == "f" and prediction.ndim > 1 and prediction.shape[-1] == 2:
            _, labels, _ = predicted_and_true(prediction, target, "AUC")
            wide = prediction.astype(np.float64).reshape(-1, 2)
            scores = wide[:, 1] - wide[:, 0]
        elif (found := binary_logits(prediction, target, "AUC")) is not None:
            scores, labels = found
        else:
            raise ShapeError(
                f"the prediction is {prediction.shape} {prediction.dtype} and the target {target.shape},"
                " expected one score per sample, (n, 1) or (n,), or two.",
                where="AUC",
                fix="use it for two classes; for more classes, use accuracy or top_k_accuracy.",
            )
        if len(labels) == 0:
            return dict(state)
        return self.merge(state, {"0": np.stack([scores.astype(np.float64), labels])})

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        # Parts of about one size are joined, so that a score is copied a few times only, however many batches
        # there are.
        parts: list[np.ndarray] = []
        for part in sorted([*a.values(), *b.values()], key=lambda part: -part.shape[1]):
            parts.append(part)
            while len(parts) > 1 and parts[-2].shape[1] <= parts[-1].shape[1]:
                parts[-2:] = [np.concatenate(parts[-2:], 1)]
        return {str(number): part for number, part in enumerate(parts)}

    def result(self, state: bm.MetricState) -> float:
        if not state:
            raise DataError("there are no samples to compute the metric from.", where="AUC")
        scores, labels = np.concatenate(list(state.values()), 1)
        _, group = np.unique(scores, return_inverse=True)
        ones = np.bincount(group, labels).astype(np.int64)
        zeros = np.bincount(group) - ones
        count = int(ones.sum()) * int(zeros.sum())
        if count == 0:
            raise DataError(
                f"all {len(labels)} samples are of class {int(labels[0])}, expected both.",
                where="AUC",
                fix="measure it on samples of both classes.",
            )
        halves = int(ones @ (2 * (np.cumsum(zeros) - zeros) + zeros))
        return halves / (2 * count)
