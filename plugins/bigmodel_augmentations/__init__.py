"""Augmentations: images flipped, cropped and shifted at random, in training."""

from __future__ import annotations

from bigmodel_augmentations.images import HorizontalFlip, RandomCrop, RandomShift, VerticalFlip
from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.registry.hookspecs import hookimpl

__all__ = ["HorizontalFlip", "RandomCrop", "RandomShift", "VerticalFlip"]


@hookimpl
def bigmodel_augmentations() -> list[type[Augmentation]]:
    """The augmentations of this package."""
    return [HorizontalFlip, VerticalFlip, RandomCrop, RandomShift]
