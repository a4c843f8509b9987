"""Images with masks: what each pixel shows, for segmentation; files are read when their batch is made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.class_folders import PARTS, PassedOver, folder_named, listed
from bigmodel_datasets.image_folder import ImageFiles
from bigmodel_datasets.image_options import check_image_options, image_meaning, image_steps, with_test
from bigmodel_datasets.mask_files import BLACK_AND_WHITE, MaskFiles, MaskReader, colour_of, colour_text


@dataclass(frozen=True)
class Masks(bm.Dataset):
    """Images and their masks: DIR/images/1.jpg and DIR/masks/1.png, or the same in DIR/train and DIR/test.

    A mask has the name and the size of its image. Its pixels are the numbers of classes from 0, in a grey
    image or one with a palette; or colours, which `colours` lists. Masks of black and white alone are read as
    two classes. Images and masks of other sizes than `size` are stretched to it, masks by their nearest
    pixels. All masks are looked through while loading; images are read when they are needed.

    Args:
        size: height and width, or one number for both; None takes the size of the first image.
        channels: 1 (grey) or 3 (colours); None takes those of the first image.
        classes: the names of the classes, in the order of their numbers or colours. None calls them by these.
        colours: the colour of each class as six hexadecimal digits, as in 000000,ff0000.
        ignore: a pixel of this number counts nothing in losses and metrics, as 255 in PASCAL VOC.
        test_fraction: share of the images to hold out if there is no test folder.
        seed: key of the choice of held-out images.
        mean, std: one number, or one for each channel, of pixels from 0 to 1.

    `data_dir` is the folder DIR.
    """

    name: ClassVar[str] = "masks"
    size: tuple[int, ...] | None = None
    channels: int | None = None
    classes: tuple[str, ...] | None = None
    colours: tuple[str, ...] | None = None
    ignore: int | None = None
    test_fraction: float = 0.2
    seed: int = 0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_image_options(self)
        for colour in self.colours or ():
            colour_of(colour)
        if self.classes and self.colours and len(self.classes) != len(self.colours):
            raise ConfigError(
                f"there are {len(self.classes)} classes and {len(self.colours)} colours.",
                where=self.name,
                fix="give each class a colour, in the same order.",
            )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write images of 8x8 pixels with a bright square, and their masks."""
        from PIL import Image

        random = np.random.default_rng(0)
        for part in ("images", "masks"):
            (folder / part).mkdir()
        for number in range(20):
            mask = np.zeros((8, 8), np.uint8)
            down, right = random.integers(0, 5, 2)
            mask[down : down + 4, right : right + 4] = 1
            pixels = random.integers(0, 100, (8, 8), np.uint8) + 150 * mask
            Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; images are (n, C, H, W) float32, masks (n, H, W) int64, both read when they are needed.

        Raises:
            DataError: no folder, an image without a mask or the reverse, a mask of another size than its
                image, a pixel of a class without a name or of a colour that is none; names the file.
            ConfigError: mean or std do not fit the channels.
        """
        folder, passed_over = folder_named(data_dir, self.name), PassedOver()
        parts = {part: folder / part for part in PARTS if (folder / part).is_dir()} or {"train": folder}
        if "train" not in parts:
            raise DataError(
                "there is no folder train beside it.",
                where=str(next(iter(parts.values()))),
                fix="add train/images and train/masks, or put images and masks into DIR itself.",
            )
        pairs = {part: _pairs(place, passed_over) for part, place in parts.items()}
        every = [pair for some in pairs.values() for pair in some]
        labels = like.labels if like is not None and like.labels else self.classes
        made, notes = self, passed_over.notes()
        reader = MaskReader(self.colours, self.ignore, None if labels is None else len(labels))
        found = _numbers(every, reader)
        if self.colours is None and labels is None and found == {0, 255} and self.ignore is None:
            made = replace(self, colours=BLACK_AND_WHITE, classes=("black", "white"))
            labels, reader = made.classes, MaskReader(BLACK_AND_WHITE, None, 2)
            notes += ("Masks are black and white: two classes. Name them with classes=ground,object.",)
        if labels is None:
            labels = tuple(map(colour_text, self.colours)) if self.colours else self._numbered(found, folder)
            made = replace(self, classes=labels)
        steps = image_steps(self, pairs["train"][0][0], like)
        channels, height, width = steps.raw_shape
        splits = {
            part: bm.Split(
                ImageFiles([image for image, _ in some], (channels, height, width), steps),
                MaskFiles([mask for _, mask in some], (height, width), reader),
            )
            for part, some in pairs.items()
        }
        splits = with_test(splits, self)
        return bm.Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            labels=labels,
            task="classification",
            preprocessing=steps,
            input_meaning=image_meaning(steps),
            source=f"images and masks in the folder {folder.name}" + passed_over.told(),
            notes=notes,
            made_by=replace(made, size=(height, width), channels=channels),
            ignore=self.ignore,
        )

    def _numbered(self, found: set[int], folder: Path) -> tuple[str, ...]:
        """The numbers in masks as names of classes.

        Raises:
            DataError: there are gaps between them.
        """
        if missing := sorted(set(range(max(found) + 1)) - found):
            some = ", ".join(map(str, sorted(found)[:10])) + (", ..." if len(found) > 10 else "")
            raise DataError(
                f"pixels of masks are {some}, and none is {missing[0]}: they may be no numbers of classes.",
                where=str(folder),
                fix="name the classes, as in classes=ground,cat,dog; say which number counts nothing, as in"
                " ignore=255; or list the colours, as in colours=000000,262626.",
            )
        return tuple(map(str, range(max(found) + 1)))


def _pairs(folder: Path, passed_over: PassedOver) -> list[tuple[Path, Path]]:
    """The images of a folder with their masks, in the order of their names.

    Raises:
        DataError: a folder is missing or empty, or a file has no partner.
    """
    found = {}
    for part in ("images", "masks"):
        place = folder / part
        if not place.is_dir():
            raise DataError(
                f"there is no folder {part}.",
                where=str(folder),
                fix="arrange them as DIR/images/1.png and DIR/masks/1.png.",
            )
        files = [Path(item.path) for item in listed(place, passed_over) if item.is_file()]
        found[part] = {path.stem: path for path in files}
    images, masks = found["images"], found["masks"]
    if not images:
        raise DataError(
            f"there is no image; images end in {', '.join(bm.images.SUFFIXES)}.",
            where=str(folder / "images"),
            fix="add some.",
        )
    for stem in sorted(images.keys() ^ masks.keys()):
        own, other = ("image", "mask") if stem in images else ("mask", "image")
        raise DataError(
            f"there is no {other} for this {own}.",
            where=str(images.get(stem) or masks.get(stem)),
            fix=f"add {other}s/{stem}.png, or remove the {own}.",
        )
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def _numbers(pairs: list[tuple[Path, Path]], reader: MaskReader) -> set[int]:
    """The classes that occur in masks, without what counts nothing.

    Raises:
        DataError: a mask has another size than its image, or a pixel of no class.
    """

    def of_one(pair: tuple[Path, Path]) -> set[int]:
        image, mask = pair
        found = reader.read(mask)
        _, height, width = bm.images.image_shape(image)
        if found.shape != (height, width):
            raise DataError(
                f"the mask is {found.shape[0]}x{found.shape[1]} pixels, its image {height}x{width}.",
                where=str(mask),
                fix="save masks in the size of their images.",
            )
        return set(np.unique(found).tolist())

    with ThreadPoolExecutor() as pool:
        found = set().union(*pool.map(of_one, pairs)) - {reader.ignore}
    if not found:
        raise DataError(
            "all pixels of all masks count nothing.",
            where=str(pairs[0][1].parent),
            fix="choose another number with ignore=.",
        )
    return found
