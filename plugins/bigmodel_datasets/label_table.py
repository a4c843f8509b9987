"""The rows of a table of images and labels, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError

IMAGES = "images"
"""The folder beside a table that may hold its images."""
USUAL_SEPARATORS = ";|"


def is_image(cell: str) -> bool:
    """Whether a cell names an image."""
    return cell.strip().lower().endswith(bm.images.SUFFIXES)


def columns_of(
    path: Path, names: Sequence[str] | None, width: int, image: str | None, label: str | None
) -> tuple[int, int]:
    """Which columns hold the file and the label.

    Args:
        path: of the table.
        names: of its columns; None if it has none.
        width: how many there are.
        image, label: the names that were chosen.

    Raises:
        ConfigError: there is none of a name, or more than one could be that of labels.
    """
    known = [] if names is None else [name.strip() for name in names]
    for name in (image, label):
        if name is not None and name not in known:
            said = f"they are {', '.join(known)}" if known else "its first row names an image"
            raise ConfigError(f"there is no column '{name}': {said}.", where=str(path), fix="name another.")
    places = list(range(width))
    own = known.index(image) if image is not None else next(k for k in places if k != _place(known, label))
    others = [place for place in places if place != own]
    if label is not None:
        return own, known.index(label)
    if len(others) != 1:
        raise ConfigError(
            f"it has {width} columns, expected the image and its label.",
            where=str(path),
            fix="name them with image=NAME and label=NAME, as the first row does.",
        )
    return own, others[0]


def _place(names: Sequence[str], name: str | None) -> int | None:
    return None if name is None else names.index(name)


@dataclass
class Listed:
    """The images of a table, and the labels of each.

    Args:
        path: of the table.
        files: the images.
        labels: of each.
        numbers: the line of each.
        lines: where each label is first, by label.
    """

    path: Path
    files: list[Path] = field(default_factory=list)
    labels: list[list[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    _seen: dict[Path, int] = field(default_factory=dict)

    def place(self, line: int) -> str:
        """A line of the table, for messages."""
        return f"{self.path}, line {line}"

    def add(self, line: int, name: str, labels: list[str]) -> None:
        """Add a row.

        Raises:
            DataError: there is no such image, or it is in an earlier row.
        """
        folder = self.path.parent
        places = [folder / name, folder / IMAGES / name]
        file = next((place for place in places if name and place.is_file()), None)
        if file is None:
            what = f"the image {name} is not there" if name else "the row names no image"
            raise DataError(f"{what}.", where=self.place(line), fix=f"add {places[0]}, or remove the row.")
        if (before := self._seen.setdefault(file, line)) != line:
            raise DataError(
                f"the image {name} is listed twice, first in line {before}.",
                where=self.place(line),
                fix="remove one of the rows; several labels of an image stand in one cell, with separator=;.",
            )
        self.files.append(file)
        self.labels.append(list(dict.fromkeys(labels)))
        self.numbers.append(line)
        for label in labels:
            self.lines.setdefault(label, line)

    def counts(self) -> Counter[str]:
        """How many images have each label."""
        return Counter(label for labels in self.labels for label in labels)

    def check(self, known: Sequence[str], *, is_new: bool, is_parted: bool) -> None:
        """Raise if labels are unknown or too rare.

        Args:
            known: those of the training.
            is_new: whether a model will be trained on them.
            is_parted: whether test images are taken from among them.

        Raises:
            DataError: a label is not among those, there are fewer than two, or one has a single image of
                which the split can have only one part.
        """
        if unknown := [label for label in self.lines if label not in known]:
            raise bm.conforming.unknown_label(unknown, tuple(known), self.place(self.lines[unknown[0]]))
        if is_new and len(known) < 2:
            names = f"one label, {known[0]}" if known else "no label"
            raise DataError(
                f"there is {names}; expected two or more.", where=str(self.path), fix="add images of others."
            )
        rare = [label for label, count in self.counts().items() if count == 1]
        if is_new and is_parted and rare:
            raise DataError(
                f"'{rare[0]}' is the label of one image alone, which cannot be trained on and tested with.",
                where=self.place(self.lines[rare[0]]),
                fix="add images of it, remove it, or arrange train and test in folders of their own.",
            )

    def targets(self, labels: Sequence[str], *, several: bool) -> np.ndarray:
        """The number of the label of each image; of several 0 and 1 for each label, (n, k)."""
        numbers = {label: number for number, label in enumerate(labels)}
        if not several:
            return np.array([numbers[own] for (own,) in self.labels], np.int64)
        found = np.zeros((len(self.files), len(labels)), np.float32)
        for row, own in zip(found, self.labels, strict=True):
            row[[numbers[label] for label in own]] = 1
        return found

    def rarest(self) -> np.ndarray:
        """The number of the rarest label of each image, by which splits are made; 0 is none."""
        counts = self.counts()
        numbers = {label: number for number, label in enumerate(sorted(counts), 1)}
        return np.array(
            [numbers[min(own, key=lambda name: (counts[name], name))] if own else 0 for own in self.labels]
        )

    def notes(self, separator: str | None) -> list[str]:
        """Decisions that a user may want to change."""
        if separator is not None:
            empty = sum(not labels for labels in self.labels)
            return [f"{self.path.name}: {empty} images have none of the labels."] if empty else []
        for mark in USUAL_SEPARATORS:
            if some := next((label for label in self.lines if mark in label), None):
                return [f"'{some}' is read as one label; separator={mark} reads several."]
        return []
