"""How well boxes are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError, ShapeError


@dataclass(frozen=True)
class MeanAveragePrecision(bm.Metric):
    """The area under the curve of precision over recall of each class; the mean over classes (mAP).

    Takes detections (n, K, 6): class, score, left, top, right, bottom; and true boxes (n, M, 5): class, left,
    top, right, bottom; -1 as class where there is none. A detection is right if its intersection over union
    with a true box of its class, which no better detection has taken, is at least `overlap`. Precision is the
    best at this recall or more, as PASCAL VOC 2010 defines it (Everingham et al., 2010).

    Args:
        overlap: from 0 to 1; 0.5 is that of PASCAL VOC.

    >>> true = np.array([[[0, 0, 0, 10, 10], [0, 20, 20, 30, 30]]])
    >>> found = np.array([[[0, 0.9, 0, 0, 10, 9], [0, 0.8, 50, 50, 60, 60]]])
    >>> MeanAveragePrecision()(found, true)
    0.5
    """

    name: ClassVar[str] = "mean_average_precision"
    overlap: float = 0.5

    def __post_init__(self) -> None:
        bm.check_number(self, "overlap", above=0, at_most=1)

    def empty(self) -> bm.MetricState:
        return {
            "classes": np.zeros(0, np.int64),
            "scores": np.zeros(0),
            "hits": np.zeros(0, bool),
            "true": np.zeros(0, np.int64),
        }

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
        if (
            (prediction.ndim, target.ndim) != (3, 3)
            or (prediction.shape[-1], target.shape[-1]) != (6, 5)
            or len(prediction) != len(target)
        ):
            raise ShapeError(
                f"detections are {prediction.shape} and true boxes {target.shape}.",
                where=type(self).__name__,
                fix="give detections (n, K, 6) and true boxes (n, M, 5).",
            )
        found = self.empty()
        for detections, boxes in zip(prediction, target, strict=True):
            detections = detections[detections[:, 0] >= 0]
            detections = detections[np.argsort(-detections[:, 1], kind="stable")]
            boxes = boxes[boxes[:, 0] >= 0]
            one = {
                "classes": detections[:, 0].astype(np.int64),
                "scores": detections[:, 1],
                "hits": self._hits(detections, boxes),
                "true": np.bincount(boxes[:, 0].astype(np.int64)),
            }
            found = self.merge(found, one)
        return self.merge(state, found)

    def _hits(self, detections: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Which detections, the best first, are right."""
        hits, is_free = np.zeros(len(detections), bool), np.ones(len(boxes), bool)
        for row, detection in enumerate(detections):
            ious = np.where(boxes[:, 0] == detection[0], _ious(detection[2:], boxes[:, 1:]), 0)
            if len(boxes) and ious.max() >= self.overlap:
                place = int(ious.argmax())
                hits[row], is_free[place] = is_free[place], False
        return hits

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        merged = {key: np.concatenate([a[key], b[key]]) for key in ("classes", "scores", "hits")}
        merged["true"] = np.zeros(max(len(a["true"]), len(b["true"])), np.int64)
        for part in (a["true"], b["true"]):
            merged["true"][: len(part)] += part
        return merged

    def result(self, state: bm.MetricState) -> float:
        if not state["true"].any():
            raise DataError("there is no box to compute the metric from.", where=type(self).__name__)
        order = np.lexsort((state["hits"], -state["scores"]))
        classes, hits = state["classes"][order], state["hits"][order]
        areas = []
        for number in np.flatnonzero(state["true"]):
            right = np.cumsum(hits[classes == number])
            precision = right / np.arange(1, len(right) + 1)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            areas.append(np.sum(best * np.diff(right, prepend=0)) / state["true"][number])
        return float(np.mean(areas))


def _ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with others, (M,)."""
    both = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(1)
    areas = [(some[..., 2:] - some[..., :2]).prod(-1) for some in (box, others)]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-9))
