"""Run folders and histories."""

from __future__ import annotations

import json
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, ConfigError, UnknownNameError
from bigmodel_core.train import runs
from bigmodel_core.train.history import History, json_line

from .conftest import labelled


def test_folders_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "mlp-007").mkdir()
    (tmp_path / "other-041").mkdir()
    assert runs.new_run_folder(tmp_path, "mlp") == tmp_path / "mlp-008"
    assert runs.new_run_folder(tmp_path / "deeper", "mlp").name == "mlp-001"


def test_folders_asked_for_at_once_differ(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: runs.new_run_folder(tmp_path, "a"), range(40)))
    assert len(set(made)) == 40 and all(path.is_dir() for path in made)


@pytest.mark.parametrize("name", ["../mlp", "a/b", "", ".hidden", "/etc", "x" * 200])
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a run"):
        runs.new_run_folder(tmp_path / "runs", name)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_run(tmp_path: Path) -> None:
    for age, name in enumerate(["b-001", "c-001", "a-001"]):
        (tmp_path / name).mkdir()
        runs.write_manifest(tmp_path / name, {})
        os.utime(tmp_path / name / runs.MANIFEST, (100 - age, 100 - age))
    (tmp_path / "z-001").mkdir()  # begun by nobody
    assert runs.newest(tmp_path).name == "b-001"


def test_no_run_at_all(tmp_path: Path) -> None:
    for base in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match="no run"):
            runs.newest(base)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": NaN}', "[" * 100_000, b"\xff"])
def test_manifests_that_are_damaged(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / runs.MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match="run.json.*damaged"):
        runs.read_manifest(tmp_path)


def test_a_run_leaves_its_options_and_its_metrics(tmp_path: Path) -> None:
    made = bm.Trainer("logistic-regression", optimizer=bm.optimizers.SGD(0.1), seed=9, out=tmp_path)
    x, y = labelled(80, 784, 3)
    history = made.fit((x, y), 2, 16, 0.25, verbose=False, record={"note": "kept"})
    manifest = runs.read_manifest(tmp_path)
    expected = {"epochs": 2, "batch_size": 16, "seed": 9, "validation_fraction": 0.25, "note": "kept"}
    assert {key: manifest[key] for key in expected} == expected
    assert manifest["model"]["name"] == "models:LogisticRegression"
    assert manifest["optimizer"]["fields"]["learning_rate"] == 0.1
    lines = (tmp_path / runs.METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.epochs
    assert history.run == tmp_path


def test_the_best_checkpoint_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    made = bm.Trainer(
        bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(20.0), monitor="val_loss", out=tmp_path
    )
    history = made.fit(labelled(), 8, 16, labelled(30), verbose=False)
    best = history.best("val_loss")
    assert best["epoch"] < 8 and best["val_loss"] == min(history["val_loss"])
    kept = bm.Trainer(bm.load(tmp_path), "cross_entropy").evaluate(labelled(30))
    assert kept["loss"] == best["val_loss"]
    assert bm.load(tmp_path / "best").about.metrics["epoch"] == best["epoch"]
    assert bm.load(tmp_path / "last").about.metrics["epoch"] == 8


def test_without_validation_the_loss_decides(tmp_path: Path) -> None:
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", metrics=["accuracy"], out=tmp_path)
    made.fit(labelled(), 3, verbose=False)
    assert runs.read_manifest(tmp_path)["monitor"] == "loss"
    assert made.state.best is not None and made.state.best.value == min(made.history["loss"])


def test_best_of_a_history() -> None:
    history = History(
        [
            {"epoch": 1, "val_loss": float("nan"), "val_accuracy": 0.5},
            {"epoch": 2, "val_loss": 0.3, "val_accuracy": 0.7},
            {"epoch": 3, "val_loss": 0.4, "val_accuracy": 0.7},
        ]
    )
    assert history.best()["epoch"] == 2
    assert history.best("val_accuracy")["epoch"] == 2
    assert history.best("val_accuracy", higher_is_better=False)["epoch"] == 1
    with pytest.raises(UnknownNameError, match="val_f1"):
        history.best("val_f1")


def test_lines_are_json_whatever_was_measured() -> None:
    logs = {"epoch": 1, "loss": float("inf"), "val_confusion_matrix": [[1, float("nan")]]}
    expected = {"epoch": 1, "loss": None, "val_confusion_matrix": [[1, None]]}
    assert json.loads(json_line(logs)) == expected
    assert History([logs]).to_dict()["epochs"] == [expected]


def test_a_matrix_is_measured_but_never_monitored(tmp_path: Path) -> None:
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", metrics=["confusion_matrix"], out=tmp_path)
    history = made.fit(labelled(), validation=labelled(30), verbose=False)
    matrix = history.last["val_confusion_matrix"]
    assert sum(sum(row) for row in matrix) == 30
    assert runs.read_manifest(tmp_path)["monitor"] == "val_loss"


def test_a_history_shows_each_measure_in_a_notebook() -> None:
    logs = [
        {"epoch": 1, "loss": 2.0, "val_loss": 2.5, "seconds": 0.1},
        {"epoch": 2, "loss": 1.0, "val_loss": math.nan},
    ]
    shown = History(logs)._repr_html_()
    assert re.findall(r"<title id=\S+>(\w+)</title>", shown) == ["loss", "seconds"]
    assert [point in shown for point in ("val_loss: 2.5 at 1", "loss: 1 at 2", "seconds: 0.1 at 1")] == [
        True
    ] * 3
