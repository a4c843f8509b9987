"""Augmentations: images flipped, cropped and shifted at random, in training."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_augmentations.images import HorizontalFlip, RandomCrop, RandomShift, VerticalFlip

__all__ = ["HorizontalFlip", "RandomCrop", "RandomShift", "VerticalFlip"]


@bm.hookimpl
def bigmodel_augmentations() -> list[type[bm.Augmentation]]:
    """The augmentations of this package."""
    return [HorizontalFlip, VerticalFlip, RandomCrop, RandomShift]
