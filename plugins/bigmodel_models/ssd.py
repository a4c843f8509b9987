"""A single-shot detector: boxes around what an image shows (Liu et al., 2016)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_models.unet import twice

_RATIOS = (1.0, 0.5, 2.0)
_LEAST_SCORE = 0.05
_FAR = 1e4
"""Pixels between the boxes of two classes when those that overlap are dropped: no class drops another's."""


@dataclass(frozen=True)
class Ssd(bm.Model):
    """A small single-shot detector (Liu et al., 2016) for images (N, C, H, W) whose sides 8 divides.

    Two maps of the image, a fourth and an eighth of its size, say for four boxes at each of their places
    which class is there and how the box has to be moved and scaled. The outputs are

    - `detections`, (N, most, 6): class, score and the box (left, top, right, bottom, in pixels), the best
      first; -1 as class where there is none. Of boxes of a class that overlap, the best one is kept; this is
      in the exported file, too.
    - `raw`, (N, A, 9 + classes): the A boxes that were laid out, what is said of their places and sizes, and
      the scores of no class and of each class, which the loss `ssd` takes.

    Args:
        classes: how many classes there are.
        width: the filters at full size; each halving doubles them.
        low, high: the edges of the boxes that are laid out, as shares of the image's: of the finer map and of
            the coarser.
        most: how many boxes of an image are told at most.
        overlap: intersection over union beyond which the worse of two boxes is dropped.
    """

    loss: ClassVar[Any] = "ssd"
    metrics: ClassVar[Any] = {"detections": "mean_average_precision"}
    learning_rate: ClassVar[float | None] = 5e-3
    classes: int = 20
    width: int = 16
    low: float = 0.25
    high: float = 0.45
    most: int = 20
    overlap: float = 0.45

    def __post_init__(self) -> None:
        for name in ("classes", "width", "most"):
            bm.check_number(self, name, whole=True, at_least=1)
        for name in ("low", "high", "overlap"):
            bm.check_number(self, name, above=0, at_most=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 64, 64))

    def fitted(self, data: bm.Data, loss: bm.Loss | None = None) -> Self:
        """The same model for the classes that boxes of a data set have."""
        return self if data.labels is None else replace(self, classes=len(data.labels))

    def __call__(self, x: Any) -> Any:
        if x.ndim != 4 or not all(isinstance(size, int) and size % 8 == 0 for size in x.shape[2:]):
            raise ShapeError(
                f"the model takes images of a fixed height and width that 8 divides, not {x.spec}.",
                where="Ssd",
                fix="load the images in such a size, as in size=64,64.",
            )
        image, layers, found, boxes = x.shape[2:], bm.layers, [], []
        sizes = (self.low, self.high, min(1.0, self.high**2 / self.low))
        each = len(_RATIOS) + 1
        for level in range(4):
            x = twice(x, self.width * 2**level)
            if level >= 2:
                told = layers.Conv2d(each * (5 + self.classes), 3, padding=1)(x)
                told = ops.transpose(told, (0, 2, 3, 1))
                found.append(ops.reshape(told, (told.shape[0], -1, 5 + self.classes)))
                boxes.append(laid_out(x.shape[2:], image, *sizes[level - 2 : level]))
            x = layers.MaxPool2d(2)(x) if level < 3 else x
        told, anchors = ops.concatenate(found, 1), ops.constant(np.concatenate(boxes), x.dtype)
        anchors = ops.broadcast_to(anchors, (told.shape[0], *anchors.shape))
        return {"detections": self._kept(anchors, told), "raw": ops.concatenate([anchors, told], -1)}

    def _kept(self, anchors: Any, told: Any) -> Any:
        """The best boxes, without those that overlap with a better one of their class."""
        boxes = bm.boxes.decoded(anchors, told[..., :4])
        chances = ops.softmax(told[..., 4:])[..., 1:]
        score, label = ops.max(chances, -1), ops.argmax(chances, -1).astype(told.dtype)
        apart = boxes + ops.expand_dims(label, -1) * _FAR
        kept = ops.non_max_suppression(
            apart, score, max_outputs=self.most, iou_threshold=self.overlap, score_threshold=_LEAST_SCORE
        )
        rows = ops.concatenate([ops.expand_dims(label, -1), ops.expand_dims(score, -1), boxes], -1)
        place = ops.expand_dims(kept, -1)
        wide = ops.broadcast_to(ops.maximum(place, 0), (*kept.shape, 6))
        nothing = ops.constant(np.array([-1, 0, 0, 0, 0, 0]), told.dtype)
        return ops.where(ops.less(place, 0), nothing, ops.take_along_axis(rows, wide, 1))


def laid_out(map_size: Any, image: Any, scale: float, larger: float) -> np.ndarray:
    """The boxes at each place of a map, (A, 4): left, top, right, bottom, in pixels of the image.

    Args:
        map_size: height and width of the map.
        image: those of the image.
        scale: the edge of boxes as a share of the image's; another square is between it and
        larger: that of the next map.
    """
    shapes = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in _RATIOS]
    shapes.append((math.sqrt(scale * larger),) * 2)
    rows, columns = np.meshgrid(*((np.arange(size) + 0.5) / size for size in map_size), indexing="ij")
    half = np.array(shapes)[np.newaxis, np.newaxis] / 2
    middle = np.stack([columns, rows], -1)[:, :, np.newaxis]
    found = np.concatenate([middle - half, middle + half], -1).reshape(-1, 4)
    return np.asarray(found * np.array([image[1], image[0]] * 2))
