"""Images in folders, a folder for each class; files are read when their batch is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.class_folders import PassedOver, check_labels, folder_named, listed, parts_of
from bigmodel_datasets.image_options import check_image_options, image_meaning, image_steps, with_test


@dataclass(frozen=True)
class ImageFolder(bm.Dataset):
    """Images in one folder per class: DIR/cat/1.png, or DIR/train/cat/1.png and DIR/test/cat/2.png.

    If there are folders `train` and `test`, they are the splits, and `validation` is one if it is there;
    else a share of each class is held out as test split. Classes are the names of the folders, in order.
    Pixels are scaled to 0 to 1; with `mean` and `std` they are standardised, in exported files too.
    Images are never all in memory. Files that are no images by their ending (`Thumbs.db`, `notes.txt`), what
    begins with a dot and `__MACOSX` are ignored; a note of the data says how many. What the numbers in
    files of more than 8 bits mean is said in `bigmodel_core.data.images`.

    Args:
        size: height and width, or one number for both; images of other sizes are stretched to it. None takes
            the size of the first image of the training split.
        channels: 1 (grey) or 3 (colours); None takes those of that first image.
        test_fraction: share of each class to hold out if there is no test folder.
        seed: key of the choice of held-out images.
        limit: use no more than this many images of a class, the first by name.
        mean, std: one number, or one for each channel, of pixels from 0 to 1.
        white: the number that means white in files of more than 8 bits, of signed numbers or of floats; where
            None, 65535 in files of 16 bits that do not declare fewer, and 1 in files of floats.
        skip_broken: read every image once while loading, and go on without those that cannot be read; a note
            of the data says how many. Otherwise the first of them that is needed is an error that names it.

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
    white: float | None = None
    skip_broken: bool = False

    def __post_init__(self) -> None:
        check_image_options(self)
        if self.limit is not None:
            bm.check_number(self, "limit", whole=True, at_least=1)
        if self.white is not None:
            bm.check_number(self, "white", above=0)

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write images of 8x8 pixels, bright and dark ones."""
        random = np.random.default_rng(0)
        for name, least in (("bright", 128), ("dark", 0)):
            (folder / name).mkdir()
            for number in range(20):
                pixels = random.integers(least, least + 128, (8, 8, 3), np.uint8)
                (folder / name / f"{number:02}.ppm").write_bytes(b"P6 8 8 255\n" + pixels.tobytes())

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; images are (n, C, H, W) float32, read when they are needed.

        Raises:
            DataError: no folder, no class, a class without images, a file that is no image, a test split with
                a class that the training split lacks, or a class that `like` does not know; names the folder
                or file.
            ConfigError: mean or std do not fit the channels.
        """
        folder, passed_over, least = folder_named(data_dir, self.name), PassedOver(), 2 if like is None else 1
        parts = parts_of(folder, passed_over)
        found = {part: self._classes(place, passed_over, least) for part, place in parts.items()}
        labels = like.labels if like is not None and like.labels is not None else tuple(found["train"])
        for part, classes in found.items():
            if like is None:
                check_labels(parts[part], tuple(classes), parts["train"], labels)
            elif unknown := [name for name in classes if name not in labels]:
                raise bm.conforming.unknown_label(unknown, labels, str(parts[part]))
        if self.skip_broken:
            passed_over.broken += self._without_broken(found)
        files = {
            part: [path for paths in classes.values() for path in paths] for part, classes in found.items()
        }
        y = {
            part: np.repeat(
                [labels.index(name) for name in classes], [len(paths) for paths in classes.values()]
            )
            for part, classes in found.items()
        }
        preprocessing = image_steps(self, files["train"][0], like)
        channels, height, width = preprocessing.raw_shape
        splits = {
            part: bm.Split(ImageFiles(paths, (channels, height, width), preprocessing, self.white), y[part])
            for part, paths in files.items()
        }
        splits = with_test(splits, self, y["train"])
        return bm.Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            labels=labels,
            task="classification",
            preprocessing=preprocessing,
            input_meaning=image_meaning(preprocessing),
            source=f"image files in the folder {folder.name}" + passed_over.told(),
            notes=passed_over.notes(),
            made_by=replace(self, size=(height, width), channels=channels),
        )

    def _classes(self, folder: Path, passed_over: PassedOver, least: int) -> dict[str, list[Path]]:
        """The images of each class of a split, both in the order of their names; `least` classes or more."""
        classes: dict[str, list[Path]] = {}
        for place in listed(folder, passed_over):
            if not place.is_dir():
                raise DataError(
                    "this image is beside the class folders.",
                    where=place.path,
                    fix="put images into a folder named after their class, and other files elsewhere.",
                )
            before = len(passed_over.strays)
            items = listed(place, passed_over)
            if nested := next((item for item in items if item.is_dir()), None):
                raise DataError(
                    "it is a folder inside the folder of a class.",
                    where=nested.path,
                    fix="remove it, or move it elsewhere.",
                )
            if not items:
                others = ", but other files" if len(passed_over.strays) > before else ""
                endings = ", ".join(bm.images.SUFFIXES)
                raise DataError(
                    f"there is no image of this class{others}; images end in {endings}.",
                    where=place.path,
                    fix="add some, or remove the folder.",
                )
            classes[place.name] = [Path(item.path) for item in items[: self.limit]]
        if len(classes) < least:
            names = f"one class, {next(iter(classes))}" if classes else "no class"
            raise DataError(
                f"there is {names}; expected a folder for each of two classes or more.",
                where=str(folder),
                fix="arrange them as DIR/CLASS/1.png, or DIR/train/CLASS/1.png and DIR/test/CLASS/2.png.",
            )
        return classes

    def _without_broken(self, found: dict[str, dict[str, list[Path]]]) -> list[Path]:
        """Take images that cannot be read out of the classes of all splits; returns them.

        Raises:
            DataError: a class has no other.
        """
        from concurrent.futures import ThreadPoolExecutor

        broken: list[Path] = []
        with ThreadPoolExecutor() as pool:
            for classes in found.values():
                for name, paths in classes.items():
                    is_whole = list(pool.map(self._is_whole, paths))
                    kept = [path for path, whole in zip(paths, is_whole, strict=True) if whole]
                    broken += sorted(set(paths) - set(kept))
                    if not kept:
                        raise DataError(
                            f"none of the {len(paths)} images of this class can be read.",
                            where=str(paths[0].parent),
                            fix="add some that can; without skip_broken the first is named with the reason.",
                        )
                    classes[name] = kept
        return broken

    def _is_whole(self, path: Path) -> bool:
        try:
            bm.images.check_image(path, self.white)
        except DataError:
            return False
        return True


class ImageFiles(bm.Source):
    """Image files as samples: (n, C, H, W) float32 after preprocessing.

    Args:
        paths: the files.
        shape: channels, height and width that all are brought to.
        preprocessing: from uint8 pixels to samples.
        white: the number that means white in files of more than 8 bits.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shape: tuple[int, int, int],
        preprocessing: bm.Preprocessing,
        white: float | None = None,
    ) -> None:
        self.paths, self.preprocessing = list(paths), preprocessing
        self.options = {} if white is None else {"white": white}
        self.shape, self.dtype = (len(self.paths), *shape), np.dtype(np.float32)
        self._image_shape = shape

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Decode the images at some positions; see `Source.read`."""
        raw = np.empty((len(indices), *self._image_shape), np.uint8)
        for row, index in enumerate(indices.tolist()):
            try:
                raw[row] = bm.images.read_image(self.paths[index], self._image_shape, **self.options)
            except DataError as error:
                error.fix = (
                    f"{error.fix} With skip_broken=true (--skip-broken) the others are used without it."
                )
                raise
        out[...] = self.preprocessing.apply(raw)
