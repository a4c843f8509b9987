"""Images with boxes around what they show, as COCO's JSON lists them (Lin et al., 2014)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.class_folders import PARTS, folder_named
from bigmodel_datasets.image_folder import ImageFiles
from bigmodel_datasets.image_options import check_image_options, image_meaning, image_steps, with_test

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class Coco(bm.Dataset):
    """Images with boxes: DIR/annotations.json and DIR/images/1.jpg, or the same in DIR/train and DIR/test.

    The JSON has the lists `images` (id, file_name), `categories` (id, name) and `annotations` (image_id,
    category_id, bbox: left, top, width and height in pixels). Targets are (n, M, 5): class, left, top, right
    and bottom in pixels of the stretched image, with -1 as class where an image has fewer than M boxes. An
    edge that is up to a pixel outside its image is cut. Images are read when they are needed.

    Args:
        size: height and width, or one number for both, to which images and boxes are stretched; None takes
            the size of the first image.
        channels: 1 (grey) or 3 (colours); None takes those of the first image.
        test_fraction: share of the images to hold out if there is no test folder.
        seed: key of the choice of held-out images.
        mean, std: one number, or one for each channel, of pixels from 0 to 1.

    `data_dir` is the folder DIR.
    """

    name: ClassVar[str] = "coco"
    size: tuple[int, ...] | None = None
    channels: int | None = None
    test_fraction: float = 0.2
    seed: int = 0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_image_options(self)

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write images of 8x8 pixels with a bright square, and a box around each."""
        from PIL import Image

        (folder / "images").mkdir()
        random, images, boxes = np.random.default_rng(0), [], []
        for number in range(20):
            pixels = random.integers(0, 100, (8, 8), np.uint8)
            top, left = random.integers(0, 5, 2).tolist()
            pixels[top : top + 4, left : left + 4] += 150
            Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
            images.append({"id": number, "file_name": f"{number:02}.png"})
            boxes.append({"image_id": number, "category_id": 1, "bbox": [left, top, 4, 4]})
        content = {"images": images, "categories": [{"id": 1, "name": "square"}], "annotations": boxes}
        (folder / ANNOTATIONS).write_text(json.dumps(content))

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; images are (n, C, H, W) float32, boxes (n, M, 5) float32.

        Raises:
            DataError: no folder or file, an image that is not there, a box outside its image, or a class
                without a name; names the file and the annotation.
            ConfigError: mean or std do not fit the channels.
        """
        folder = folder_named(data_dir, self.name)
        parts = {part: folder / part for part in PARTS if (folder / part / ANNOTATIONS).is_file()}
        read = {part: _Boxes(place, like) for part, place in (parts or {"train": folder}).items()}
        if "train" not in read:
            raise DataError(
                "there is no folder train beside it.",
                where=str(next(iter(parts.values()))),
                fix=f"add train/{ANNOTATIONS} and train/images.",
            )
        labels = read["train"].labels
        for part, some in read.items():
            if some.labels != labels:
                raise DataError(
                    f"its classes are {', '.join(some.labels)}, those of train {', '.join(labels)}.",
                    where=str(parts[part] / ANNOTATIONS),
                    fix="list the same categories in both.",
                )
        steps = image_steps(self, read["train"].files[0], like)
        channels, height, width = steps.raw_shape
        most = max(max(map(len, some.boxes)) for some in read.values())
        splits = {
            part: bm.Split(
                ImageFiles(some.files, (channels, height, width), steps), some.targets(height, width, most)
            )
            for part, some in read.items()
        }
        splits = with_test(splits, self)
        return bm.Data(
            name=self.name,
            train=splits["train"],
            test=splits["test"],
            validation=splits.get("validation"),
            labels=labels,
            task="regression",
            preprocessing=steps,
            input_meaning=image_meaning(steps),
            source=f"images and boxes in the folder {folder.name}",
            made_by=replace(self, size=(height, width), channels=channels),
        )


class _Boxes:
    """The images of a folder and their boxes.

    Args:
        folder: holds the JSON and the images.
        like: whose classes have numbers already.
    """

    def __init__(self, folder: Path, like: bm.Encoding | None) -> None:
        self.path = folder / ANNOTATIONS
        if not self.path.is_file():
            raise DataError(
                f"there is no {ANNOTATIONS}.",
                where=str(folder),
                fix=f"arrange them as DIR/{ANNOTATIONS} and DIR/images/1.jpg.",
            )
        try:
            content = json.loads(self.path.read_text("utf-8"))
            images = {item["id"]: folder / "images" / item["file_name"] for item in content["images"]}
            names = {item["id"]: str(item["name"]) for item in content["categories"]}
            annotations = list(content["annotations"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(
                f"it is no JSON of images, categories and annotations: {error!r}.",
                where=str(self.path),
                fix="write it as COCO's files are; see the docstring of Coco.",
            ) from None
        own = tuple(names[key] for key in sorted(names))
        self.labels = own if like is None or like.labels is None else like.labels
        if unknown := [name for name in own if name not in self.labels]:
            raise bm.conforming.unknown_label(unknown, self.labels, str(self.path))
        if missing := next((path for path in images.values() if not path.is_file()), None):
            raise self._wrong("an image is listed, but not there", f"add {missing}, or take it off the list.")
        if not images:
            raise self._wrong("it lists no image", "add some.")
        self.files = list(images.values())
        self.sizes = [bm.images.image_shape(path)[1:] for path in self.files]
        self.boxes: list[list[tuple[float, ...]]] = [[] for _ in self.files]
        places = {key: place for place, key in enumerate(images)}
        for number, item in enumerate(annotations):
            place, box = self._box(number, item, places, names)
            self.boxes[place].append(box)
        if not annotations:
            raise self._wrong("it lists no box", "add annotations.")

    def _box(
        self, number: int, item: Any, places: dict[Any, int], names: dict[Any, str]
    ) -> tuple[int, tuple[float, ...]]:
        """The image and the box of an annotation: class, left, top, right, bottom."""
        try:
            left, top, width, height = map(float, item["bbox"])
            image, category = item["image_id"], item["category_id"]
        except (KeyError, TypeError, ValueError):
            raise self._wrong(
                f"annotation {number} has no image_id, category_id and bbox of four numbers", "add them."
            ) from None
        if image not in places:
            raise self._wrong(f"annotation {number} is of the image {image}, which is not listed", "list it.")
        if category not in names:
            raise self._wrong(
                f"annotation {number} is of the class {category}, which has no name", "add it to categories."
            )
        rows, columns = self.sizes[places[image]]
        if not (width > 0 and height > 0):
            raise self._wrong(
                f"the box of annotation {number} is {width:g} by {height:g} pixels", "remove it."
            )
        if min(left, top) < -1 or left + width > columns + 1 or top + height > rows + 1:
            raise self._wrong(
                f"the box of annotation {number} runs from {left:g},{top:g} to"
                f" {left + width:g},{top + height:g}, outside its image of {columns} by {rows} pixels",
                "boxes are left, top, width, height in pixels: cut it, or remove it.",
            )
        label = self.labels.index(names[category])
        right, bottom = min(left + width, columns), min(top + height, rows)
        return places[image], (label, max(left, 0.0), max(top, 0.0), right, bottom)

    def _wrong(self, what: str, fix: str) -> DataError:
        return DataError(f"{what}.", where=str(self.path), fix=fix)

    def targets(self, height: int, width: int, most: int) -> np.ndarray:
        """The boxes in images that are stretched to a size, (n, most, 5)."""
        found = np.zeros((len(self.files), most, 5), np.float32)
        found[..., 0] = -1
        for row, boxes, (rows, columns) in zip(found, self.boxes, self.sizes, strict=True):
            if boxes:
                row[: len(boxes)] = np.array(boxes) * [1, *(width / columns, height / rows) * 2]
        return found
