"""Segmentation at the shell: from folders of images and masks to masks that ONNX Runtime predicts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm
from tests.cli.conftest import Command, run_all, run_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with a bright square, their masks, a run on them and its file."""
    place = tmp_path_factory.mktemp("masks")
    (place / "data").mkdir()
    bm.datasets.Masks.example(place / "data")
    options = ("classes=ground,square", "--data-dir", "data", "--validation", 0)
    run_all(
        place,
        ("train", "unet", "--set", "width=2", "--set", "depth=1", "--data", f"masks:{options[0]}",
         *options[1:], "--epochs", 30, "--batch-size", 4, "--learning-rate", 0.02),
        ("export", "model.onnx", "--with-preprocessing"),
    )  # fmt: skip
    return place


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(folder)
    return run_here


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_run_is_measured_by_its_masks(there: Command) -> None:
    assert there("evaluate", "--json").json["metrics"]["mean_iou"] > 0.9


@pytest.mark.parametrize("model", ["runs/unet-001", "model.onnx"])
def test_predicted_masks_are_images_of_class_numbers(there: Command, folder: Path, model: str) -> None:
    out = folder / f"out-{Path(model).stem}"
    result = there("predict", model, "data/images/03.png", "--out", out)
    assert result.code == 0, result.err
    found, true = pixels(out / "03.png"), pixels(Path("data/masks/03.png"))
    assert found.shape == true.shape and (found == true).mean() > 0.9


def test_a_mask_is_as_large_as_its_image(there: Command, folder: Path, tmp_path: Path) -> None:
    Image.fromarray(pixels(folder / "data" / "images" / "03.png").repeat(2, 0).repeat(3, 1)).save(
        tmp_path / "large.png"
    )
    assert there("predict", "model.onnx", tmp_path / "large.png", "--out", tmp_path / "out").code == 0
    assert pixels(tmp_path / "out" / "large.png").shape == (16, 24)


def test_a_prediction_says_what_share_each_class_has(there: Command) -> None:
    told = there("predict", "model.onnx", "data/images/03.png", "--json").json[0]["label"]
    assert told.startswith("ground: 7") and "square: 2" in told


def test_test_samples_are_compared_pixel_by_pixel(there: Command) -> None:
    result = there("predict", "model.onnx", "--data", "masks", "--data-dir", "data", "--json")
    assert result.json["accuracy"] > 0.9, result.err


def test_a_report_shows_the_worst_masks_first(there: Command) -> None:
    there("report")
    page = next(Path("runs").glob("*/report.html")).read_text()
    shares = [float(share) for share in re.findall(r"test \d+: ([\d.]+)% of pixels right", page)]
    assert len(set(shares)) > 1 and shares == sorted(shares)


def test_images_of_one_name_are_refused_before_anything_is_written(there: Command, tmp_path: Path) -> None:
    again = tmp_path / "03.png"
    again.write_bytes(Path("data/images/03.png").read_bytes())
    result = there("predict", "model.onnx", "data/images/03.png", again, "--out", tmp_path / "out")
    assert result.code == 2 and "03.png" in result.err and not (tmp_path / "out").exists()


def test_a_file_that_finds_boxes_is_measured_by_its_precision(bigmodel: Command, tmp_path: Path) -> None:
    data = ("--data", "digit-boxes:size=16,train=8,test=4")
    run_all(
        tmp_path,
        ("train", "ssd", "--set", "width=2", *data, "--epochs", 1, "--validation", 0),
        ("export", "model.onnx"),
    )
    found = bigmodel("evaluate", "model.onnx", *data, "--json").json["metrics"]
    run = bigmodel("evaluate", *data, "--json").json["metrics"]
    assert found == {"mean_average_precision": pytest.approx(run["detections_mean_average_precision"])}
    assert bigmodel("report").code == 0
    page = next((tmp_path / "runs").glob("*/report.html")).read_text()
    assert "Each image with its true boxes" in page and len(re.findall(r">true: [\d, ]+<", page)) == 4


def test_a_folder_is_no_place_for_classes(in_trained: Command, tmp_path: Path) -> None:
    result = in_trained("predict", "model.onnx", "--data", "digits", "--out", tmp_path / "out")
    assert result.code == 2 and "predicts no masks" in result.err
