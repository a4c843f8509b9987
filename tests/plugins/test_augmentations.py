"""Augmentations: what they do to images, and where their random numbers come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.augmentation import Augmentation, Draws, augmented, philox
from bigmodel_core.errors import BigmodelError, ConfigError, ShapeError

IMAGES = np.arange(5 * 2 * 4 * 6, dtype=np.float32).reshape(5, 2, 4, 6)


def one_by_one(change: Callable[[np.ndarray, np.ndarray], np.ndarray], numbers: str, *arguments: int) -> Any:
    """A reference that changes images one at a time."""

    def reference(x: np.ndarray, draws: Draws) -> np.ndarray:
        drawn = getattr(draws, numbers)(*arguments)
        return np.stack([change(image, number) for image, number in zip(x, drawn, strict=True)])

    return reference


def crop(image: np.ndarray, offset: np.ndarray) -> np.ndarray:
    margin = np.pad(image, ((0, 0), (3, 3), (3, 3)), constant_values=0.5)
    down, right = offset
    return margin[:, down : down + image.shape[1], right : right + image.shape[2]]


def shift(image: np.ndarray, offset: np.ndarray) -> np.ndarray:
    down, right = (np.arange(size) + move - 2 for size, move in zip(image.shape[1:], offset, strict=True))
    rows, columns = np.clip(down, 0, image.shape[1] - 1), np.clip(right, 0, image.shape[2] - 1)
    return image[:, rows][:, :, columns]


CASES: list[tuple[Augmentation, None, Any]] = [
    (
        bm.augmentations.HorizontalFlip(0.4),
        None,
        one_by_one(lambda image, number: image[:, :, ::-1] if number < 0.4 else image, "uniform"),
    ),
    (
        bm.augmentations.VerticalFlip(0.6),
        None,
        one_by_one(lambda image, number: image[:, ::-1] if number < 0.6 else image, "uniform"),
    ),
    (bm.augmentations.RandomCrop(3, 0.5), None, one_by_one(crop, "integers", 7, 2)),
    (bm.augmentations.RandomShift(2), None, one_by_one(shift, "integers", 5, 2)),
]
"""What `test_conformance` sweeps: augmentations, no inputs, references."""


def test_random_words_are_those_published_with_philox() -> None:
    """The known answers of Random123 (Salmon et al., 2011), philox4x32 with ten rounds."""
    digits = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    counters = np.array([[0] * 4, [0xFFFFFFFF] * 4, digits], np.uint64).T
    found = [
        philox(counters[:, [0]], (0, 0)),
        philox(counters[:, [1]], (0xFFFFFFFF, 0xFFFFFFFF)),
        philox(counters[:, [2]], (0xA4093822, 0x299F31D0)),
    ]
    assert [[f"{int(word):08x}" for word in words[:, 0]] for words in found] == [
        ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"],
        ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"],
        ["d16cfe09", "94fdcceb", "5001e420", "24126ea1"],
    ]


def test_draws_are_even_and_differ_by_every_part_of_the_key() -> None:
    samples = np.arange(100_000)
    first = Draws(samples, seed=0, epoch=0, stream=0)
    numbers = first.uniform()
    assert abs(numbers.mean() - 0.5) < 0.005 and abs(numbers.var() - 1 / 12) < 0.001
    assert numbers.min() >= 0 and numbers.max() < 1
    others = [
        first.uniform(),
        Draws(samples, 1, 0, 0).uniform(),
        Draws(samples, 0, 1, 0).uniform(),
        Draws(samples, 0, 0, 1).uniform(),
        Draws(samples + 1, 0, 0, 0).uniform(),
    ]
    for other in others:
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.02
    counts = np.bincount(Draws(samples, 0, 0, 0).integers(5), minlength=5)
    assert len(counts) == 5 and abs(counts / len(samples) - 0.2).max() < 0.01


def test_the_share_of_flipped_images_is_the_probability() -> None:
    x = np.tile(IMAGES[:1], (4000, 1, 1, 1))
    found = bm.augmentations.HorizontalFlip(0.25)(x, Draws(np.arange(4000), 0, 0, 0))
    assert abs((found != x).any((1, 2, 3)).mean() - 0.25) < 0.03


@pytest.mark.parametrize("name", ["HorizontalFlip", "VerticalFlip", "RandomCrop", "RandomShift"])
def test_samples_that_are_no_images_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"{name}.*expected images"):
        getattr(bm.augmentations, name)()(np.zeros((3, 5), "float32"), Draws(np.arange(3), 0, 0, 0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("HorizontalFlip", {"probability": 1.5}),
        ("VerticalFlip", {"probability": -0.1}),
        ("RandomCrop", {"padding": -1}),
        ("RandomShift", {"pixels": 0.5}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        getattr(bm.augmentations, name)(**options)


@dataclass(frozen=True)
class Broken(Augmentation):
    """Breaks one rule."""

    how: str = ""

    def __call__(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        if self.how == "shape":
            return x[:, :, 1:]
        if self.how == "dtype":
            return x.astype("float16")
        return x.copy()


@pytest.mark.parametrize("how", ["shape", "dtype"])
def test_training_refuses_an_augmentation_that_changes_shape_or_type(how: str) -> None:
    with pytest.raises(BigmodelError, match="keep the"):
        augmented(IMAGES, [Broken(how)], 0, 0, np.arange(5))
