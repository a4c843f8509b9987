"""The loss of detectors that lay out boxes and say of each what is there and how it has to be moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class Ssd(bm.Loss):
    """Smooth L1 of places and sizes, and cross-entropy of classes with hard negatives (Liu et al., 2016).

    Takes predictions (N, A, 9 + C), or outputs of which `raw` is such: A boxes that were laid out (left, top,
    right, bottom), what is said of their middles and sizes, and scores of no class and of C classes; and
    targets (N, M, 5): class, left, top, right and bottom, with -1 as class where there is none. A laid-out
    box stands for the true one that it overlaps most if their intersection over union is more than `overlap`,
    or if no other overlaps it more. Of those that stand for none, the worst count: `negatives` for each that
    stands for one.

    Args:
        overlap: from 0 to 1.
        negatives: how many boxes without a class count for each with one.

    Raises:
        ShapeError: the arrays have other shapes.
    """

    overlap: float = 0.5
    negatives: int = 3

    def __post_init__(self) -> None:
        bm.check_number(self, "overlap", above=0, below=1)
        bm.check_number(self, "negatives", whole=True, at_least=1)

    def each(self, prediction: Any, target: bm.Value) -> bm.Value:
        if isinstance(prediction, Mapping) and "raw" in prediction:
            prediction = prediction["raw"]
        prediction = bm.one_output(self, prediction)
        if prediction.ndim != 3 or target.ndim != 3 or target.shape[-1] != 5:
            raise ShapeError(
                f"predictions are {prediction.shape} and targets {target.shape}.",
                where="Ssd",
                fix="give predictions (N, A, 9 + classes) and targets (N, M, 5): class, left, top, right,"
                " bottom.",
            )
        target = target.astype(prediction.dtype)
        anchors, offsets, scores = prediction[..., :4], prediction[..., 4:8], prediction[..., 8:]
        stands, own = self._matched(ops.stop_gradient(anchors), target)
        counts = stands.astype(prediction.dtype)
        label = ops.where(stands, own[..., 0] + 1, 0.0).astype("int64")
        of_class = ops.cross_entropy(scores, label)
        of_place = ops.sum(ops.huber(offsets - bm.boxes.encoded(anchors, own[..., 1:])), -1)
        many = ops.sum(counts, 1, keepdims=True)
        hardness = ops.where(stands, -1.0, ops.stop_gradient(of_class))
        rank = ops.argsort(ops.argsort(hardness, 1, descending=True), 1).astype(prediction.dtype)
        is_hard = ops.less(rank, many * self.negatives).astype(prediction.dtype) * (1 - counts)
        total = ops.sum(of_class * (counts + is_hard) + of_place * counts, 1)
        return total / ops.maximum(many[:, 0], 1.0)

    def example_targets(self, outputs: Mapping[str, np.ndarray], random: np.random.Generator) -> Any:
        """Two of the laid-out boxes for each image."""
        raw = outputs["raw"]
        places = random.integers(0, raw.shape[1], (len(raw), 2))
        boxes = np.take_along_axis(raw[..., :4], places[..., np.newaxis], 1)
        classes = random.integers(0, raw.shape[-1] - 9, (len(raw), 2, 1))
        return np.concatenate([classes, boxes], -1).astype(np.float32)

    def _matched(self, anchors: Any, target: Any) -> tuple[Any, Any]:
        """Which boxes stand for a true one, (N, A), and the true box that is nearest to each, (N, A, 5)."""
        is_there = ops.greater_equal(target[..., 0], 0.0)
        ious = bm.boxes.overlaps(anchors, target[..., 1:])
        ious = ops.where(ops.expand_dims(is_there, 1), ious, -1.0)
        best = ops.logical_and(ops.equal(ious, ops.max(ious, 1, keepdims=True)), ops.greater(ious, 0.0))
        ious = ops.where(best, ious + 1.0, ious)
        chosen = ops.one_hot(ops.argmax(ious, -1), target.shape[1], target.dtype)
        return ops.greater(ops.max(ious, -1), self.overlap), ops.matmul(chosen, target)
