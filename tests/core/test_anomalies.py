"""Which rows are odd, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
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


@pytest.mark.parametrize(
    ("text", "drop", "message"),
    [
        ("a,b\n1,2\n3,x\n", (), "line 3, column 2 \\(b\\): 'x' is not a finite number"),
        ("a,b\n1,2\n3,\n", (), "line 3, column 2 \\(b\\): the cell is empty"),
        ("a,b\n1,2\n3\n", (), "line 3: 1 cells, expected 2"),
        ("a,b\n1,2\n3,4\n", ("c",), "no column is called 'c'; there are a, b"),
        ("a,b\n1,2\n", (), "there is 1 row of data"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, text: str, drop: Any, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(BigmodelError, match=f"(?s){message}"):
        bm.datasets.load("rows", tmp_path, drop=drop)
