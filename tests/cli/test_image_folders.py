"""From a folder of pictures to a label: training with augmentation, going on, export, prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigmodel_core.train.runs import read_manifest

from .conftest import Command


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark pictures of 10x12 pixels in colour: 24 to train, 8 to test."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(1)
    for part, count in (("train", 12), ("test", 4)):
        for label, low in (("bright", 160), ("dark", 0)):
            (folder / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(low, low + 96, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{number}.png")
    return folder


TRAIN = (
    *("train", "logistic-regression", "--data", "image-folder:size=5,6"),
    *("--augment", "horizontal-flip", "--augment", "random-crop:padding=1", "--quiet"),
)


def test_train_export_evaluate_and_predict(bigmodel: Command, tmp_path: Path, pictures: Path) -> None:
    options = ("--epochs", 40, "--learning-rate", 0.02, "--batch-size", 8, "--validation", 0, "--workers", 2)
    result = bigmodel(*TRAIN, "--data-dir", pictures, *options)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "logistic-regression-001"
    found = read_manifest(run)
    assert [item["name"] for item in found["augment"]] == [
        "augmentations:HorizontalFlip", "augmentations:RandomCrop",
    ]  # fmt: skip
    assert found["augment"][1]["fields"] == {"padding": 1, "fill": 0.0}
    assert found["dataset"]["fields"]["size"] == [5, 6]
    measured = bigmodel("evaluate", "--data-dir", pictures, "--json")
    assert measured.json["metrics"]["accuracy"] == 1.0 and measured.json["samples"] == 8
    for file, options in (("plain.onnx", ()), ("raw.onnx", ("--with-preprocessing",))):
        assert bigmodel("export", file, "--quiet", *options).code == 0
        for label in ("bright", "dark"):
            told = bigmodel("predict", file, pictures / "test" / label / "2.png", "--json")
            assert told.json[0]["label"] == label
        all_of_them = bigmodel(
            "predict", file, "--data", "image-folder:size=5,6", "--data-dir", pictures, "--json"
        )
        assert all_of_them.json["accuracy"] == 1.0 and all_of_them.json["samples"] == 8


def test_a_run_on_pictures_goes_on_to_the_same_bits(
    bigmodel: Command, tmp_path: Path, pictures: Path
) -> None:
    options = ("--data-dir", pictures, "--schedule", "constant")
    assert bigmodel(*TRAIN, *options, "--epochs", 3, "--out", "whole").code == 0
    assert bigmodel(*TRAIN, *options, "--epochs", 1, "--out", "part").code == 0
    more = bigmodel(
        *("train", "--resume", "part", "--epochs", 3, "--data-dir", pictures, "--workers", 0, "--quiet")
    )
    assert more.code == 0, more.err
    whole, part = ((tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("whole", "part"))
    keys = ("epoch", "loss", "val_loss", "val_accuracy")
    assert [[json.loads(line)[key] for key in keys] for line in whole] == [
        [json.loads(line)[key] for key in keys] for line in part
    ]


def test_a_run_that_goes_on_keeps_its_augmentation(bigmodel: Command, pictures: Path) -> None:
    assert bigmodel(*TRAIN, "--data-dir", pictures, "--epochs", 1).code == 0
    refused = bigmodel("train", "--resume", "--augment", "vertical-flip", "--data-dir", pictures)
    assert refused.code == 2 and "--augment cannot change" in refused.err


EXPERIMENTS = {
    "keys of train": 'augment = ["horizontal-flip", "random-shift:pixels=1"]\n',
    "sections": '[[augment]]\nname = "horizontal-flip"\n[[augment]]\nname = "random-shift"\npixels = 1\n',
}


@pytest.mark.parametrize("how", EXPERIMENTS)
def test_experiment_files_name_augmentations(bigmodel: Command, tmp_path: Path, how: str) -> None:
    (tmp_path / "e.toml").write_text(
        f'[model]\nname = "logistic-regression"\n[train]\nepochs = 1\nworkers = 0\n{EXPERIMENTS[how]}'
    )
    result = bigmodel("train", "e.toml", "--json")
    assert result.code == 0, result.err
    assert [
        (item["name"], item["fields"]) for item in read_manifest(Path(result.json["run"]))["augment"]
    ] == [
        ("augmentations:HorizontalFlip", {"probability": 0.5}),
        ("augmentations:RandomShift", {"pixels": 1}),
    ]


def test_a_wrong_augmentation_is_told_with_its_line(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('[model]\nname = "mlp"\n[train]\naugment = ["random-crop:pading=4"]\n')
    result = bigmodel("train", "e.toml")
    assert result.code == 2 and "line 4" in result.err and "'padding'" in result.err
    typed = bigmodel("train", "mlp", "--augment", "horizontal-flop")
    assert typed.code == 2 and "horizontal-flip" in typed.err
    assert bigmodel("train", "mlp", "--workers", "-1").code == 2


def test_a_damaged_picture_ends_training_with_its_name(
    bigmodel: Command, tmp_path: Path, pictures: Path
) -> None:
    import shutil

    shutil.copytree(pictures, tmp_path / "copy")
    (tmp_path / "copy" / "train" / "dark" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    result = bigmodel(*TRAIN, "--data-dir", tmp_path / "copy", "--epochs", 1)
    assert result.code == 1 and "7.png" in result.err and "Fix:" in result.err
    assert "Traceback" not in result.err


def test_plugins_show_augmentations(bigmodel: Command) -> None:
    listed = bigmodel("plugins", "list", "--json")
    offered = next(item for item in listed.json if item["name"] == "augmentations")
    assert "random-crop" in json.dumps(offered)
    told = bigmodel("plugins", "info", "random-crop")
    assert told.code == 0 and "padding" in told.out
    checked = bigmodel("plugins", "check", "augmentations")
    assert checked.code == 0, checked.out + checked.err


def test_stray_and_broken_files_are_counted(bigmodel: Command, tmp_path: Path, pictures: Path) -> None:
    import shutil

    shutil.copytree(pictures, tmp_path / "copy")
    (tmp_path / "copy" / "train" / "dark" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (tmp_path / "copy" / "train" / "dark" / "Thumbs.db").write_bytes(b"x")
    where = ("--data-dir", tmp_path / "copy", "--skip-broken")
    result = bigmodel(*TRAIN[:-1], *where, "--epochs", 1)
    assert result.code == 0, result.err
    assert "1 file was skipped (broken): dark/7.png." in result.out
    assert "1 file was skipped (not an image): Thumbs.db." in result.out
    told = bigmodel("data", "info", "image-folder", *where)
    assert "23 train" in told.out and "without 1 other file and 1 broken image" in told.out
    assert bigmodel("evaluate", "--data-dir", tmp_path / "copy").code == 0
    assert (
        "skip_broken" in bigmodel("train", "mlp", "--skip-broken", "--epochs", 1).err
    )  # digits has no files


def test_predictions_know_what_white_is(bigmodel: Command, tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    for label, low in (("bright", 2500), ("dark", 0)):
        (tmp_path / "deep" / label).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(low, low + 1500, (4, 4)).astype(np.uint16)  # 12 bits in 16
            Image.fromarray(pixels).save(tmp_path / "deep" / label / f"{number}.png")
    train = (
        "train",
        "logistic-regression",
        "--data-dir",
        tmp_path / "deep",
        "--quiet",
        "--learning-rate",
        0.05,
    )
    refused = bigmodel(*train, "--data", "image-folder")
    assert refused.code == 1 and "nearly black" in refused.err
    result = bigmodel(*train, "--data", "image-folder:white=4095", "--epochs", 40)
    assert result.code == 0, result.err
    assert bigmodel("export", "deep.onnx", "--quiet", "--with-preprocessing").code == 0
    for model in ("runs/logistic-regression-001", "deep.onnx"):
        for label in ("bright", "dark"):
            told = bigmodel("predict", model, tmp_path / "deep" / label / "3.png", "--json")
            assert told.code == 0 and told.json[0]["label"] == label, told.err
