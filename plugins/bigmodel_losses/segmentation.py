"""A loss of regions: how little those of a prediction overlap with the true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class Dice(bm.Loss):
    """1 - 2 |A and B| / (|A| + |B|) of each class, the mean over classes (Milletari et al., 2016).

    Takes scores (N, ..., C), of which it makes probabilities by softmax, and integer labels (N, ...), such as
    masks (N, H, W). Each sample has a loss of its own: classes that fill few pixels count as much as others.

    Args:
        smooth: added above and below, so that a class that is neither there nor predicted costs nothing.

    Raises:
        ShapeError: the labels are not one for each row of scores.
        DtypeError: the labels are not integers.
        DataError: at run time, a label is not from 0 to C - 1.
    """

    smooth: float = 1.0
    target_dtype: ClassVar[str | None] = "int64"
    takes_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        bm.check_number(self, "smooth", above=0)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        prediction = bm.one_output(self, prediction)
        if target.shape != prediction.shape[:-1]:
            raise ShapeError(
                f"scores are {prediction.shape} and labels {target.shape}.",
                where="Dice",
                fix="give scores (N, ..., classes) and labels (N, ...).",
            )
        chances = ops.softmax(prediction)
        classes: Any = prediction.shape[-1]
        labels = ops.expand_dims(ops.label_values(target, classes, prediction.dtype), -1)
        truth = ops.equal(labels, ops.arange(classes, dtype=prediction.dtype)).astype(prediction.dtype)
        both, sizes = chances * truth, chances + truth
        if axes := tuple(range(1, prediction.ndim - 1)):
            both, sizes = ops.sum(both, axes), ops.sum(sizes, axes)
        return 1 - ops.mean((2 * both + self.smooth) / (sizes + self.smooth), -1)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        return bm.probabilities.softmax(scores)
