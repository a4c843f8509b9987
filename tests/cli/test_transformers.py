"""Transformers from the command line: trained, evaluated, exported, and the file answers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import Command

SMALL = ("--set", "layers=1", "--set", "heads=2", "--set", "width=8", "--epochs", 1)
TRAINED = [
    ("vit", "digits"),
    ("bert", "masked-text:length=16,vocabulary=40"),
    ("bert", "masked-text:length=16,vocabulary=40,pairs=false"),
    ("bert-classifier", "text-classification"),
    ("bert-tagger", "token-tags"),
]


def data_of(name: str, folder: Path) -> tuple[object, ...]:
    """The options that name a data set, and its example files."""
    plain = name.partition(":")[0]
    if plain == "digits":
        return "--data", plain
    (folder / plain).mkdir()
    bm.datasets.get(plain).example(folder / plain)
    return "--data", name, "--data-dir", folder / plain


@pytest.mark.parametrize(("model", "data"), TRAINED, ids=lambda item: re.sub(":.*", "", item))
def test_train_evaluate_export(bigmodel: Command, tmp_path: Path, model: str, data: str) -> None:
    options = data_of(data, tmp_path)
    result = bigmodel("train", model, *options, *SMALL, "--json")
    assert result.code == 0, result.err
    told = bigmodel("evaluate", result.json["run"], *options[2:], "--json")
    assert told.code == 0, told.err
    assert told.json["metrics"]["loss"] == pytest.approx(result.json["test"]["loss"], abs=1e-6)
    exported = bigmodel("export", "model.onnx", "--quiet")
    assert exported.code == 0, exported.err
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    found = bm.load(Path(result.json["run"], "best"))
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}
    shape = (1, 1, 8, 8) if model == "vit" else (3, 7)
    arrays = {item.name: np.ones(shape, kinds[item.type]) for item in session.get_inputs()}
    wanted = found(*arrays.values())
    wanted = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
    for ours, theirs in zip(wanted, session.run(None, arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
