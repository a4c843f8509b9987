"""A language model from the command line: trained, exported, measured, and what it says in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Command


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("to be\nor not to be\n" * 120, "utf-8")
    return path


def test_a_language_model_of_ones_own_text(bigmodel: Command, text: Path) -> None:
    data = ("--data", "text:length=19", "--data-dir", text)
    result = bigmodel(
        "train", "char-rnn", *data, "--set", "units=24", "--epochs", 20, "--batch-size", 8, "--json"
    )
    assert result.code == 0, result.err
    assert result.json["test"]["accuracy"] > 0.6
    assert bigmodel("export", "model.onnx", "--quiet").code == 0
    for model in ("model.onnx", result.json["run"]):
        told = bigmodel("predict", model, *data, "--count", 2, "--json")
        assert told.code == 0, told.err
        assert told.json["accuracy"] == pytest.approx(result.json["test"]["accuracy"], abs=1e-6)
        first = told.json["predictions"][0]
        assert len(first["label"]) == len(first["truth"]) == 19
        assert first["truth"] in "to be\nor not to be\n" * 3
        assert first["index"] == [sorted(set("to be\nor not to be\n")).index(c) for c in first["label"]]
    shown = bigmodel("predict", "model.onnx", *data, "--count", 2)
    assert "\\n" in shown.out and len(shown.out.strip().splitlines()) <= 6
    refused = bigmodel("predict", "model.onnx", "to be")
    assert refused.code == 2 and "goes on with texts" in refused.err
    assert bigmodel("evaluate", "--data-dir", text).code == 0
    assert "\\n" in bigmodel("info", "model.onnx").out


def test_the_labels_of_a_text_are_shown_in_one_line(bigmodel: Command, text: Path) -> None:
    told = bigmodel("data", "info", "text", "--data-dir", text)
    line = next(line for line in told.out.splitlines() if line.startswith("Labels"))
    assert "'\\n', ' ', b" in line
