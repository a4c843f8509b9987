"""Transformers from the command line: trained, evaluated, exported, and the file answers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import Command

SMALL = ("--set", "layers=1", "--set", "width=8", "--epochs", 1)
TRAINED = [
    ("vit", "digits"),
    ("bert", "masked-text:length=16,vocabulary=40"),
    ("bert", "masked-text:length=16,vocabulary=40,pairs=false"),
    ("bert-classifier", "text-classification"),
    ("bert-tagger", "token-tags"),
    ("transformer", "text-pairs"),
    ("seq2seq-gru", "text-pairs"),
]


def data_of(name: str, folder: Path) -> tuple[object, ...]:
    """The options that name a data set, and its example files."""
    plain = name.partition(":")[0]
    if plain == "digits":
        return "--data", plain
    (folder / plain).mkdir()
    bm.datasets.get(plain).example(folder / plain)
    return "--data", name, "--data-dir", folder / plain


def array(shape: list[int | str], kind: str) -> np.ndarray:
    """Ones for an input of an ONNX file; the past has no steps."""
    sizes = {"N": 3, "S": 7, "T": 7}
    dtype = {"float": "float32"}.get(kind[7:-1], kind[7:-1])
    return np.ones([sizes.get(dim, 0) if isinstance(dim, str) else dim for dim in shape], dtype)


@pytest.mark.parametrize(("model", "data"), TRAINED, ids=lambda item: re.sub(":.*", "", item))
def test_train_evaluate_export(bigmodel: Command, tmp_path: Path, model: str, data: str) -> None:
    options = data_of(data, tmp_path)
    kind = ("--set", "units=8") if "gru" in model else ("--set", "heads=2")
    result = bigmodel("train", model, *options, *SMALL, *kind, "--json")
    assert result.code == 0, result.err
    told = bigmodel("evaluate", result.json["run"], *options[2:], "--json")
    assert told.code == 0, told.err
    assert told.json["metrics"]["loss"] == pytest.approx(result.json["test"]["loss"], abs=1e-6)
    exported = bigmodel("export", "model.onnx", "--quiet")
    assert exported.code == 0, exported.err
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    found = bm.load(Path(result.json["run"], "best"))
    inputs = session.get_inputs()
    given = {item.name: array(item.shape, item.type) for item in inputs}
    wanted = found(*(given[name] for name in found.network.input_names))
    wanted = list(wanted.values()) if isinstance(wanted, dict) else [wanted]
    own = found.network.input_names
    past = {name: np.zeros_like(value) for name, value in given.items() if name not in own}
    answers = session.run(None, given | past)[: len(wanted)]  # behind them is what a next call goes on from
    for ours, theirs in zip(wanted, answers, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "data", "text"),
    [
        ("bert-tagger", "token-tags", "the dog sees"),
        ("transformer", "text-pairs:tokenizer=characters,length=40", "28"),
    ],
)
def test_predict_answers_for_a_text(
    bigmodel: Command, tmp_path: Path, model: str, data: str, text: str
) -> None:
    options = (*data_of(data, tmp_path), *SMALL, "--set", "heads=2")
    assert bigmodel("train", model, *options, "--out", "run").code == 0
    told = bigmodel("predict", "run", text, "--json")
    assert told.code == 0, told.err
    (found,) = told.json
    if model == "bert-tagger":
        labels = bm.load("run").about.encoding.labels
        assert [item["text"] for item in found["spans"]] == text.split()
        assert all(item["label"] in labels for item in found["spans"])
    else:
        assert set(found["text"]) <= set("0123456789 abcdefghijklmnopqrstuvwxyz")
        by_beam = ("--strategy", "beam:width=2", "--metrics", "bleu,token_error_rate", "--json")
        measured = bigmodel("evaluate", "run", *options[2:4], *by_beam)
        assert measured.code == 0, measured.err
        assert measured.json["metrics"].keys() == {"bleu", "token_error_rate"}
        assert measured.json["strategy"] == "beam:width=2"
