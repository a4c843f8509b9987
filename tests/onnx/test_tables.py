"""Exported models of tables take the cells of a row as they are."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError

ROWS = 80
NAMES = ("size", "job", "member", "day", "note")


class Embedded(bm.Model):
    """A network of numbers and of codes."""

    categories_as: ClassVar[str] = "embed"

    def input_spec(self) -> tuple[bm.Spec, ...]:
        return bm.Spec(("N", 4)), bm.Spec(("N", 1), "int64")

    def __call__(self, numbers: Any = None, categories: Any = None) -> Any:
        codes = bm.ops.flatten(bm.layers.Embedding(5, 3)(categories))
        return bm.layers.Dense(2)(bm.ops.concatenate((numbers, codes), axis=1))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory):
    generator = np.random.default_rng(0)
    lines = ["size,job,member,day,note,kind"]
    for number in range(ROWS):
        size = "" if number % 9 == 0 else f"{generator.normal():.4f}"
        job = ["clerk", "nurse", "cook", "NA"][number % 4]
        day = f"{1950 + number}-{1 + number % 12:02}-{1 + number % 28:02}" + (" 10:30" if number % 2 else "")
        note = " ".join(generator.choice(["Good", "bad", "of", "tea", "box"], 5))
        lines.append(f"{size},{job},{['yes', 'no', ''][number % 3]},{day},{note},{'ab'[number % 2]}")
    found = tmp_path_factory.mktemp("tables") / "table.csv"
    found.write_text("\n".join(lines) + "\n", "utf-8")
    return found


def cells_of(path) -> dict[str, np.ndarray]:
    """What the file takes: numbers with NaN for gaps, and texts."""
    rows = [line.split(",") for line in path.read_text("utf-8").splitlines()[1:]]
    found: dict[str, np.ndarray] = {
        name: np.array([[row[place]] for row in rows], object) for place, name in enumerate(NAMES)
    }
    found["size"] = np.array([[float(row[0] or "nan")] for row in rows])
    return found


@pytest.mark.parametrize(("form", "scaling"), [("one-hot", "standard"), ("embed", "quantile")])
def test_rows_as_they_are_give_what_the_model_gives(path, tmp_path, form, scaling):
    data = bm.datasets.load("csv", path, categories=form, scaling=scaling)
    model = bm.models.build("logistic-regression", classes=2) if form == "one-hot" else Embedded()
    trainer = bm.Trainer(model, loss="cross_entropy", optimizer="adam")
    trainer.fit(data, epochs=1, verbose=False)
    bm.export(model, tmp_path / "model.onnx", with_preprocessing=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    label, _, probabilities = session.run(None, cells_of(path))
    everything = data.columns.apply(
        {
            name: [row.split(",")[place] for row in path.read_text("utf-8").splitlines()[1:]]
            for place, name in enumerate(NAMES)
        }
    )
    scores = trainer.predict(everything)
    wanted = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities, wanted / wanted.sum(1, keepdims=True), atol=1e-5)
    assert (label == scores.argmax(1)).all()


def test_texts_take_a_newer_operator_set(path, tmp_path):
    model = bm.models.build("logistic-regression", classes=2)
    bm.Trainer(model).fit(bm.datasets.load("csv", path), epochs=1, verbose=False)
    with pytest.raises(BigmodelError, match="cells with texts take opset 20"):
        bm.export(model, tmp_path / "model.onnx", with_preprocessing=True, opset=17)
    assert not (tmp_path / "model.onnx").exists()


def test_a_column_is_not_called_as_an_output(path, tmp_path):
    renamed = tmp_path / "table.csv"
    renamed.write_text(path.read_text("utf-8").replace("size,", "label,", 1), "utf-8")
    model = bm.models.build("logistic-regression", classes=2)
    bm.Trainer(model).fit(bm.datasets.load("csv", renamed), epochs=1, verbose=False)
    with pytest.raises(BigmodelError, match="a column is called label"):
        bm.export(model, tmp_path / "model.onnx", with_preprocessing=True)
