"""Losses of class labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class CrossEntropy(bm.Loss):
    """-log softmax(prediction)[target]: prediction (..., C) scores, target (...) integer labels.

    Args:
        label_smoothing: the share of each label's weight that is spread evenly over all classes (Szegedy et
            al., 2016).

    Raises:
        ShapeError: the labels are not one for each row of scores.
        DtypeError: the labels are not integers.
        DataError: at run time, a label is not from 0 to C - 1.
    """

    label_smoothing: float = 0.0
    target_dtype: ClassVar[str | None] = "int64"

    def __post_init__(self) -> None:
        bm.check_number(self, "label_smoothing", at_least=0, below=1)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        return ops.cross_entropy(bm.one_output(self, prediction), target, self.label_smoothing)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        return bm.probabilities.softmax(scores)


@dataclass(frozen=True)
class BinaryCrossEntropy(bm.Loss):
    """-log of the probability given to each yes-or-no target; prediction holds logits, not probabilities.

    Targets have the prediction's shape: probabilities from 0 to 1 as floats, or labels 0 and 1 as integers or
    booleans. A last axis of length 1 may be missing on either side: one logit a sample, (N, 1), goes with
    targets (N,) as with (N, 1).

    Raises:
        ShapeError: the shapes differ otherwise.
        DataError: at run time, an integer label is neither 0 nor 1.
    """

    one_score: ClassVar[bool] = True

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction = bm.one_output(self, prediction)
        if (*target.shape, 1) == prediction.shape or (*prediction.shape, 1) == target.shape:
            target = ops.reshape(target, prediction.shape)
        if target.spec.is_float:
            return ops.binary_cross_entropy(prediction, target)
        return ops.binary_cross_entropy(prediction, ops.label_values(target, 2, prediction.dtype))

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Those of both classes, (n, 2), for one score per sample; of each yes, (n, k), for several."""
        chances = bm.probabilities.sigmoid(scores)
        return (
            bm.probabilities.of_both(chances.reshape(len(chances)))
            if chances.size == len(chances)
            else chances
        )


@dataclass(frozen=True)
class Hinge(bm.Loss):
    """How far each sample is from being right by a margin of 1: the loss of support vector machines.

    With one score for each sample, prediction (N, 1) and labels (N,) of 0 and 1: max(0, 1 - s * score),
    where s is -1 for label 0 and 1 for label 1 (Cortes and Vapnik, 1995). With a score for each class,
    prediction (N, C) and labels (N,): max(0, 1 + best wrong score - right score) (Crammer and Singer, 2001).

    Raises:
        ShapeError: the labels are not one for each row of scores.
        DtypeError: the labels are not integers.
        DataError: at run time, a label is out of range.
    """

    target_dtype: ClassVar[str | None] = "int64"

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction = bm.one_output(self, prediction)
        if prediction.ndim < 1 or prediction.shape[-1] != 1:
            return ops.multi_class_hinge(prediction, target)
        if target.shape != prediction.shape[:-1]:
            raise ShapeError(
                f"hinge needs scores (..., 1) and labels (...), got {bm.format_shape(prediction.shape)} "
                f"and {bm.format_shape(target.shape)}.",
                fix="labels are one class number for each sample, without a last axis: y.reshape(-1).",
            )
        side = ops.label_values(target, 2, prediction.dtype) * 2.0 - 1.0
        return ops.relu(1.0 - side * ops.reshape(prediction, target.shape))
