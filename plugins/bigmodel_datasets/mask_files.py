"""Mask files as arrays of class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL.Image import Image

BLACK_AND_WHITE = ("000000", "ffffff")


def colour_of(text: str) -> int:
    """The number of a colour: its six hexadecimal digits.

    Raises:
        ConfigError: it has others.

    >>> colour_of("#ff0000") == 0xFF0000
    True
    """
    digits = text.removeprefix("#")
    if len(digits) != 6 or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ConfigError(
            f"{text!r} is no colour, expected six hexadecimal digits.",
            where="masks",
            fix="list the colour of each class, as in colours=000000,ff0000.",
        )
    return int(digits, 16)


def colour_text(text: str) -> str:
    """A colour as people write it.

    >>> colour_text("FF0000")
    '#ff0000'
    """
    return f"#{colour_of(text):06x}"


@dataclass(frozen=True)
class MaskReader:
    """What the pixels of mask files mean.

    Args:
        colours: the colour of each class; None if pixels are numbers.
        ignore: the number of pixels that count nothing.
        classes: how many classes have a name; None if all numbers are names.
    """

    colours: Sequence[str] | None
    ignore: int | None
    classes: int | None

    def read(self, path: Path) -> np.ndarray:
        """The class of each pixel, (H, W) int64.

        Raises:
            DataError: it is no image, has colours that are no class, or a class without a name.
        """
        found: np.ndarray = bm.images.opened(
            path, self._numbers if self.colours is None else self._of_colours
        )
        counted = found if self.ignore is None else found[found != self.ignore]
        top = np.inf if self.classes is None else self.classes - 1
        if (wrong := counted[(counted < 0) | (counted > top)]).size:
            raise DataError(
                f"a pixel is of class {wrong[0]}, which has no name: those that have one are 0 to {top}.",
                where=str(path),
                fix="name all classes, as in classes=ground,cat,dog, or say which number counts nothing, as"
                " in ignore=255.",
            )
        return found

    def _numbers(self, image: Image) -> np.ndarray:
        if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
            raise DataError(
                f"its pixels are colours ({image.mode}), expected the numbers of classes.",
                fix="list the colour of each class, as in colours=000000,ff0000.",
            )
        return np.asarray(image).astype(np.int64)

    def _of_colours(self, image: Image) -> np.ndarray:
        pixels = np.asarray(image.convert("RGB"), np.int64) @ np.array([1 << 16, 1 << 8, 1])
        known = np.array([colour_of(text) for text in self.colours or ()])
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], pixels), len(known) - 1)
        found = order[place]
        if (odd := pixels[known[found] != pixels]).size:
            listed = ", ".join(map(colour_text, self.colours or ()))
            raise DataError(
                f"a pixel has the colour #{odd[0]:06x}, which is no class: those are {listed}.",
                fix="add it to colours=; save masks without smoothing and not as JPEG, which blurs colours.",
            )
        return np.asarray(found, np.int64)


class MaskFiles(bm.Source):
    """Mask files as targets: (n, H, W) int64.

    Args:
        paths: the files.
        shape: the height and width that all are stretched to, by nearest pixels.
        reader: what their pixels mean.
    """

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int], reader: MaskReader) -> None:
        self.paths, self.reader = list(paths), reader
        self.shape, self.dtype = (len(self.paths), *shape), np.dtype(np.int64)

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Decode the masks at some positions; see `Source.read`."""
        for row, index in enumerate(indices.tolist()):
            mask = self.reader.read(self.paths[index])
            rows, columns = (
                ((2 * np.arange(wanted) + 1) * size // (2 * wanted))
                for wanted, size in zip(out.shape[1:], mask.shape, strict=True)
            )
            out[row] = mask[rows[:, np.newaxis], columns]
