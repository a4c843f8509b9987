"""Images whose labels stand in a table: what is read, and what is refused by line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.testing import checks_for
from bigmodel_core.testing.checks import run_checks
from bigmodel_datasets import LabelledImages

ONE = ["file,label", "0.png,cat", "1.png,dog", "2.png,cat", "3.png,dog"]
SEVERAL = ["file,label", "0.png,dog;cat", "1.png,tree", "2.png,", "3.png,cat; tree"]


def write(folder: Path, lines: list[str], table: str = "labels.csv", images: str = ".") -> Path:
    """A table beside four grey images of 4 by 6 pixels, the first dark."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    for number in range(4):
        Image.fromarray(np.full((4, 6), 51 * number, np.uint8)).save(folder / images / f"{number}.png")
    (folder / table).write_text("".join(f"{line}\n" for line in lines))
    return folder


def parted(folder: Path, lines: list[str], test: list[str] | None = None) -> Path:
    """The same images and labels in train and in test."""
    write(folder / "train", lines)
    write(folder / "test", test or lines)
    return folder


def test_an_image_has_the_label_of_its_row(tmp_path: Path) -> None:
    data = LabelledImages().load(parted(tmp_path, ONE))
    assert (data.task, data.labels, data.train.y.tolist()) == ("classification", ("cat", "dog"), [0, 1, 0, 1])
    np.testing.assert_allclose(
        np.asarray(data.train.x[np.arange(4)])[:, 0, 0, 0], [0, 0.2, 0.4, 0.6], rtol=1e-6
    )


def test_several_labels_are_columns_of_0_and_1(tmp_path: Path) -> None:
    data = LabelledImages(separator=";").load(parted(tmp_path, SEVERAL))
    assert (data.task, data.labels) == ("multilabel", ("cat", "dog", "tree"))
    assert data.train.y.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1]]


def test_images_without_a_label_are_counted_in_a_note(tmp_path: Path) -> None:
    data = LabelledImages(separator=";").load(parted(tmp_path, SEVERAL))
    assert data.notes[0] == "labels.csv: 1 images have none of the labels."


def test_a_separator_that_nobody_chose_is_noted(tmp_path: Path) -> None:
    data = LabelledImages().load(parted(tmp_path, [*ONE[:4], "3.png,cat;dog"]))
    assert data.notes[0] == "'cat;dog' is read as one label; separator=; reads several."


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("labels.csv", ONE[1:]),
        ("labels.tsv", [line.replace(",", "\t") for line in ONE]),
        ("labels.jsonl", [json.dumps({"file": line[:5], "label": line[6:]}) for line in ONE[1:]]),
    ],
)
def test_tables_of_other_kinds_say_the_same(tmp_path: Path, table: str, lines: list[str]) -> None:
    data = LabelledImages(test_fraction=0.5).load(write(tmp_path, lines, table, "images"))
    shades = [
        round(float(image.max()), 1) for split in (data.train, data.test) for image in split.x[np.arange(2)]
    ]
    found = zip(shades, [*data.train.y.tolist(), *data.test.y.tolist()], strict=True)
    assert sorted(found) == [(0.0, 0), (0.2, 1), (0.4, 0), (0.6, 1)]


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    lines = ["label,size,file", "cat,3,0.png", "dog,3,1.png", "cat,4,2.png", "dog,4,3.png"]
    data = LabelledImages(image="file", label="size").load(write(tmp_path, lines))
    assert data.labels == ("3", "4")


def test_a_held_out_part_has_a_share_of_each_label(tmp_path: Path) -> None:
    data = LabelledImages(test_fraction=0.5).load(write(tmp_path, ONE))
    assert sorted(data.train.y.tolist()) == sorted(data.test.y.tolist()) == [0, 1]


def test_a_model_keeps_its_labels(tmp_path: Path) -> None:
    known = LabelledImages(separator=";").load(parted(tmp_path / "a", SEVERAL))
    lines = ["0.png,tree", "1.png,tree", "2.png,cat", "3.png,cat"]
    data = LabelledImages(separator=";").load(write(tmp_path / "b", lines), like=known)
    assert data.labels == known.labels
    found = sorted([*data.train.y.tolist(), *data.test.y.tolist()])
    assert found == [[0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0]]


def test_columns_of_labels_take_the_order_of_training() -> None:
    def data(names: tuple[str, ...], y: list[list[int]]) -> bm.Data:
        split = bm.Split(np.zeros((2, 3), "float32"), np.array(y))
        return bm.Data("own", split, split, labels=names, task="multilabel")

    found = data(("tree", "cat"), [[1, 0], [1, 1]]).like(data(("cat", "dog", "tree"), [[0, 0, 0], [1, 1, 1]]))
    assert found.train.y.tolist() == [[0, 0, 1], [1, 0, 1]]


@pytest.mark.parametrize("y", [[[1, 0], [0, 2]], [1, 0], [[1, 0, 0], [0, 1, 0]]])
def test_targets_of_several_labels_are_0_and_1_for_each(y: list[int]) -> None:
    split = bm.Split(np.zeros((2, 3), "float32"), np.array(y))
    with pytest.raises(DataError, match="are not 0 and 1 for each of 2 labels"):
        bm.Data("own", split, split, labels=("cat", "dog"), task="multilabel")


@pytest.mark.parametrize(
    ("options", "lines", "message"),
    [
        ({}, [*ONE, "9.png,cat"], r"labels.csv, line 6: the image 9.png is not there"),
        ({}, [*ONE, ",cat"], r"line 6: the row names no image"),
        ({}, [*ONE, "0.png,dog"], r"line 6: the image 0.png is listed twice, first in line 2"),
        ({}, [*ONE[:4], "3.png,"], r"line 5: the image has no label"),
        ({}, [*ONE[:4], "3.png,cow"], r"line 3: 'dog' is the label of one image alone"),
        ({"separator": ";"}, SEVERAL, r"line 2: 'dog' is the label of one image alone"),
        ({}, ["0.png,cat", "1.png,cat"], r"there is one label, cat"),
        ({}, ["file,label"], r"lists no image"),
    ],
)
def test_rows_that_cannot_be_used_are_named(
    tmp_path: Path, options: dict[str, str], lines: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        LabelledImages(**options).load(write(tmp_path, lines))


def test_a_label_that_training_did_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test/labels.csv, line 5: the class 'cow' is not among"):
        LabelledImages().load(parted(tmp_path, ONE, [*ONE[:4], "3.png,cow"]))


@pytest.mark.parametrize("options", [{"label": "kind"}, {"image": "name"}])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="there is no column '(kind|name)': they are file, label"):
        LabelledImages(**options).load(write(tmp_path, ONE))


def test_two_tables_are_not_chosen_from(tmp_path: Path) -> None:
    write(tmp_path, ONE, "others.csv")
    with pytest.raises(DataError, match=r"there is 2 tables: labels.csv, others.csv"):
        LabelledImages().load(write(tmp_path, ONE))


def test_the_checks_of_data_sets_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "labelled-images", ONE)
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(tmp_path))
    report = run_checks(checks_for(LabelledImages()))
    assert report.ok and report.count("skipped") == 0, report.outcomes
