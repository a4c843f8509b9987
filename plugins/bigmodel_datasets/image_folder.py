"""Images in folders, a folder for each class; files are read when their batch is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bigmodel_core import images
from bigmodel_core.dataset import Data, Dataset, Preprocessing, Source, Split, split_indices
from bigmodel_core.dataset_files import environment_folders, existing
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.field_limits import check_number

PARTS = ("train", "test", "validation")


@dataclass(frozen=True)
class ImageFolder(Dataset):
    """Images in folders of one folder a class: DIR/cat/1.png, or DIR/train/cat/1.png and DIR/test/cat/2.png.

    Where there are folders `train` and `test`, they are the splits, and `validation` is one if it is there;
    else a share of each class is held out as test split. Classes are the names of the folders, in order.
    Pixels are scaled to 0 to 1; with `mean` and `std` they are standardised, in exported files too.
    Images are never all in memory. Files whose names begin with a dot are passed over.

    Args:
        size: height and width, or one number for both; images of other sizes are stretched to it. None takes
            the size of the first image of the training split.
        channels: 1 (grey) or 3 (colours); None takes those of that first image.
        test_fraction: share of each class to hold out where there is no test folder.
        seed: key of the choice of held-out images.
        limit: use no more than this many images of a class, the first by name.
        mean, std: one number, or one for each channel, of pixels from 0 to 1.

    `data_dir` is the folder DIR.
    """

    name: ClassVar[str] = "image-folder"
    size: tuple[int, ...] | None = None
    channels: int | None = None
    test_fraction: float = 0.2
    seed: int = 0
    limit: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) not in (1, 2) or min(self.size) < 1):
            raise ConfigError(
                f"size is {self.size!r}, expected height and width.", where=self.name, fix="pass size=32,32."
            )
        if self.channels not in (None, 1, 3):
            raise ConfigError(
                f"channels is {self.channels!r}, expected 1 or 3.", where=self.name, fix="pass channels=3."
            )
        check_number(self, "test_fraction", above=0, below=1)
        check_number(self, "seed", whole=True, at_least=0)
        if self.limit is not None:
            check_number(self, "limit", whole=True, at_least=1)

    def load(self, data_dir: Path | None = None) -> Data:
        """The data; images are (n, C, H, W) float32, read when they are needed.

        Raises:
            DataError: no folder, no class, a class without images, a file that is no image, or a test split
                with a class that the training split lacks; names the folder or file.
            ConfigError: mean or std do not fit the channels.
        """
        folder = _folder(data_dir)
        parts = _parts(folder)
        found = {part: self._classes(place) for part, place in parts.items()}
        labels = tuple(found["train"])
        for part, classes in found.items():
            _check_labels(parts[part], tuple(classes), parts["train"], labels)
        files = {
            part: [path for paths in classes.values() for path in paths] for part, classes in found.items()
        }
        y = {
            part: np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
            for part, classes in found.items()
        }
        shape = self._shape(files["train"][0])
        preprocessing = Preprocessing(1 / 255, self.mean, self.std, "uint8", shape)
        splits = {
            part: Split(ImageFiles(paths, shape, preprocessing), y[part]) for part, paths in files.items()
        }
        if "test" not in splits:
            kept, held_out = split_indices(len(y["train"]), self.test_fraction, self.seed, classes=y["train"])
            everything = splits["train"]
            splits.update(train=everything.take(kept), test=everything.take(held_out))
        channels, height, width = shape
        return Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            labels=labels,
            task="classification",
            preprocessing=preprocessing,
            input_meaning=f"{'grey' if channels == 1 else 'colour'} image, {height}x{width} pixels "
            "from 0 (black) to 255",
            source=f"image files in the folder {folder.name}",
        )

    def _classes(self, folder: Path) -> dict[str, list[Path]]:
        """The images of each class of a split, both in the order of their names."""
        classes: dict[str, list[Path]] = {}
        for place in _listed(folder):
            if not place.is_dir():
                raise DataError(
                    "it lies beside the folders of the classes.",
                    where=place.path,
                    fix="put images into a folder named after their class, and other files elsewhere.",
                )
            items = _listed(place)
            for item in items:
                if not item.name.lower().endswith(images.SUFFIXES) or not item.is_file():
                    what = "a folder inside the folder of a class" if item.is_dir() else "no image"
                    raise DataError(
                        f"it is {what}; images end in {', '.join(images.SUFFIXES)}.",
                        where=item.path,
                        fix="remove it, or move it elsewhere.",
                    )
            if not items:
                raise DataError(
                    "there is no image of this class.",
                    where=place.path,
                    fix="add some, or remove the folder.",
                )
            classes[place.name] = [Path(item.path) for item in items[: self.limit]]
        if len(classes) < 2:
            names = f"one class, {next(iter(classes))}" if classes else "no class"
            raise DataError(
                f"there is {names}; expected a folder for each of two classes or more.",
                where=str(folder),
                fix="arrange them as DIR/CLASS/1.png, or DIR/train/CLASS/1.png and DIR/test/CLASS/2.png.",
            )
        return classes

    def _shape(self, first: Path) -> tuple[int, int, int]:
        if self.size is not None and self.channels is not None:
            stored = (self.channels, *self.size[:1], *self.size[-1:])
            return stored  # type: ignore[return-value]
        channels, height, width = images.image_shape(first)
        if self.size is not None:
            height, width = self.size[0], self.size[-1]
        return self.channels or channels, height, width


class ImageFiles(Source):
    """Image files as samples: (n, C, H, W) float32 after preprocessing.

    Args:
        paths: the files.
        shape: channels, height and width that all are brought to.
        preprocessing: from uint8 pixels to samples.
    """

    def __init__(
        self, paths: Sequence[Path], shape: tuple[int, int, int], preprocessing: Preprocessing
    ) -> None:
        self.paths, self.preprocessing = list(paths), preprocessing
        self.shape, self.dtype = (len(self.paths), *shape), np.dtype(np.float32)
        self._image_shape = shape

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Decode the images at some positions; see `Source.read`."""
        raw = np.empty((len(indices), *self._image_shape), np.uint8)
        for row, index in enumerate(indices.tolist()):
            raw[row] = images.read_image(self.paths[index], self._image_shape)
        out[...] = self.preprocessing.apply(raw)


