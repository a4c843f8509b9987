"""Images in other light, and with a part covered; no pixel moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_augmentations.images import image_shape
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class ColourJitter(bm.Augmentation):
    """Changes how bright, how rich in contrast and how colourful an image is.

    It works on model input, whatever its scale: pixels are moved from the image's mean by a factor, from the
    grey of the pixel by another, and all by a share of the image's standard deviation.

    Args:
        brightness: the most that is added or taken away, in standard deviations of the image.
        contrast, saturation: the most by which the factors differ from 1. Saturation changes images of
            several channels alone.
    """

    name: ClassVar[str] = "colour-jitter"
    moves: ClassVar[bool | None] = False
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    def __post_init__(self) -> None:
        bm.check_number(self, "brightness", at_least=0)
        for name in ("contrast", "saturation"):
            bm.check_number(self, name, at_least=0, at_most=1)

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        image_shape(self, x)
        x = np.ascontiguousarray(x)  # means depend on the order in which numbers are added
        shift, contrast, saturation = (2 * draws.uniform(3) - 1).T.astype(x.dtype)[
            ..., np.newaxis, np.newaxis, np.newaxis
        ]
        axes = (1, 2, 3)
        mean, spread = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
        grey = x.mean(1, keepdims=True)
        found = grey + (x - grey) * (1 + self.saturation * saturation)
        found = mean + (found - mean) * (1 + self.contrast * contrast)
        return np.asarray(found + self.brightness * shift * spread, x.dtype)


@dataclass(frozen=True)
class RandomErasing(bm.Augmentation):
    """Covers a rectangle of an image (Zhong et al., 2020). Masks still tell what was there.

    Args:
        probability: of each image to be changed.
        low, high: the range of the share of the area that is covered.
        fill: the value of the rectangle, in model input.
    """

    name: ClassVar[str] = "random-erasing"
    moves: ClassVar[bool | None] = False
    probability: float = 0.5
    low: float = 0.02
    high: float = 0.2
    fill: float = 0.0

    def __post_init__(self) -> None:
        bm.check_number(self, "probability", at_least=0, at_most=1)
        for name in ("low", "high"):
            bm.check_number(self, name, above=0, at_most=1)
        if self.high < self.low:
            raise ConfigError(
                f"high is {self.high}, less than low, {self.low}.", where=self.name, fix="swap them."
            )
        bm.check_number(self, "fill")

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        _, _, height, width = image_shape(self, x)
        chosen, area, form, down, right = draws.uniform(5).T
        area, form = self.low + (self.high - self.low) * area, np.exp((2 * form - 1) * np.log(3.3))
        covered = np.ones((len(x), 1, height, width), bool)
        for axis, size, start, share in ((2, height, down, area * form), (3, width, right, area / form)):
            edge = np.minimum(np.rint(np.sqrt(share) * size), size)
            first = np.floor(start * (size - edge + 1))[:, np.newaxis]
            places = np.arange(size)
            inside = (places >= first) & (places < first + edge[:, np.newaxis])
            covered &= inside.reshape(len(x), 1, *((size, 1) if axis == 2 else (1, size)))
        covered &= (chosen < self.probability).reshape(-1, 1, 1, 1)
        return np.where(covered, np.asarray(self.fill, x.dtype), x)
