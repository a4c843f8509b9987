"""Losses of class labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import UsageError
from bigmodel_losses.weighting import (
    ClassWeight,
    check_class_weight,
    class_weights,
    weights_of,
    without_ignored,
)


@dataclass(frozen=True)
class CrossEntropy(bm.Loss):
    """-log softmax(prediction)[target]: prediction (..., C) scores, target (...) integer labels.

    A target may also be a share of each class, (..., C) floats: minus the sum of target * log softmax. The
    mean is that of `torch.nn.CrossEntropyLoss`: over labels, the sum divided by the weights of their classes;
    over shares, by their number.

    Args:
        label_smoothing: the share of each label's weight that is spread evenly over all classes (Szegedy et
            al., 2016).
        class_weight: what each class counts: {0: 1.0, 1: 5.0}, or a list in their order.
        ignore: a label that counts nothing, such as -100 for padding; there is none among shares.

    Raises:
        UsageError: a label is ignored, and the targets are shares.
        ShapeError: the labels are not one for each row of scores, or weights not one for each class.
        DtypeError: the labels are not integers.
        DataError: at run time, a label is not from 0 to C - 1.
    """

    label_smoothing: float = 0.0
    class_weight: ClassWeight = None
    ignore: int | None = None
    target_dtype: ClassVar[str | None] = "int64"
    soft_targets: ClassVar[bool] = True
    takes_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        bm.check_number(self, "label_smoothing", at_least=0, below=1)
        check_class_weight(self)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction, smoothing = bm.one_output(self, prediction), self.label_smoothing
        if target.spec.is_float:
            return self._of_shares(prediction, target)
        if self.class_weight is None:
            return ops.cross_entropy(prediction, target, smoothing, self.ignore)
        if smoothing == 0:
            weights = self.counts(prediction, target)
            assert weights is not None
            return ops.cross_entropy(prediction, target, 0.0, self.ignore) * weights
        classes: Any = prediction.shape[-1]
        table = class_weights(self, classes, prediction, prediction.dtype)
        spread = -ops.sum(ops.log_softmax(prediction) * table, -1) * (smoothing / classes)
        own = weights_of(self, target, classes, prediction.dtype)
        assert own is not None
        found = ops.cross_entropy(prediction, target, 0.0, self.ignore) * own * (1 - smoothing)
        if self.ignore is None:
            return found + spread
        return found + spread * ops.not_equal(target, self.ignore).astype(prediction.dtype)

    def _of_shares(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        if self.ignore is not None:
            raise UsageError(
                f"CrossEntropy ignores the label {self.ignore}, and the targets are no labels, but shares of"
                " classes.",
                fix="leave ignore out, and give samples that are not to count a weight of 0.",
            )
        bm.ops.elementwise.check_same_shape(
            "cross-entropy", prediction.spec, target.spec, "scores and shares of classes"
        )
        classes: Any = prediction.shape[-1]
        if self.label_smoothing:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        if self.class_weight is not None:
            target = target * class_weights(self, classes, prediction, prediction.dtype)
        return -ops.sum(ops.log_softmax(prediction) * target, -1)

    def counts(self, prediction: bm.Value, target: bm.Value) -> bm.Value | None:
        if target.spec.is_float:
            return None
        prediction = bm.one_output(self, prediction)
        return weights_of(self, target, prediction.shape[-1], prediction.dtype)

    def of_mixed(self) -> bm.Loss:
        return replace(self, ignore=None)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        return bm.probabilities.softmax(scores)


@dataclass(frozen=True)
class BinaryCrossEntropy(bm.Loss):
    """-log of the probability given to each yes-or-no target; prediction holds logits, not probabilities.

    Targets have the prediction's shape: probabilities from 0 to 1 as floats, or labels 0 and 1 as integers or
    booleans. A last axis of length 1 may be missing on either side: one logit a sample, (N, 1), goes with
    targets (N,) as with (N, 1).

    Args:
        class_weight: what no and yes count: {0: 1.0, 1: 5.0}, or a list. The mean is the sum divided by the
            weights, as that of CrossEntropy of both classes.
        ignore: a label that counts nothing, such as -1.

    Raises:
        ShapeError: the shapes differ otherwise.
        DataError: at run time, an integer label is neither 0 nor 1.
    """

    class_weight: ClassWeight = None
    ignore: int | None = None
    takes_scores: ClassVar[bool] = True
    one_score: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_class_weight(self)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction = bm.one_output(self, prediction)
        found = ops.binary_cross_entropy(prediction, self._chances(prediction, target))
        weights = self.counts(prediction, target)
        return found if weights is None else found * weights

    def counts(self, prediction: bm.Value, target: bm.Value) -> bm.Value | None:
        prediction = bm.one_output(self, prediction)
        chances, found = self._chances(prediction, target), None
        if self.class_weight is not None:
            class_weights(self, 2, prediction, prediction.dtype)
            no, yes = self.class_weight
            found = chances * (yes - no) + no
        if self.ignore is None or target.dtype == "bool":
            return found
        counts = ops.not_equal(_like(target, prediction), self.ignore).astype(prediction.dtype)
        return counts if found is None else found * counts

    def of_mixed(self) -> bm.Loss:
        if self.ignore is not None:
            raise UsageError(
                f"BinaryCrossEntropy ignores the label {self.ignore}, which is not to be told from others"
                " once an augmentation mixes them.",
                fix="leave ignore out, and samples of that label; or do not mix.",
            )
        return self

    def _chances(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        target = _like(target, prediction)
        if target.spec.is_float:
            if self.ignore is None:
                return target
            return ops.where(ops.not_equal(target, float(self.ignore)), target, 0.0)
        if target.dtype != "bool":
            target = without_ignored(self, target)
        return ops.label_values(target, 2, prediction.dtype)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Those of both classes, (n, 2), for one score per sample; of each yes, (n, k), for several."""
        chances = bm.probabilities.sigmoid(scores)
        return (
            bm.probabilities.of_both(chances.reshape(len(chances)))
            if chances.size == len(chances)
            else chances
        )


def _like(target: bm.Value, prediction: bm.Value) -> bm.Value:
    """Targets in the shape of logits, where a last axis of length 1 is missing on one side."""
    if (*target.shape, 1) == prediction.shape or (*prediction.shape, 1) == target.shape:
        return ops.reshape(target, prediction.shape)
    return target