def _folder(data_dir: Path | None) -> Path:
    folders = [existing(Path(data_dir))] if data_dir is not None else environment_folders("image-folder")
    if not folders:
        raise DataError(
            "image-folder needs a folder to read.", where="image-folder", fix="name it with --data-dir DIR."
        )
    if not folders[0].is_dir():
        raise DataError("it is a file.", where=str(folders[0]), fix="name the folder that holds the classes.")
    return folders[0]


def _parts(folder: Path) -> dict[str, Path]:
    """The folder of each split; all is "train" where the classes lie in the folder itself."""
    parts = {part: folder / part for part in PARTS if (folder / part).is_dir()}
    if {"train", "test"} <= set(parts):
        return parts
    nested = [place for place in parts.values() if any(item.is_dir() for item in _listed(place))]
    if nested:
        missing = "test" if "train" in parts else "train"
        raise DataError(
            f"there is a folder {nested[0].name} with classes in it, but no folder {missing}.",
            where=str(folder),
            fix=f"add {missing}, or name {nested[0]} itself to have a share of it held out.",
        )
    return {"train": folder}


def _listed(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; entries know their kind, so a million files need no million calls."""
    try:
        with os.scandir(folder) as items:
            return sorted(
                (item for item in items if not item.name.startswith(".")), key=lambda item: item.name
            )
    except OSError as error:
        raise DataError(f"cannot list it: {error.strerror or error}.", where=os.fspath(folder)) from error


def _check_labels(folder: Path, found: tuple[str, ...], train: Path, expected: tuple[str, ...]) -> None:
    if found == expected:
        return
    unknown, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    names = ", ".join(expected[:10]) + (", ..." if len(expected) > 10 else "")
    odd = f"{unknown[0]} is there" if unknown else f"{missing[0]} is missing"
    raise DataError(
        f"its classes differ from those of {train.name}: {odd}.",
        where=str(folder),
        fix=f"give {folder.name} the folders {names}.",
    )
