"""What users see of objects at a prompt, and habits of other frameworks that are met with advice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, GraphError, UsageError

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


def trainer() -> bm.Trainer:
    return bm.Trainer(
        bm.Sequential(bm.layers.Dense(8), bm.layers.Dense(2)), "cross_entropy", metrics=["accuracy"]
    )


@pytest.mark.parametrize("y", [Y, Y.tolist(), tuple(Y)], ids=["array", "list", "tuple"])
def test_samples_and_targets_apart_are_advised_to_be_a_pair(y: Any) -> None:
    fitted = trainer()
    with pytest.raises(UsageError, match=r"fit\(\(x, y\)\)"):
        fitted.fit(X, y)
    fitted.fit((X, Y), np.int64(1), verbose=False)
    with pytest.raises(UsageError, match=r"evaluate\(\(x, y\)\)"):
        fitted.evaluate(X, y)


def test_what_is_large_is_shown_short() -> None:
    fitted = trainer()
    history = fitted.fit((X, Y), 3, validation=0.25, verbose=False)
    split = bm.Split(X, Y)
    data = bm.Data("toy", split, bm.Split(X[:9], Y[:9]), labels=("no", "yes"))
    assert repr(split) == "<Split: x (64, 4) float32, y (64,) int64>"
    assert repr(data) == "<Data toy: 64 train, 9 test, samples (4,) float32, classification of 2 classes>"
    assert repr(fitted.network) == (
        "<Network of Sequential: Spec((N, 4), float32) to Spec((N, 2), float32), 58 parameters, cpu>"
    )
    assert repr(history).startswith("<History of 3 epochs, loss 0.") and "val_accuracy" in repr(history)
    assert repr(fitted).startswith(
        "<Trainer of Sequential: CrossEntropy, Adam, 3 epochs done, best in epoch "
    )
    for shown in (split, data, fitted.network, history, fitted, bm.datasets.load("digits")):
        assert len(repr(shown)) < 200 and "\n" not in repr(shown)


def test_models_of_files_are_shown_short(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Dense(8), bm.layers.Dense(2))
    model(X)
    bm.save(model, tmp_path / "model.safetensors")
    bm.export(model, tmp_path / "model.onnx")
    assert repr(bm.load(tmp_path / "model.safetensors")) == "<RestoredModel: 4 arrays, 58 parameters>"
    assert repr(bm.from_onnx(tmp_path / "model.onnx")) == "<OnnxModel: 4 arrays, 58 parameters>"


def test_errors_show_what_was_passed_short() -> None:
    """As if an optimizer took parameters first, as in PyTorch."""
    model = bm.Sequential(bm.layers.Dense(8), bm.layers.Dense(2))
    model(X)
    wrong: list[Any] = [model.state(), list(model.state().values()), model, bm.schedules.Cosine]
    for value in wrong:
        with pytest.raises(ConfigError, match="^Adam: learning_rate is .*, expected a number") as caught:
            bm.optimizers.Adam(value)
        assert len(caught.value.message) < 150 and "\n" not in caught.value.message


def test_a_summary_is_the_table_of_bigmodel_info(capsys: pytest.CaptureFixture[str]) -> None:
    from bigmodel_core.cli.app import main

    model = bm.models.build("mlp")
    with pytest.raises(GraphError, match="not built"):
        model.summary()
    network = model.build(model.input_spec())
    for built in (model, network):
        found = built.summary()
        printed = capsys.readouterr().out
        assert printed == f"{found}\n"
        assert found.parameters == sum(array.size for array in model.state().values()) == 55_050
        assert repr(found) == "<Summary of Mlp: 55,050 parameters>"
    assert main(["info", "mlp"]) == 0
    table = capsys.readouterr().out.split("\n\n", 1)[1]
    assert [line.split() for line in table.splitlines()] == [line.split() for line in printed.splitlines()]
