"""The U-Net: a class for each pixel of an image (Ronneberger et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from bigmodel_models.resnet import convolution


@dataclass(frozen=True)
class Unet(bm.Model):
    """A U-Net (Ronneberger et al., 2015): an image is halved again and again, and enlarged as often; each
    size on the way up is given what was found at this size on the way down.

    Takes images (N, C, H, W) whose height and width 2**depth divides, and gives scores (N, H, W, classes).
    Unlike the original, borders are padded, so that the scores are as large as the image, and convolutions
    are normalised (Ioffe and Szegedy, 2015).

    Args:
        classes: how many classes a pixel may have.
        width: the filters at full size; each halving doubles them.
        depth: how often the image is halved.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mean_iou", "accuracy")
    learning_rate: ClassVar[float | None] = 5e-3
    classes: int = 2
    width: int = 16
    depth: int = 3

    def __post_init__(self) -> None:
        for name in ("classes", "width", "depth"):
            bm.check_number(self, name, whole=True, at_least=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 2**self.depth * 8, 2**self.depth * 8))

    def __call__(self, x: Any) -> Any:
        self._check(x)
        layers, seen = bm.layers, []
        for level in range(self.depth):
            seen.append(twice(x, self.width * 2**level))
            x = layers.MaxPool2d(2)(seen[-1])
        x = twice(x, self.width * 2**self.depth)
        for level in reversed(range(self.depth)):
            filters = self.width * 2**level
            x = layers.ConvTranspose2d(filters, 2, 2)(x)
            x = twice(bm.ops.concatenate([seen[level], x], 1), filters)
        return bm.ops.transpose(layers.Conv2d(self.classes, 1)(x), (0, 2, 3, 1))

    def _check(self, x: Any) -> None:
        step = 2**self.depth
        if x.ndim != 4 or any(isinstance(size, int) and size % step for size in x.shape[2:]):
            raise ShapeError(
                f"the model takes images whose height and width {step} divides, not {x.spec}.",
                where="Unet",
                fix="load the images in such a size, as in size=64,64, or use a smaller depth.",
            )


def twice(x: Any, filters: int) -> Any:
    """Two 3x3 convolutions, normalised."""
    for _ in range(2):
        x = bm.layers.Relu()(convolution(x, filters, 3))
    return x
