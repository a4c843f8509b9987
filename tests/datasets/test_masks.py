"""Images with masks: what is read of them, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigmodel_core.errors import BigmodelError, ConfigError, DataError
from bigmodel_datasets import Masks

DRAW = np.random.default_rng(5)


def write(folder: Path, masks: list[np.ndarray], image: tuple[int, int] = (4, 6)) -> list[np.ndarray]:
    """Images of random pixels with masks; gives the pixels."""
    pixels = [DRAW.integers(0, 256, image, dtype=np.uint8) for _ in masks]
    for part, arrays in (("images", pixels), ("masks", masks)):
        (folder / part).mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(folder / part / f"{number}.png")
    return pixels


def numbers(count: int = 3, top: int = 3) -> list[np.ndarray]:
    """Masks in which each class occurs."""
    found = DRAW.integers(0, top, (count, 4, 6), dtype=np.uint8)
    found[:, 0, :top] = np.arange(top)
    return list(found)


def parted(tmp_path: Path, masks: list[np.ndarray]) -> list[np.ndarray]:
    """The same masks to train and to test."""
    write(tmp_path / "test", masks)
    return write(tmp_path / "train", masks)


def test_images_and_masks_are_those_of_the_files(tmp_path: Path) -> None:
    masks = numbers()
    pixels = parted(tmp_path, masks)
    data = Masks().load(tmp_path)
    assert np.array_equal(np.asarray(data.train.y), masks)
    np.testing.assert_allclose(data.train.x[:][:, 0], np.array(pixels) / 255, atol=1e-7)


def test_classes_are_named_by_their_numbers(tmp_path: Path) -> None:
    parted(tmp_path, numbers())
    assert Masks().load(tmp_path).labels == ("0", "1", "2")


def test_some_are_held_out_where_there_is_no_test_folder(tmp_path: Path) -> None:
    write(tmp_path, numbers(10))
    data = Masks(test_fraction=0.3).load(tmp_path)
    assert (len(data.train), len(data.test)) == (7, 3)


def test_colours_are_classes_in_their_order(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 0, 0], [0, 0, 255]], np.uint8)
    masks = numbers()
    parted(tmp_path, [colours[mask] for mask in masks])
    data = Masks(classes=("cat", "ground", "dog"), colours=("ff0000", "000000", "#0000FF")).load(tmp_path)
    assert np.array_equal(np.asarray(data.train.y), masks)


def test_the_numbers_of_a_palette_are_classes(tmp_path: Path) -> None:
    masks = numbers()
    parted(tmp_path, masks)
    for path in tmp_path.glob("*/masks/*.png"):
        with Image.open(path) as image:
            image.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 200])
            image.save(path)
    assert np.array_equal(np.asarray(Masks().load(tmp_path).train.y), masks)


def test_black_and_white_are_two_classes_with_a_note(tmp_path: Path) -> None:
    masks = numbers(top=2)
    parted(tmp_path, [255 * mask for mask in masks])
    data = Masks().load(tmp_path)
    assert np.array_equal(np.asarray(data.train.y), masks) and "black and white" in data.notes[-1]


def test_masks_are_stretched_by_nearest_pixels(tmp_path: Path) -> None:
    masks = numbers()
    parted(tmp_path, masks)
    data = Masks(size=(8, 12)).load(tmp_path)
    assert np.array_equal(np.asarray(data.train.y), np.array(masks).repeat(2, 1).repeat(2, 2))


def test_ignored_pixels_are_the_label_that_counts_nothing(tmp_path: Path) -> None:
    masks = numbers()
    masks[0][3, 3] = 255
    parted(tmp_path, masks)
    data = Masks(ignore=255).load(tmp_path)
    assert (data.ignore, data.labels, int(data.train.y[0][3, 3])) == (255, ("0", "1", "2"), 255)


def test_other_data_are_read_as_those_of_training(tmp_path: Path) -> None:
    parted(tmp_path / "old", numbers())
    parted(tmp_path / "new", numbers(top=2))
    old = Masks(size=(8, 8), classes=("a", "b", "c")).load(tmp_path / "old")
    new = Masks().load(tmp_path / "new", like=old)
    assert (new.labels, new.input_shape, new.train.y.shape) == (old.labels, (1, 8, 8), (3, 8, 8))


def broken(folder: Path, what: str) -> None:
    """A folder of three images, in which something is wrong."""
    masks = numbers()
    if what == "size":
        masks[1] = masks[1][:, :3]
    if what == "class":
        masks[2][1, 1] = 7
    if what == "colour":
        masks = [np.stack([mask] * 3, -1) for mask in masks]
    if what == "gap":
        masks = [mask * 20 for mask in masks]
    parted(folder, masks)
    if what == "image alone":
        (folder / "train" / "masks" / "1.png").unlink()
    if what == "mask alone":
        (folder / "train" / "images" / "1.png").unlink()


@pytest.mark.parametrize(
    ("what", "options", "file", "message"),
    [
        ("size", {}, "masks/1.png", "the mask is 4x3 pixels, its image 4x6"),
        ("class", {"classes": ("a", "b", "c")}, "masks/2.png", "class 7, which has no name"),
        ("colour", {}, "masks/0.png", "its pixels are colours"),
        ("colour", {"colours": ("000000", "ff0000")}, "masks/0.png", "has the colour #010101"),
        ("gap", {}, "", "pixels of masks are 0, 20, 40, and none is 1"),
        ("image alone", {}, "images/1.png", "there is no mask for this image"),
        ("mask alone", {}, "masks/1.png", "there is no image for this mask"),
    ],
)
def test_what_is_wrong_is_said_with_its_file(
    tmp_path: Path, what: str, options: dict[str, Any], file: str, message: str
) -> None:
    broken(tmp_path, what)
    with pytest.raises(DataError, match=message) as raised:
        Masks(**options).load(tmp_path)
    assert file in str(raised.value.where) and raised.value.fix


@pytest.mark.parametrize(
    "options",
    [
        {"size": (1, 2, 3)},
        {"channels": 2},
        {"colours": ("red",)},
        {"classes": ("a",), "colours": ("0" * 6,) * 2},
    ],
)
def test_wrong_options_say_what_is_expected(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        Masks(**options)
    assert raised.value.fix


def test_a_folder_without_images_says_how_to_arrange_them(tmp_path: Path) -> None:
    with pytest.raises(BigmodelError, match="there is no folder images") as raised:
        Masks().load(tmp_path)
    assert "DIR/masks/1.png" in str(raised.value)
