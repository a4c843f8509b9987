"""Canvases with handwritten digits on them: what a picture shows at each of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.digits import bundled_digits

MOST = 4
"""Digits of a canvas at most: one in each of its quarters."""
_INK = 5.0
"""A digit is wherever its ink, from 0 to 16, is more than this."""


@dataclass(frozen=True)
class Canvases:
    """Pictures of digits.

    Args:
        pixels: (n, 1, size, size) uint8.
        masks: (n, size, size) int64: 0 for the ground, 1 more than the digit elsewhere.
        boxes: (n, MOST, 4) float32, in pixels: left, top, right, bottom; 0 where there is none.
        digits: (n, MOST) int64; -1 where there is none.
    """

    pixels: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    digits: np.ndarray


def canvases(count: int, size: int, part: str, seed: int) -> Canvases:
    """Canvases with one to four digits each, of various sizes, on noisy ground.

    Args:
        count: how many canvases.
        size: their height and width.
        part: "train" or "test": of which digits of the bundled data set.
        seed: the same canvases for the same seed.
    """
    images, labels = bundled_digits()
    train, test = bm.split_indices(len(labels), 0.2, seed=0, classes=labels)
    own = train if part == "train" else test
    random = np.random.default_rng((seed, part == "test"))
    ground = random.uniform(0, 5, (count, 1, 1)) + random.uniform(0, 3, (count, size, size))
    made = Canvases(
        np.empty((count, 1, size, size), np.uint8),
        np.zeros((count, size, size), np.int64),
        np.zeros((count, MOST, 4), np.float32),
        np.full((count, MOST), -1, np.int64),
    )
    half = size // 2
    for row, canvas in enumerate(ground):
        for place, quarter in enumerate(random.permutation(MOST)[: random.integers(1, MOST + 1)]):
            chosen, edge = random.choice(own), random.integers(half // 2, half + 1)
            down, right = random.integers(0, half - edge + 1, 2) + np.array(divmod(quarter, 2)) * half
            ink = _enlarged(images[chosen, 0], int(edge))
            is_ink = ink > _INK
            rows, columns = (np.flatnonzero(is_ink.any(axis)) for axis in (1, 0))
            here = np.s_[down : down + edge, right : right + edge]
            canvas[here] = np.maximum(canvas[here], ink)
            made.masks[row][here][is_ink] = labels[chosen] + 1
            made.boxes[row, place] = (
                right + columns[0],
                down + rows[0],
                right + columns[-1] + 1,
                down + rows[-1] + 1,
            )
            made.digits[row, place] = labels[chosen]
        made.pixels[row, 0] = np.rint(canvas * (255 / 16))
    return made


def _enlarged(image: np.ndarray, size: int) -> np.ndarray:
    """A square image with another number of pixels, interpolated."""
    place = np.clip((np.arange(size) + 0.5) * len(image) / size - 0.5, 0, len(image) - 1)
    weights = np.maximum(0, 1 - np.abs(place[:, np.newaxis] - np.arange(len(image))))
    return np.asarray(weights @ image @ weights.T)


@dataclass(frozen=True)
class _Canvas(bm.Dataset):
    size: int = 48
    train: int = 4000
    test: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        bm.check_number(self, "size", whole=True, at_least=16)
        for name in ("train", "test"):
            bm.check_number(self, name, whole=True, at_least=1)
        bm.check_number(self, "seed", whole=True, at_least=0)

    def made(self, data_dir: Path | None) -> tuple[bm.Preprocessing, dict[str, Canvases]]:
        """The canvases of each split, and how their pixels become samples.

        Raises:
            DataError: a `data_dir` was named.
        """
        if data_dir is not None:
            raise DataError(
                f"{self.name} is made of digits that come with bigmodel, and not read from a folder.",
                where=str(data_dir),
                fix="leave the data directory out, or load another data set from it.",
            )
        steps = bm.Preprocessing(1 / 255, (0.35,), (0.25,), "uint8", (1, self.size, self.size))
        counts = {"train": self.train, "test": self.test}
        return steps, {part: canvases(n, self.size, part, self.seed) for part, n in counts.items()}

    def facts(self) -> dict[str, Any]:
        """What is said of the data."""
        return {
            "name": self.name,
            "input_meaning": f"grey image of one to four handwritten digits, {self.size}x{self.size} pixels"
            " from 0 (black) to 255",
            "source": "digits of Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998,"
            " UCI Machine Learning Repository, CC BY 4.0, put on canvases",
        }


@dataclass(frozen=True)
class DigitMasks(_Canvas):
    """Canvases with one to four of the bundled digits; the target says for each pixel which digit it shows.

    Classes are the ground and the ten digits. Those of the test split come from other digits than those of
    the training split. Nothing is read from `data_dir`.

    Args:
        size: height and width of a canvas, at least 16.
        train, test: how many canvases each split has.
        seed: the same canvases for the same seed.

    >>> data = DigitMasks(size=32, train=3, test=2).load()
    >>> data.train.x.shape, data.train.y.shape, data.classes
    ((3, 1, 32, 32), (3, 32, 32), 11)
    """

    name: ClassVar[str] = "digit-masks"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; images are (n, 1, size, size) float32, targets (n, size, size) int64.

        Raises:
            DataError: a `data_dir` was named.
        """
        steps, made = self.made(data_dir)
        splits = {part: bm.Split(steps.apply(some.pixels), some.masks) for part, some in made.items()}
        return bm.Data(
            train=splits["train"],
            test=splits["test"],
            labels=("ground", *"0123456789"),
            task="classification",
            preprocessing=steps,
            **self.facts(),
        )


@dataclass(frozen=True)
class DigitBoxes(_Canvas):
    """Canvases with one to four of the bundled digits; the target is a box around each, and which it is.

    They are the canvases of `digit-masks`. Nothing is read from `data_dir`.

    Args:
        size: height and width of a canvas, at least 16.
        train, test: how many canvases each split has.
        seed: the same canvases for the same seed.

    >>> data = DigitBoxes(size=32, train=3, test=2).load()
    >>> data.train.y.shape, data.labels[:3]
    ((3, 4, 5), ('0', '1', '2'))
    """

    name: ClassVar[str] = "digit-boxes"

    def load(self, data_dir: Path | None = None) -> bm.Data:
        """The data; images are (n, 1, size, size) float32, targets (n, 4, 5) float32: digit, left, top,
        right, bottom in pixels; -1 as digit where there is none.

        Raises:
            DataError: a `data_dir` was named.
        """
        steps, made = self.made(data_dir)
        splits = {
            part: bm.Split(
                steps.apply(some.pixels),
                np.concatenate([some.digits[..., np.newaxis], some.boxes], -1, dtype=np.float32),
            )
            for part, some in made.items()
        }
        return bm.Data(
            train=splits["train"],
            test=splits["test"],
            labels=tuple("0123456789"),
            task="regression",
            preprocessing=steps,
            **self.facts(),
        )
