"""Which rows are odd, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import bigmodel_core as bm
from bigmodel_core.cli.app import app
from bigmodel_core.errors import BigmodelError

RANDOM = np.random.default_rng(0)
PLANE = RANDOM.normal(size=(500, 2)) @ RANDOM.normal(size=(2, 5))
X = PLANE.astype("float32")


def made(x: np.ndarray, **more: Any) -> bm.Data:
    return bm.Data("made", bm.Split(x[:400], x[:400]), bm.Split(x[400:], x[400:]), task="regression", **more)


@pytest.fixture(scope="module")
def trained() -> tuple[bm.Layer, bm.Data]:
    data = made(X, features=("a", "b", "c", "d", "e"))
    model = bm.models.Autoencoder(widths=(16, 2), activation="tanh")
    bm.Trainer(model, optimizer=bm.optimizers.Adam(0.01)).fit(data, epochs=30, verbose=False)
    return model, data


def test_scores_are_mean_squared_differences_and_the_threshold_a_quantile(trained: Any) -> None:
    model, data = trained
    found = bm.anomalies(model, data, quantile=0.9)
    usual = ((model(X[:400]).astype("float64") - X[:400]) ** 2).mean(1)
    assert found.threshold == pytest.approx(np.quantile(usual, 0.9))
    np.testing.assert_allclose(found.scores, ((model(X[400:]) - X[400:]) ** 2).mean(1), rtol=1e-5)


def test_a_row_off_the_plane_is_odd_and_its_column_is_named(trained: Any) -> None:
    model, data = trained
    rows = X[400:440].copy()
    rows[7, 3] += 6
    found = bm.anomalies(model, data, rows=rows)
    assert found.rows()[0] == 7
    assert found.columns(7)[0][0] == "d"
    assert sum(share for _, share in found.columns(7, count=5)) == pytest.approx(1)
    assert found.to_dict()["odd"][0]["row"] == 7


def test_a_model_that_gives_back_something_else_is_refused() -> None:
    data = made(X)
    with pytest.raises(BigmodelError, match="expected the same shape"):
        bm.anomalies(bm.layers.Dense(3), data)


@pytest.mark.parametrize("quantile", [0, 1, 99, True])
def test_a_quantile_out_of_range_is_refused(trained: Any, quantile: Any) -> None:
    with pytest.raises(BigmodelError, match="expected a number above 0 and below 1"):
        bm.anomalies(*trained, quantile=quantile)


def test_rows_of_a_table_are_their_own_targets(tmp_path: Path) -> None:
    bm.datasets.Rows.example(tmp_path)
    data = bm.datasets.load("rows", tmp_path)
    assert data.features == ("left", "right", "sum")
    np.testing.assert_array_equal(data.train.x, data.train.y)
    again = bm.datasets.load("rows", tmp_path, like=data)
    np.testing.assert_array_equal(again.test.x, data.test.x)


KINDS = "size,kind,day\n" + "".join(
    f"{n % 7},{'ab'[n % 2]},2024-0{1 + n % 5}-0{1 + n % 3}\n" for n in range(60)
)


def test_rows_hold_the_kinds_that_other_tables_do(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(KINDS + ",b,\n")
    data = bm.datasets.load("rows", tmp_path)
    assert data.columns is not None
    assert [column.kind for column in data.columns.columns] == ["number", "category", "date"]
    np.testing.assert_array_equal(data.train.x, data.train.y)
    again = bm.datasets.load("rows", tmp_path, like=data)
    np.testing.assert_array_equal(again.test.x, data.test.x)


def test_the_features_of_a_column_count_together() -> None:
    found = bm.Anomalies(
        np.ones(1), 0.5, np.array([[3.0, 1.0, 4.0]]), ("size", "kind=a", "kind=b"), ("size", "kind", "kind")
    )
    assert found.columns(0) == [("kind", 0.625), ("size", 0.375)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bm.Data]:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "table.csv").write_text(KINDS)
    data = bm.datasets.load("rows", folder / "table.csv")
    model = bm.models.Autoencoder(widths=(4,), activation="tanh")
    bm.Trainer(model, out=folder / "run").fit(data, epochs=2, verbose=False)
    (folder / "new.csv").write_text("kind,size,day\na,0,2024-01-01\nb,5000,2024-02-01\n")
    return folder, data


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors"])
def test_a_checkpoint_keeps_the_threshold_of_its_own_parameters(run: Any, name: str) -> None:
    folder, data = run
    model = bm.load(folder / "run" / name)
    scores = ((model(data.train.x).astype("float64") - data.train.x) ** 2).mean(1)
    assert model.about.encoding.odd_above == pytest.approx(np.quantile(scores, 0.99))


@pytest.mark.parametrize("form", ["run", "model.onnx", "cells.onnx"])
def test_predict_says_which_rows_are_odd_and_why(run: Any, form: str) -> None:
    folder, _ = run
    if form != "run":
        model = bm.load(folder / "run")
        bm.export(model, folder / form, with_preprocessing=form == "cells.onnx")
    out = folder / f"{form}.jsonl"
    arguments = ["predict", str(folder / form), str(folder / "new.csv"), "--json", "--out", str(out)]
    usual, odd = json.loads(typed(arguments))
    assert (usual["is_odd"], odd["is_odd"]) == (False, True)
    assert odd["score"] > odd["threshold"] > usual["score"]
    assert next(iter(odd["columns"])) == "size"
    assert [json.loads(line)["input"] for line in out.read_text().splitlines()] == ["new.csv:2", "new.csv:3"]


def test_the_odd_rows_are_shown(run: Any) -> None:
    folder, _ = run
    shown = typed(["predict", str(folder / "run"), str(folder / "new.csv")])
    assert "new.csv:3" in shown
    assert "size 100 %" in shown or "size 9" in shown
    assert "new.csv:2" not in shown


def typed(arguments: list[str]) -> str:
    """What a command prints on stdout."""
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.mark.parametrize(
    ("text", "drop", "message"),
    [
        ("a,b\n1,2\n3,x\n", (), "line 3, column 2 \\(b\\): 'x' is not a finite number"),
        ("a,b\n1,2\n3,4\n", ("a", "b"), "no column is left for features"),
        ("a,b\n1,2\n3\n", (), "line 3: 1 cells, expected 2"),
        ("a,b\n1,2\n3,4\n", ("c",), "no column is called 'c'; there are a, b"),
        ("a,b\n1,2\n", (), "there is 1 row of data"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, text: str, drop: Any, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(BigmodelError, match=f"(?s){message}"):
        bm.datasets.load("rows", tmp_path, drop=drop)
