"""Changes to images (n, C, H, W) that move pixels and make none up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class HorizontalFlip(bm.Augmentation):
    """Swaps left and right of an image.

    Args:
        probability: of each image to be flipped.

    >>> x = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)
    >>> HorizontalFlip(1.0)(x, bm.Draws(np.array([0]), seed=0, epoch=0, stream=0)).ravel().tolist()
    [2.0, 1.0, 0.0]
    """

    name: ClassVar[str] = "horizontal-flip"
    moves: ClassVar[bool | None] = True
    probability: float = 0.5

    def __post_init__(self) -> None:
        bm.check_number(self, "probability", at_least=0, at_most=1)

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        return _flipped(self, x, draws.uniform() < self.probability, axis=3)


@dataclass(frozen=True)
class VerticalFlip(bm.Augmentation):
    """Swaps top and bottom of an image.

    Args:
        probability: of each image to be flipped.
    """

    name: ClassVar[str] = "vertical-flip"
    moves: ClassVar[bool | None] = True
    probability: float = 0.5

    def __post_init__(self) -> None:
        bm.check_number(self, "probability", at_least=0, at_most=1)

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        return _flipped(self, x, draws.uniform() < self.probability, axis=2)


@dataclass(frozen=True)
class RandomCrop(bm.Augmentation):
    """Pads an image and cuts out one of the original size (Lee et al., 2015).

    Args:
        padding: pixels of the margin on each side; every offset is as likely as the others.
        fill: the value of the margin, in model input: after preprocessing. That of masks is class 0.
    """

    name: ClassVar[str] = "random-crop"
    moves: ClassVar[bool | None] = True
    padding: int = 4
    fill: float = 0.0

    def __post_init__(self) -> None:
        bm.check_number(self, "padding", whole=True, at_least=0)
        bm.check_number(self, "fill")

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        margin = self.padding
        n, channels, height, width = image_shape(self, x)
        padded = np.full(
            (n, channels, height + 2 * margin, width + 2 * margin), fill_of(x, self.fill), x.dtype
        )
        padded[:, :, margin : margin + height, margin : margin + width] = x
        return _cut(padded, draws.integers(2 * margin + 1, 2), height, width)


@dataclass(frozen=True)
class RandomShift(bm.Augmentation):
    """Shifts an image by some pixels, repeating the pixels at its edges.

    Args:
        pixels: the furthest move in each direction; every one up to it is as likely as the others.
    """

    name: ClassVar[str] = "random-shift"
    moves: ClassVar[bool | None] = True
    pixels: int = 2

    def __post_init__(self) -> None:
        bm.check_number(self, "pixels", whole=True, at_least=0)

    def __call__(self, x: np.ndarray, draws: bm.Draws) -> np.ndarray:
        _, _, height, width = image_shape(self, x)
        padded = np.pad(x, ((0, 0), (0, 0), (self.pixels,) * 2, (self.pixels,) * 2), mode="edge")
        return _cut(padded, draws.integers(2 * self.pixels + 1, 2), height, width)


def _flipped(change: bm.Augmentation, x: np.ndarray, chosen: np.ndarray, axis: int) -> np.ndarray:
    image_shape(change, x)
    found = x.copy()
    found[chosen] = np.flip(x[chosen], axis)
    return found


def _cut(padded: np.ndarray, offsets: np.ndarray, height: int, width: int) -> np.ndarray:
    """From each image the part of a size that begins at its offset (down, right)."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (2, 3))
    return windows[np.arange(len(padded)), :, offsets[:, 0], offsets[:, 1]]


def fill_of(x: np.ndarray, fill: float) -> float:
    """The value of pixels that were not there before: that of images as it is, that of masks the class 0."""
    return fill if x.dtype.kind == "f" else 0


def image_shape(change: bm.Augmentation, x: np.ndarray) -> tuple[int, int, int, int]:
    """The sizes of images (n, C, H, W).

    Raises:
        ShapeError: the samples are no images.
    """
    if x.ndim != 4:
        raise ShapeError(
            f"samples have shape {x.shape[1:]}, expected images (C, H, W).",
            where=type(change).__name__,
            fix="use it with a data set of images.",
        )
    n, channels, height, width = x.shape
    return n, channels, height, width
