"""Several labels an image at the shell: from a table to labels that ONNX Runtime predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import bigmodel_core as bm
from tests.cli.conftest import Command, run_all, run_here

DATA = ("--data", "labelled-images:separator=;,test_fraction=0.5", "--data-dir", "data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose upper half, lower half, both or none are bright; a run on them, and its file."""
    place, random, lines = tmp_path_factory.mktemp("labels"), np.random.default_rng(0), ["file,labels"]
    (place / "data").mkdir()
    for number in range(40):
        pixels = random.integers(0, 60, (4, 4), np.uint8)
        pixels[:2] += 180 * (number % 2)
        pixels[2:] += 180 * (number // 2 % 2)
        Image.fromarray(pixels).save(place / "data" / f"{number}.png")
        labels = ["top"] * (number % 2) + ["bottom"] * (number // 2 % 2)
        lines.append(f"{number}.png,{';'.join(labels)}")
    (place / "data" / "labels.csv").write_text("\n".join(lines))
    run_all(
        place,
        ("train", "logistic-regression", *DATA, "--validation", 0, "--epochs", 40, "--learning-rate", 0.1),
        ("export", "model.onnx", "--with-preprocessing"),
    )
    return place


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(folder)
    return run_here


def test_a_run_has_the_loss_and_the_metrics_of_several_labels(there: Command) -> None:
    found = there("evaluate", "--json").json["metrics"]
    assert list(found) == ["loss", "f1", "accuracy"] and found["f1"] == found["accuracy"] == 1


def test_a_file_is_measured_alike(there: Command) -> None:
    assert there("evaluate", "model.onnx", *DATA, "--json").json["metrics"] == {"f1": 1, "accuracy": 1}


@pytest.mark.parametrize("model", ["runs/logistic-regression-001", "model.onnx"])
def test_all_labels_above_a_half_are_named(there: Command, model: str) -> None:
    found = there("predict", model, *(f"data/{number}.png" for number in range(4)), "--json").json
    assert [one["labels"] for one in found] == [[], ["top"], ["bottom"], ["bottom", "top"]]


def test_an_image_without_labels_is_nothing(there: Command) -> None:
    assert there("predict", "model.onnx", "data/0.png").out.split() == ["Input", "Label", "0.png", "nothing"]


def test_test_samples_are_compared_label_by_label(there: Command) -> None:
    found = there("predict", "model.onnx", *DATA, "--json").json
    assert (found["right"], found["accuracy"]) == (40, 1)
    assert found["predictions"][0]["truth"] == ", ".join(found["predictions"][0]["labels"] or ["nothing"])


def test_a_file_gives_the_sigmoid_of_each_score(there: Command) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 1, 4, 4)).astype("uint8")
    label, chances = onnxruntime.InferenceSession("model.onnx").run(None, {"x": pixels})
    state = bm.load("runs/logistic-regression-001").state()
    weight, bias = (next(v for k, v in state.items() if k.endswith(end)) for end in ("weight", "bias"))
    expected = 1 / (1 + np.exp(-(pixels.reshape(5, -1) / 255 @ weight.astype(float) + bias)))
    np.testing.assert_allclose(chances, expected, rtol=1e-4)
    np.testing.assert_array_equal(label, expected > 0.5)


def test_cross_entropy_is_refused(there: Command) -> None:
    result = there("train", "logistic-regression", *DATA, "--loss", "cross_entropy")
    assert result.code != 0 and "its samples have several labels, and the loss cross_entropy" in result.err


def test_the_trainer_refuses_cross_entropy(folder: Path) -> None:
    data = bm.datasets.load("labelled-images", folder / "data", separator=";")
    trainer = bm.Trainer(bm.models.build("logistic-regression", classes=2))
    with pytest.raises(bm.errors.UsageError, match="several labels, and CrossEntropy takes one class"):
        trainer.fit(data, epochs=1, verbose=False)


def test_a_report_has_scores_of_each_label(there: Command) -> None:
    assert there("report", "runs/logistic-regression-001").code == 0
    page = Path("runs/logistic-regression-001/report.html").read_text()
    assert "Scores of each label" in page and "20 of 20 samples have all labels right." in page
