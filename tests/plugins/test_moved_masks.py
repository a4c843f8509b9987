"""Augmentations of images with masks: a mask moves as its image does, and nothing else changes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.augmentation import Augmentation, Draws, augmented_pair
from bigmodel_core.errors import ConfigError, UsageError

SAMPLES = np.arange(6)
MASKS = np.random.default_rng(2).integers(0, 4, (6, 8, 8))
# The first channel of an image shows its mask, so that one can be read off the other.
IMAGES = np.stack([MASKS, MASKS * 2.0], 1).astype("float32")


def pair(*augment: Any, classes: int | None = None) -> tuple[np.ndarray, Any]:
    return augmented_pair(IMAGES, MASKS, augment, 1, 2, SAMPLES, classes)


@pytest.mark.parametrize(
    "change",
    [
        bm.augmentations.HorizontalFlip(),
        bm.augmentations.VerticalFlip(),
        bm.augmentations.RandomCrop(2),
        bm.augmentations.RandomShift(2),
        bm.augmentations.RandomRotation(0),
        bm.augmentations.RandomScale(0.5, 0.5),
    ],
)
def test_masks_move_as_their_images(change: Any) -> None:
    x, y = pair(change)
    if isinstance(change, bm.augmentations.RandomScale):  # a pixel is the mean of four, where they are alike
        even = np.repeat(np.repeat(MASKS[:, ::2, ::2], 2, 1), 2, 2)
        x, y = augmented_pair(np.float32(even[:, np.newaxis]), even, [change], 1, 2, SAMPLES)
    assert np.array_equal(x[:, 0], y)


@pytest.mark.parametrize("change", [bm.augmentations.ColourJitter(), bm.augmentations.RandomErasing(1.0)])
def test_masks_stay_where_no_pixel_moves(change: Any) -> None:
    x, y = pair(change)
    assert np.array_equal(y, MASKS) and not np.array_equal(x, IMAGES)


def boxed(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images with a bright rectangle each, and the boxes around them."""
    x, y = np.zeros((6, 1, 9, 12), "float32"), np.full((6, 2, 5), -1, "float32")
    y[:, :, 1:] = 0
    for image, boxes in zip(x, y, strict=True):
        top, left, height, width = draw.integers(1, 5, 4)
        image[0, top : top + height, left : left + width] = 1
        boxes[0] = 3, left, top, left + width, top + height
    return x, y


@pytest.mark.parametrize("name", ["HorizontalFlip", "VerticalFlip", "RandomCrop", "RandomShift"])
def test_boxes_are_around_what_moved(name: str) -> None:
    x, y = boxed(np.random.default_rng(1))
    x, found = augmented_pair(x, y, [getattr(bm.augmentations, name)()], 1, 2, SAMPLES)
    assert found is not None
    for image, (label, *box) in zip(x[:, 0], found[:, 0].tolist(), strict=True):
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        if len(rows):
            assert (label, box) == (3, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def test_a_box_of_which_nothing_is_left_is_none() -> None:
    x, y = np.zeros((6, 1, 8, 8), "float32"), np.tile(np.float32([[2, 0, 0, 1, 1]]), (6, 1, 1))
    _, found = augmented_pair(x, y, [bm.augmentations.RandomCrop(4)], 1, 2, SAMPLES)
    assert found is not None and [-1, 0, 0, 0, 0] in found[:, 0].tolist()


def test_where_there_is_no_box_none_comes() -> None:
    x, y = boxed(np.random.default_rng(1))
    _, found = augmented_pair(x, y, [bm.augmentations.HorizontalFlip()], 1, 2, SAMPLES)
    assert found is not None and np.array_equal(found[:, 1], y[:, 1])


def test_margins_of_masks_are_class_0() -> None:
    _, y = augmented_pair(IMAGES, MASKS + 1, [bm.augmentations.RandomCrop(3, fill=2.5)], 1, 2, SAMPLES)
    assert set(np.unique(y)) == {0, 1, 2, 3, 4}


def test_turned_masks_have_no_classes_in_between() -> None:
    far = np.where(MASKS % 2, 9, 0)
    _, y = augmented_pair(IMAGES, far, [bm.augmentations.RandomRotation(45)], 1, 2, SAMPLES)
    assert set(np.unique(y)) == {0, 9} and not np.array_equal(y, far)


def test_a_box_of_cutmix_has_the_mask_of_the_other_image() -> None:
    x, y = pair(bm.augmentations.CutMix(), classes=4)
    assert np.array_equal(y.argmax(-1), x[:, 0])


def test_an_augmentation_that_does_not_say_whether_it_moves_pixels_is_refused() -> None:
    class Wobble(Augmentation):
        def __call__(self, x: np.ndarray, draws: Draws) -> np.ndarray:
            return x

    with pytest.raises(UsageError, match="moves pixels") as raised:
        pair(Wobble())
    assert "Wobble.moves" in str(raised.value)


def test_masks_are_mixed_last() -> None:
    with pytest.raises(UsageError, match="mixed already"):
        pair(bm.augmentations.CutMix(), bm.augmentations.HorizontalFlip(), classes=4)


def test_rotation_is_that_of_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.random.default_rng(4).normal(size=(5, 2, 7, 9)).astype("float32")
    found = bm.augmentations.RandomRotation(40, fill=0.5)(x, Draws(np.arange(5), 0, 0, 0))
    angles = np.deg2rad(40) * (2 * Draws(np.arange(5), 0, 0, 0).uniform() - 1)
    middle = np.array([3, 4])
    for image, angle, turned in zip(x, angles, found, strict=True):
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for channel, own in zip(image, turned, strict=True):
            padded = np.pad(channel, 1, constant_values=0.5)  # SciPy takes nothing between inside and outside
            expected = ndimage.affine_transform(
                padded, matrix, middle + 1 - matrix @ (middle + 1), order=1, mode="nearest"
            )[1:-1, 1:-1]
            np.testing.assert_allclose(own, expected, atol=1e-5)


def test_the_share_that_is_erased_is_in_the_range() -> None:
    x = np.ones((200, 1, 40, 40), "float32")
    found = bm.augmentations.RandomErasing(1.0, 0.05, 0.1)(x, Draws(np.arange(200), 0, 0, 0))
    shares = (found == 0).mean((1, 2, 3))
    assert 0.035 < shares.min() < 0.06 and 0.09 < shares.max() < 0.115


def test_contrast_and_saturation_keep_the_mean() -> None:
    found = bm.augmentations.ColourJitter(0)(IMAGES, Draws(SAMPLES, 0, 0, 0))
    np.testing.assert_allclose(found.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RandomRotation", {"degrees": -1}),
        ("RandomScale", {"low": 2.0, "high": 1.0}),
        ("ColourJitter", {"contrast": 1.5}),
        ("RandomErasing", {"low": 0.0}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        getattr(bm.augmentations, name)(**options)
