"""Images whose labels stand in a table: one an image, or several; files are read when their batch is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.class_folders import PARTS, folder_named
from bigmodel_datasets.image_folder import ImageFiles
from bigmodel_datasets.image_options import check_image_options, image_meaning, image_steps, with_test
from bigmodel_datasets.label_table import Listed, columns_of, is_image


@dataclass(frozen=True)
class LabelledImages(bm.Dataset):
    """Images and a table of their labels: DIR/labels.csv beside 1.jpg, or both in DIR/train and DIR/test.

    The table is CSV, TSV, JSON lines or Parquet, gzipped or not, with a row for each image: its file, from
    the folder of the table or from `images` in it, and its label. The first row of a CSV names the columns,
    unless it names an image. With `separator` a cell holds several labels, as in cat;dog: targets are then 0
    and 1 for each label, (n, k), and an empty cell is an image that has none of them. Images of other sizes
    than `size` are stretched to it, and read when they are needed.

    Args:
        size: height and width, or one number for both; None takes the size of the first image.
        channels: 1 (grey) or 3 (colours); None takes those of the first image.
        separator: what is between the labels of an image, such as ; or a blank. None is one label an image.
        table: the name of the table; None is the only one in the folder.
        image: the name of the column of files; None is the first.
        label: the name of the column of labels; None is the other one.
        test_fraction: share of the images to hold out if there is no test folder.
        seed: key of the choice of held-out images.
        mean, std: one number, or one for each channel, of pixels from 0 to 1.

    `data_dir` is the folder DIR.
    """

    name: ClassVar[str] = "labelled-images"
    size: tuple[int, ...] | None = None
    channels: int | None = None
    separator: str | None = None
    table: str | None = None
    image: str | None = None
    label: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_image_options(self)
        if self.separator == "":
            raise ConfigError("separator is empty.", where=self.name, fix="pass separator=; or leave it out.")

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write images of 8x8 pixels, bright and dark ones, and the table of which is which."""
        from PIL import Image

        random, lines = np.random.default_rng(0), ["file,label"]
        for number in range(20):
            least = 128 * (number % 2)
            pixels = random.integers(least, least + 128, (8, 8), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
            lines.append(f"{number:02}.png,{'bright' if least else 'dark'}")
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; images are (n, C, H, W) float32, labels (n,) int64, or (n, k) float32 of several.

        Raises:
            DataError: no folder or table, an image that is not there or is listed twice, a row without a
                label, a label that too few images have, or that `like` does not know; names table and line.
            ConfigError: there is no such column, or mean or std do not fit the channels.
        """
        folder = folder_named(data_dir, self.name)
        parts = {part: folder / part for part in PARTS if (folder / part).is_dir()}
        parts = parts if "train" in parts else {"train": folder}
        read = {part: self._read(place) for part, place in parts.items()}
        known = None if like is None else like.labels
        labels = known or tuple(sorted(read["train"].lines))
        for listed in read.values():
            listed.check(labels, is_new=known is None, is_parted="test" not in parts)
        steps = image_steps(self, read["train"].files[0], like)
        channels, height, width = steps.raw_shape
        splits = {
            part: bm.Split(
                ImageFiles(listed.files, (channels, height, width), steps),
                listed.targets(labels, several=self.separator is not None),
            )
            for part, listed in read.items()
        }
        splits = with_test(splits, self, read["train"].rarest())
        notes = [note for listed in read.values() for note in listed.notes(self.separator)]
        if like is None and self.separator is not None:
            notes += _unseen(splits, labels)
        return bm.Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            labels=labels,
            task="classification" if self.separator is None else "multilabel",
            preprocessing=steps,
            input_meaning=image_meaning(steps),
            source=f"images and labels in the folder {folder.name}",
            notes=tuple(notes),
            made_by=replace(self, size=(height, width), channels=channels),
        )

    def _read(self, folder: Path) -> Listed:
        """The images of a folder, and their labels."""
        path = self._path(folder)
        (line, first), *rows = found = bm.table_files.read_rows(path, ",")
        is_header = bm.table_files.names_columns(path) or not any(map(is_image, first))
        rows = rows if is_header else found
        columns = columns_of(path, first if is_header else None, len(first), self.image, self.label)
        listed = Listed(path)
        for line, cells in rows:
            name, text = (cells[column].strip() for column in columns)
            labels = [text] if self.separator is None else text.split(self.separator)
            listed.add(line, name, [label.strip() for label in labels if label.strip()])
        if self.separator is None and (empty := [k for k, labels in enumerate(listed.labels) if not labels]):
            raise DataError(
                "the image has no label.",
                where=listed.place(listed.numbers[empty[0]]),
                fix="add it, or remove the row. If images may have none, or several, pass separator=;.",
            )
        if not listed.files:
            raise DataError("it lists no image.", where=str(path), fix="add a row for each image.")
        return listed

    def _path(self, folder: Path) -> Path:
        """The table in a folder."""
        if self.table is not None:
            return bm.files.existing(folder / self.table)
        tables = [
            item
            for item in sorted(folder.iterdir())
            if bm.table_files.suffix_of(item) in bm.table_files.SUFFIXES
        ]
        if len(tables) != 1:
            found = (
                f"{len(tables)} tables: {', '.join(item.name for item in tables[:5])}"
                if tables
                else "no table"
            )
            raise DataError(
                f"there is {found}.",
                where=str(folder),
                fix="name one with table=labels.csv." if tables else "add labels.csv, as in: 1.jpg,cat",
            )
        return tables[0]


def _unseen(splits: Mapping[str, bm.Split], labels: Sequence[str]) -> list[str]:
    """A note about labels that no training image has."""
    columns = np.asarray(splits["train"].y).T
    names = [label for label, column in zip(labels, columns, strict=True) if not column.any()]
    return [f"no training image has the label {', '.join(names)}; another seed= splits otherwise."] * bool(
        names
    )
