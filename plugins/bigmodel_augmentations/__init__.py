"""Augmentations: images flipped, cropped, shifted and mixed at random, in training."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_augmentations.images import HorizontalFlip, RandomCrop, RandomShift, VerticalFlip
from bigmodel_augmentations.mixing import CutMix, Mixup

__all__ = ["CutMix", "HorizontalFlip", "Mixup", "RandomCrop", "RandomShift", "VerticalFlip"]


@bm.hookimpl
def bigmodel_augmentations() -> list[type[bm.Augmentation]]:
    """The augmentations of this package."""
    return [HorizontalFlip, VerticalFlip, RandomCrop, RandomShift, Mixup, CutMix]
