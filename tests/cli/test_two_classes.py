"""Two classes by one score, all probabilities, predictions as files, several inputs: as users type them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import Command, run_all, run_here


def write_table(path: Path, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 2)).round(3)
    y = x[:, 0] - x[:, 1] + generator.normal(0, 0.5, rows) > 0
    lines = [f"{a},{b},{'yes' if is_yes else 'no'}" for (a, b), is_yes in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,answer", *lines]) + "\n")
    return x, y


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of two classes and runs on it, exported."""
    folder = tmp_path_factory.mktemp("two")
    write_table(folder / "t.csv")
    options = (
        *("--data", "csv:task=binary", "--data-dir", "t.csv", "--epochs", 12, "--learning-rate", 0.05),
        *("--batch-size", 8, "--metrics", "accuracy,precision,recall,f1,auc"),
    )
    run_all(
        folder,
        *(("train", model, *options) for model in ("mlp", "logistic-regression", "linear-svm")),
        ("export", "plain.onnx", "--run", "runs/mlp-001"),
        ("export", "whole.onnx", "--run", "runs/mlp-001", "--with-preprocessing"),
    )
    return folder


@pytest.fixture
def here(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(runs)
    return run_here


@pytest.mark.parametrize("model", ["mlp", "logistic-regression"])
def test_a_binary_table_is_learned_by_one_logit(here: Command, model: str) -> None:
    facts = here("info", f"runs/{model}-001", "--json").json
    assert facts["outputs"][0]["shape"] == ["N", 1]
    assert facts["run"]["loss"]["name"].endswith("BinaryCrossEntropy")
    found = here("evaluate", f"runs/{model}-001", "--json").json["metrics"]
    assert set(found) == {"loss", "accuracy", "precision", "recall", "f1", "auc"}
    assert found["accuracy"] > 0.7 and found["auc"] > 0.8


@pytest.mark.parametrize("chosen", [("--set", "classes=2"), ("--loss", "cross_entropy"), ("--loss", "hinge")])
def test_who_wants_two_scores_gets_them(bigmodel: Command, chosen: tuple[str, str]) -> None:
    write_table(Path("t.csv"))
    done = bigmodel(
        "train", "mlp", "--data", "csv:task=binary", "--data-dir", "t.csv", "--epochs", 1, "--json", *chosen
    )
    assert done.code == 0, done.err
    assert bigmodel("info", "--json").json["outputs"][0]["shape"] == ["N", 2]
    (answer,) = bigmodel("predict", done.json["run"], "--data", "csv", "--count", 1, "--json").json[
        "predictions"
    ]
    assert set(answer["probabilities"]) == {"no", "yes"}


def test_a_loss_of_one_score_makes_one_of_any_two_classes(bigmodel: Command) -> None:
    write_table(Path("t.csv"))
    done = bigmodel(
        *("train", "mlp", "--data", "csv", "--data-dir", "t.csv", "--epochs", 5, "--json"),
        *("--loss", "binary_cross_entropy", "--metrics", "auc"),
    )
    assert done.code == 0, done.err
    assert bigmodel("info", "--json").json["outputs"][0]["shape"] == ["N", 1]
    found = bigmodel("predict", done.json["run"], "--data", "csv", "--json").json
    assert found["accuracy"] > 0.6
    assert {answer["label"] for answer in found["predictions"]} == {"no", "yes"}


@pytest.mark.parametrize("what", ["runs/mlp-001", "plain.onnx", "whole.onnx"])
def test_answers_agree_however_the_model_is_kept(here: Command, what: str) -> None:
    Path("new.csv").write_text("a,b\n2.0,-1.5\n-1.0,1.0\n0.3,0.1\n")
    found = here("predict", what, "new.csv", "--json").json
    expected = here("predict", "runs/mlp-001", "new.csv", "--json").json
    assert [answer["label"] for answer in found][:2] == ["yes", "no"]
    for answer, wanted in zip(found, expected, strict=True):
        chances = answer["probabilities"]
        assert list(chances) == ["no", "yes"]
        assert sum(chances.values()) == pytest.approx(1, abs=1e-6)
        assert answer["probability"] == pytest.approx(chances[answer["label"]], abs=1e-6)
        assert chances["yes"] == pytest.approx(wanted["probabilities"]["yes"], abs=1e-5)


@pytest.mark.parametrize("what", ["plain.onnx", "whole.onnx"])
def test_files_are_measured_by_every_metric_of_two_classes(here: Command, what: str) -> None:
    reference = here("evaluate", "runs/mlp-001", "--json").json["metrics"]
    del reference["loss"]
    names = "accuracy,precision,recall,f1,auc"
    found = here("evaluate", what, "--metrics", names, "--data-dir", "t.csv", "--json")
    assert found.code == 0, found.err
    assert found.json["metrics"] == pytest.approx(
        {k: v for k, v in reference.items() if k != "loss"}, abs=1e-9
    )


def test_a_vector_machine_keeps_its_two_scores(here: Command) -> None:
    Path("one.csv").write_text("a,b\n2.0,-1.5\n")
    (answer,) = here("predict", "runs/linear-svm-001", "one.csv", "--json").json
    assert answer["label"] == "yes" and set(answer["probabilities"]) == {"no", "yes"}


# Predictions as files ---------------------------------------------------------------------------------------


def test_predictions_are_written_as_a_table(here: Command) -> None:
    done = here("predict", "runs/mlp-001", "--data", "csv", "--out", "found.csv", "--json")
    assert done.code == 0, done.err
    with open("found.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == done.json["samples"] > 10  # all of them, not those shown alone
    assert list(rows[0]) == [
        "input",
        "label",
        "index",
        "probability",
        "probability of no",
        "probability of yes",
        "truth",
    ]
    right = np.mean([row["label"] == row["truth"] for row in rows])
    assert right == pytest.approx(done.json["accuracy"])
    assert float(rows[3]["probability of yes"]) == done.json["predictions"][3]["probabilities"]["yes"]


def test_predictions_are_written_as_lines_of_json(here: Command) -> None:
    Path("some.csv").write_text("a,b\n2.0,-1.5\n-1.0,1.0\n")
    Path("found.jsonl").write_text("old")
    done = here("predict", "runs/mlp-001", "some.csv", "--out", "found.jsonl", "--json")
    assert [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()] == done.json
    assert not list(Path().glob(".found*"))
    said = here("predict", "runs/mlp-001", "some.csv", "--out", "found.jsonl").out
    assert "2 predictions" in said and "yes" not in said


def test_a_folder_for_a_model_without_masks_is_refused_before_files_are_read(here: Command) -> None:
    done = here("predict", "runs/mlp-001", "no-such-file.csv", "--out", "found")
    assert done.code == 2 and "--out found: the model predicts no masks" in done.err and ".csv" in done.err


def test_a_file_that_cannot_be_written_is_refused_first(here: Command) -> None:
    for name, match in (("found.txt", ".jsonl"), ("missing/found.csv", "no folder")):
        done = here("predict", "no-such-run", "some.csv", "--out", name)
        assert done.code == 2 and match in done.err, done.err


# Several inputs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Both(bm.Layer):
    """Scores from two inputs."""

    def __call__(self, left: Any, right: Any) -> Any:
        return bm.layers.Dense(3)(bm.ops.concatenate([left, right]))


@dataclass(frozen=True)
class Two(bm.Layer):
    """Two outputs by name."""

    def __call__(self, x: Any) -> Any:
        return {"level": bm.layers.Dense(1)(x), "spread": bm.layers.Dense(2)(x)}


def test_an_archive_holds_the_inputs_of_a_model_of_several(bigmodel: Command) -> None:
    model = Both()
    left, right = np.eye(4, 2, dtype="float32"), np.ones((4, 3), "float32")
    scores = model(left, right).astype("float64")
    bm.save(model, "model.safetensors")
    bm.export(model, "model.onnx")
    np.savez("named.npz", right=right, left=left)
    np.savez("in_order.npz", left, right)
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for what in ("model.safetensors", "model.onnx"):
        for name in ("named.npz", "in_order.npz"):
            found = bigmodel("predict", what, name, "--json").json
            assert [answer["index"] for answer in found] == scores.argmax(1).tolist()
            chances = [[answer["probabilities"][key] for key in "012"] for answer in found]
            np.testing.assert_allclose(chances, expected, atol=1e-6)


def test_an_archive_that_does_not_fit_is_refused(bigmodel: Command) -> None:
    model = Both()
    model.build(bm.Spec(("N", 2)), bm.Spec(("N", 3)))
    bm.save(model, "model.safetensors")
    left, right = np.ones((4, 2), "float32"), np.ones((4, 3), "float32")
    np.save("one.npy", left)
    np.savez("other.npz", left=left, wrong=right)
    np.savez("short.npz", left=left, right=right[:2])
    np.savez("wide.npz", left=left, right=left)
    np.savez("none.npz")
    for name, code, match in (
        ("one.npy", 2, "left, right"),
        ("other.npz", 1, "left, wrong; the model takes left, right"),
        ("short.npz", 1, "differ in length: 2, 4"),
        ("wide.npz", 1, "right"),
        ("none.npz", 1, "no array"),
        ("missing.npz", 1, "no such file"),
    ):
        done = bigmodel("predict", "model.safetensors", name)
        assert done.code == code and match in done.err and "Traceback" not in done.err, done.err
    done = bigmodel("predict", "model.safetensors", "--data", "digits")
    assert done.code == 2 and "left, right" in done.err


def test_all_outputs_of_a_model_are_told_by_name(bigmodel: Command) -> None:
    model = Two()
    x = np.eye(2, dtype="float32")
    expected = model(x)
    bm.save(model, "model.safetensors")
    bm.export(model, "model.onnx")
    np.save("x.npy", x)
    for what in ("model.safetensors", "model.onnx"):
        found = bigmodel("predict", what, "x.npy", "--json", "--out", "found.csv").json
        for name, array in expected.items():
            np.testing.assert_allclose([answer["outputs"][name] for answer in found], array, atol=1e-6)
        assert Path("found.csv").read_text().splitlines()[0] == "input,value,level,spread 1,spread 2"


def test_info_tells_of_a_layer_that_no_plugin_offers(bigmodel: Command) -> None:
    Two()(np.eye(2, dtype="float32"))
    for model in (Two(), bm.Sequential(bm.layers.Dense(2), Two())):
        model(np.eye(2, dtype="float32"))
        bm.save(model, "model.safetensors")
        done = bigmodel("info", "model.safetensors")
        assert done.code == 0, done.err
        assert type(model).__name__ in done.out
        assert (
            bigmodel("info", "model.safetensors", "--json")
            .json["config"]["class"]
            .endswith(type(model).__name__)
        )


def test_scores_that_add_up_to_one_are_scores_still(bigmodel: Command) -> None:
    model = bm.layers.Dense(2)
    model(np.ones((1, 2), "float32"))
    model.load_state({"weight": np.eye(2), "bias": np.zeros(2)})
    bm.save(model, "model.safetensors")
    bm.export(model, "model.onnx")
    np.save("x.npy", np.array([[0.4, 0.6]], "float32"))
    for what in ("model.safetensors", "model.onnx"):
        (answer,) = bigmodel("predict", what, "x.npy", "--json").json
        assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-0.2)), abs=1e-6)


def test_scores_that_are_nan_belong_to_no_class(bigmodel: Command) -> None:
    model = bm.layers.Dense(2)
    model(np.ones((1, 2), "float32"))
    bm.save(model, "model.safetensors")
    bm.export(model, "model.onnx")
    np.save("x.npy", np.array([[1.0, 2.0], [np.nan, 1.0]], "float32"))
    for what in ("model.safetensors", "model.onnx"):
        done = bigmodel("predict", what, "x.npy", "--json", "--out", "found.csv")
        assert done.code == 1 and "sample 1 are NaN" in done.err and not Path("found.csv").exists()


def test_numbers_that_json_lacks_are_null(bigmodel: Command) -> None:
    model = bm.layers.Dense(1)
    model(np.ones((1, 2), "float32"))
    bm.save(model, "model.safetensors")
    np.save("x.npy", np.array([[np.inf, 0.0]], "float32"))
    done = bigmodel("predict", "model.safetensors", "x.npy", "--json", "--out", "found.jsonl")
    assert done.json[0]["values"] == [None] == json.loads(Path("found.jsonl").read_text())["values"]
