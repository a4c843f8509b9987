"""Augmentations: images flipped, moved, turned, recoloured, erased and mixed at random, in training."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_augmentations.colours import ColourJitter, RandomErasing
from bigmodel_augmentations.images import HorizontalFlip, RandomCrop, RandomShift, VerticalFlip
from bigmodel_augmentations.mixing import CutMix, Mixup
from bigmodel_augmentations.warps import RandomRotation, RandomScale

__all__ = [
    "ColourJitter",
    "CutMix",
    "HorizontalFlip",
    "Mixup",
    "RandomCrop",
    "RandomErasing",
    "RandomRotation",
    "RandomScale",
    "RandomShift",
    "VerticalFlip",
]


@bm.hookimpl
def bigmodel_augmentations() -> list[type[bm.Augmentation]]:
    """The augmentations of this package."""
    moving: list[type[bm.Augmentation]] = [HorizontalFlip, VerticalFlip, RandomCrop, RandomShift]
    return [*moving, RandomRotation, RandomScale, ColourJitter, RandomErasing, Mixup, CutMix]
