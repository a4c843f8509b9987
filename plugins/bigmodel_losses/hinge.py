"""The loss of support vector machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_losses.weighting import ClassWeight, check_class_weight, weights_of, without_ignored


@dataclass(frozen=True)
class Hinge(bm.Loss):
    """How far each sample is from being right by a margin of 1: the loss of support vector machines.

    With one score for each sample, prediction (N, 1) and labels (N,) of 0 and 1: max(0, 1 - s * score),
    where s is -1 for label 0 and 1 for label 1 (Cortes and Vapnik, 1995). With a score for each class,
    prediction (N, C) and labels (N,): max(0, 1 + best wrong score - right score) (Crammer and Singer, 2001).

    Args:
        class_weight: what each class counts: {0: 1.0, 1: 5.0}, or a list in their order.
        ignore: a label that counts nothing.

    Raises:
        ShapeError: the labels are not one for each row of scores.
        DtypeError: the labels are not integers.
        DataError: at run time, a label is out of range.
    """

    class_weight: ClassWeight = None
    ignore: int | None = None
    target_dtype: ClassVar[str | None] = "int64"

    def __post_init__(self) -> None:
        check_class_weight(self)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction = bm.one_output(self, prediction)
        found, weights = self._margins(prediction, target), self.counts(prediction, target)
        return found if weights is None else found * weights

    def counts(self, prediction: bm.Value, target: bm.Value) -> bm.Value | None:
        prediction = bm.one_output(self, prediction)
        classes: Any = 2 if prediction.shape[-1] == 1 else prediction.shape[-1]
        return weights_of(self, target, classes, prediction.dtype)

    def _margins(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        target = without_ignored(self, target)
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
