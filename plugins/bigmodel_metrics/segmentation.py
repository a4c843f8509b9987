"""How well the regions of classes are found, as in the masks of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bigmodel_metrics.precision_recall import ByClass, ratio


@dataclass(frozen=True)
class MeanIoU(ByClass):
    """Intersection over union of each class, over the pixels of all images; the mean over classes.

    Takes what Accuracy takes, such as scores (n, H, W, C) and masks (n, H, W), and `ignore`, too. `average`
    is as for Precision: its usual value is the mean over the classes that occur in predictions or targets, as
    PASCAL VOC defines it (Everingham et al., 2010); "none" gives that of each class.

    >>> predicted, true = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
    >>> MeanIoU(average="none")(predicted, true).round(3).tolist()
    [0.667, 0.5]
    """

    name: ClassVar[str] = "mean_iou"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(hits, predicted + true - hits)


@dataclass(frozen=True)
class Dice(ByClass):
    """Twice the intersection over the sum of both sizes, of each class (Dice, 1945); the mean over classes.

    It is the F1 of pixels. Takes what MeanIoU takes.

    >>> predicted, true = np.array([[1, 1], [0, 0]]), np.array([[1, 0], [0, 0]])
    >>> Dice(average="none")(predicted, true).round(3).tolist()
    [0.8, 0.667]
    """

    name: ClassVar[str] = "dice"

    def score(self, hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return ratio(2 * hits, predicted + true)
