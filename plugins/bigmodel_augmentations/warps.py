"""Images turned and scaled about their middle; between pixels they are interpolated, masks are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_augmentations.images import fill_of, image_shape
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class RandomRotation(bm.Augmentation):
    """Turns an image about its middle.

    Args:
        degrees: the most it is turned, either way; every angle up to it is as likely as the others.
        fill: the value of what comes from outside, in model input. That of masks is class 0.
    """

    name: ClassVar[str] = "random-rotation"
    moves: ClassVar[bool | None] = True
    degrees: float = 15.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        bm.check_number(self, "degrees", at_least=0, at_most=180)
        bm.check_number(self, "fill")

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        image_shape(self, x)
        angle = np.deg2rad(self.degrees) * (2 * draws.uniform() - 1)
        cos, sin = np.cos(angle), np.sin(angle)
        return _warped(x, np.stack([cos, -sin, sin, cos], 1).reshape(-1, 2, 2), self.fill)


@dataclass(frozen=True)
class RandomScale(bm.Augmentation):
    """Enlarges an image or makes it smaller, about its middle; the size of the canvas stays.

    Args:
        low, high: the range of the factor; its logarithm is drawn evenly.
        fill: the value of what comes from outside, in model input. That of masks is class 0.
    """

    name: ClassVar[str] = "random-scale"
    moves: ClassVar[bool | None] = True
    low: float = 0.8
    high: float = 1.25
    fill: float = 0.0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            bm.check_number(self, name, above=0)
        if self.high < self.low:
            raise ConfigError(
                f"high is {self.high}, less than low, {self.low}.", where=self.name, fix="swap them."
            )
        bm.check_number(self, "fill")

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        image_shape(self, x)
        factor = self.low * (self.high / self.low) ** draws.uniform()
        return _warped(x, np.eye(2) / factor.reshape(-1, 1, 1), self.fill)


def _warped(x: np.ndarray, matrices: np.ndarray, fill: float) -> np.ndarray:
    """Images (n, C, H, W) with pixels from elsewhere: floats from between four, masks from the nearest.

    Args:
        x: the images.
        matrices: (n, 2, 2), for each image what leads from a place (down, right of the middle) to its source.
        fill: the value outside.
    """
    n, _, height, width = x.shape
    middle = np.array([height - 1, width - 1]) / 2
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1) - middle
    source = np.einsum("nij,hwj->nhwi", matrices, places) + middle
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill_of(x, fill))
    images = np.arange(n)[:, np.newaxis, np.newaxis]

    def at(down: np.ndarray, right: np.ndarray) -> np.ndarray:
        rows, columns = np.clip(down + 1, 0, height + 1), np.clip(right + 1, 0, width + 1)
        return np.moveaxis(padded[images, :, rows, columns], -1, 1)

    if x.dtype.kind != "f":
        down, right = np.moveaxis(np.floor(source + 0.5).astype(np.int64), -1, 0)
        return at(down, right)
    down, right = np.moveaxis(np.floor(source).astype(np.int64), -1, 0)
    low, over = ((source[..., axis] - start)[:, np.newaxis] for axis, start in ((0, down), (1, right)))
    low, over = low.astype(x.dtype), over.astype(x.dtype)
    top = at(down, right) * (1 - over) + at(down, right + 1) * over
    bottom = at(down + 1, right) * (1 - over) + at(down + 1, right + 1) * over
    return np.asarray(top * (1 - low) + bottom * low)
