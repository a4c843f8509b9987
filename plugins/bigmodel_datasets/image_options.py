"""What data sets of image files share: their options, how pixels become samples, which are held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError


def check_image_options(dataset: Any) -> None:
    """Raise ConfigError unless the options `size`, `channels`, `test_fraction` and `seed` make sense."""
    if dataset.size is not None and (len(dataset.size) not in (1, 2) or min(dataset.size) < 1):
        raise ConfigError(
            f"size is {dataset.size!r}, expected height and width.",
            where=dataset.name,
            fix="pass size=32,32.",
        )
    if dataset.channels not in (None, 1, 3):
        raise ConfigError(
            f"channels is {dataset.channels!r}, expected 1 or 3.", where=dataset.name, fix="pass channels=3."
        )
    bm.check_number(dataset, "test_fraction", above=0, below=1)
    bm.check_number(dataset, "seed", whole=True, at_least=0)


def image_shape(dataset: Any, first: Path) -> tuple[int, int, int]:
    """Channels, height and width of samples: as the options say, else those of the first image."""
    if dataset.size is not None and dataset.channels is not None:
        return dataset.channels, dataset.size[0], dataset.size[-1]
    channels, height, width = bm.images.image_shape(first)
    if dataset.size is not None:
        height, width = dataset.size[0], dataset.size[-1]
    return dataset.channels or channels, height, width


def image_steps(dataset: Any, first: Path, like: bm.Encoding | None) -> bm.Preprocessing:
    """How pixels become samples: as in training, if that was of images of files.

    Raises:
        ConfigError: mean or std do not fit the channels.
    """
    steps = None if like is None else like.preprocessing
    if steps is not None and len(steps.raw_shape) == 3 and steps.raw_dtype == "uint8":
        return steps
    return bm.Preprocessing(1 / 255, dataset.mean, dataset.std, "uint8", image_shape(dataset, first))


def image_meaning(steps: bm.Preprocessing) -> str:
    """What a sample is, in words."""
    channels, height, width = steps.raw_shape
    return f"{'grey' if channels == 1 else 'colour'} image, {height}x{width} pixels from 0 (black) to 255"


def with_test(
    splits: Mapping[str, bm.Split], dataset: Any, classes: np.ndarray | None = None
) -> dict[str, bm.Split]:
    """The splits, with some training samples held out as test split where there is none.

    Args:
        splits: those that there are.
        dataset: whose `test_fraction` and `seed` choose.
        classes: of the training samples, which keep their proportions.
    """
    found = dict(splits)
    if "test" not in found:
        everything = found["train"]
        kept, held_out = bm.split_indices(
            len(everything), dataset.test_fraction, dataset.seed, classes=classes
        )
        found.update(train=everything.take(kept), test=everything.take(held_out))
    return found
