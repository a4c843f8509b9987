"""Test-time augmentation at the shell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from tests.cli.conftest import Command, run_all, run_here

SHIFTED, PLAIN = "runs/logistic-regression-001", "runs/logistic-regression-002"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on digits, the first with shifted images, and the file of one."""
    place = tmp_path_factory.mktemp("views")
    how = ("train", "logistic-regression", "--data", "digits", "--epochs", 2)
    run_all(place, (*how, "--augment", "random-shift:pixels=1"), how, ("export", "model.onnx"))
    return place


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(folder)
    return run_here


def test_views_are_those_of_training(there: Command) -> None:
    data = bm.datasets.load("digits")
    trainer = bm.Trainer(bm.load(SHIFTED), "cross_entropy")
    chances = trainer.predict_proba(data.test.x, augment=bm.augmentations.RandomShift(pixels=1), times=4)
    found = there("evaluate", SHIFTED, "--tta", 4, "--json").json
    assert found["metrics"] == {"accuracy": np.mean(chances.argmax(1) == data.test.y)} and found["times"] == 4


def test_predictions_are_those_that_are_measured(there: Command) -> None:
    found = there(
        "predict", PLAIN, "--data", "digits", "--tta", 3, "--augment", "horizontal-flip", "--json"
    ).json
    told = there("evaluate", PLAIN, "--tta", 3, "--augment", "horizontal-flip", "--json").json["metrics"]
    plain = there("evaluate", PLAIN, "--json").json["metrics"]
    assert found["accuracy"] == told["accuracy"] != plain["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", PLAIN, "--tta", 4), "there is no augmentation"),
        (("evaluate", "model.onnx", "--tta", 4), "an ONNX file is run as it is"),
        (("predict", "model.onnx", "--data", "digits", "--tta", 4), "an ONNX file is run as it is"),
        (("evaluate", SHIFTED, "--augment", "horizontal-flip"), "say how often, as in --tta 8"),
        (("evaluate", SHIFTED, "--tta", 4, "--augment", "mixup"), "mixes samples with others"),
        (("evaluate", SHIFTED, "--tta", 4, "--by", "age"), "--by takes samples as they are"),
        (("evaluate", SHIFTED, "--tta", 0), "--tta"),
    ],
)
def test_wrong_usage_is_told(there: Command, arguments: tuple[object, ...], message: str) -> None:
    result = there(*arguments)
    assert result.code == 2 and message in result.err
