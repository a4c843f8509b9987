"""Boxes as COCO's JSON lists them: what is read, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bigmodel_core.errors import DataError
from bigmodel_datasets import Coco

BOXES = [
    {"image_id": 7, "category_id": 20, "bbox": [1, 2, 3, 4]},
    {"image_id": 7, "category_id": 10, "bbox": [0, 0, 12, 8]},
    {"image_id": 9, "category_id": 10, "bbox": [2, 1, 5, 6]},
]


def write(folder: Path, boxes: Any = BOXES, **changes: Any) -> Path:
    """Two images of 8 by 12 pixels in each split, with boxes."""
    for part in ("train", "test"):
        (folder / part / "images").mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(np.zeros((8, 12), np.uint8)).save(folder / part / "images" / name)
        content = {
            "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
            "categories": [{"id": 20, "name": "dog"}, {"id": 10, "name": "cat"}],
            "annotations": boxes,
            **changes,
        }
        (folder / part / "annotations.json").write_text(json.dumps(content))
    return folder


def test_boxes_are_corners_with_classes_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    data = Coco().load(write(tmp_path))
    assert data.labels == ("cat", "dog")
    assert data.train.y.tolist() == [
        [[1, 1, 2, 4, 6], [0, 0, 0, 12, 8]],
        [[0, 2, 1, 7, 7], [-1, 0, 0, 0, 0]],
    ]


def test_boxes_are_stretched_with_their_images(tmp_path: Path) -> None:
    data = Coco(size=(16, 6)).load(write(tmp_path))
    assert data.train.x.shape == (2, 1, 16, 6) and data.train.y[0, 0].tolist() == [1, 0.5, 4, 2, 12]


def wrong(box: Any) -> list[Any]:
    return [*BOXES, {"image_id": 7, "category_id": 10, "bbox": [1, 1, 2, 2], **box}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"boxes": wrong({"bbox": [5, 5, 9, 2]})},
            "annotation 3 runs from 5,5 to 14,7, outside its image of 12 by 8",
        ),
        ({"boxes": wrong({"bbox": [5, 5, 0, 2]})}, "annotation 3 is 0 by 2 pixels"),
        ({"boxes": wrong({"bbox": [5, 5, 2]})}, "annotation 3 has no"),
        ({"boxes": wrong({"category_id": 4})}, "class 4, which has no name"),
        ({"boxes": wrong({"image_id": 4})}, "image 4, which is not listed"),
        ({"boxes": []}, "lists no box"),
        ({"images": [{"id": 7, "file_name": "c.png"}]}, "listed, but not there"),
        ({"categories": 3}, "no JSON of images, categories"),
    ],
)
def test_what_is_wrong_is_said_with_its_file(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        Coco().load(write(tmp_path, **changes))
    assert "annotations.json" in str(raised.value.where) and raised.value.fix


def test_a_folder_without_the_list_says_how_to_arrange_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no annotations\.json"):
        Coco().load(tmp_path)
