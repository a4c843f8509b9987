"""The tables on which models of tables are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from bench.tables import bundled, counted, made


def test_the_made_table_has_gaps_and_all_kinds_of_columns(tmp_path: Path) -> None:
    made(tmp_path / "made.csv", rows=400)
    data = bm.datasets.load("csv", tmp_path / "made.csv", target="outcome")
    assert data.columns is not None
    kinds = {column.name: column.kind for column in data.columns.columns}
    assert kinds == {
        "age": "number",
        "income": "number",
        "job": "category",
        "city": "category",
        "member": "bool",
        "joined": "date",
        "note": "text",
    }
    assert all(column.gaps for column in data.columns.columns if column.name in ("age", "income", "joined"))


@pytest.mark.parametrize(("name", "task"), [("iris", "classification"), ("diabetes", "regression")])
def test_bundled_tables_are_read_as_what_they_are(tmp_path: Path, name: str, task: str) -> None:
    pytest.importorskip("sklearn")
    bundled(name, tmp_path / "table.csv")
    assert bm.datasets.load("csv", tmp_path / "table.csv", target="outcome").task == task


def test_trees_get_categories_as_numbers_that_stay_apart() -> None:
    codes = np.array([[1], [2], [2], [0]])
    split = bm.Split({"numbers": np.zeros((4, 1), "float32"), "categories": codes}, np.zeros(4, "int64"))
    found = counted(bm.Data("made", split, split, category_sizes=(3,)))(split.x)
    assert found.shape == (4, 2)
    assert len(np.unique(found[:, 1])) == 3
