"""What the command line advises can be done at the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bigmodel_core.errors import BigmodelError, ShapeError

from .conftest import Command

PYTHON = re.compile(r"\w\(|\bbm\.|\bastype|\bTrainer\b|\bout=")


def test_a_mend_for_the_shell_comes_first() -> None:
    assert "--out" in BigmodelError("no.", fix="pass out=...", shell="pass --out.").for_shell()
    assert "pass out" in str(BigmodelError("no.", fix="pass out=...", shell="pass --out."))
    assert "bigmodel info" in ShapeError("no.", fix="reshape it: x.reshape(-1).").for_shell()
    assert "use 3 of them" in ShapeError("no.", fix="use 3 of them.").for_shell()


MISTAKES: list[tuple[Any, ...]] = [
    ("train", "lenet", "--data", "csv", "--data-dir", "t.csv"),
    ("train", "char-rnn"),
    ("train", "mlp", "--data", "text"),
    ("train", "lstm-classifier", "--data", "csv", "--data-dir", "t.csv"),
    ("train", "mlp", "--loss", "hinge", "--data", "text"),
    ("train", "linear-regression"),
    ("train", "mlp", "--set", "widths=0"),
    ("train", "mlp", "--set", "dropout=2"),
    ("train", "mlp", "--batch-size", 0),
    ("train", "mlp", "--validation", 2),
    ("train", "mlp", "--learning-rate", -1),
    ("train", "mlp", "--schedule", "warm-up:steps=2,then=true"),
    ("train", "mlp", "--schedule", "step-decay"),
    ("train", "mlp", "--optimizer", "sgd:nesterov=true"),
    ("train", "mlp", "--optimizer", "adam:beta1=2"),
    ("train", "mlp", "--callback", "early-stopping:monitor=val_f1"),
    ("train", "mlp", "--augment", "random-crop:padding=-1"),
    ("train", "mlp", "--metrics", "r2"),
    ("train", "mlp", "--out", "t.csv"),
    ("train", "mlp", "--out", "t.csv/deeper"),
    ("train", "--resume", "t.csv"),
    ("train", "mlp", "--device", "cuda"),
    ("export", "m.onnx"),
    ("export", "m.onnx", "--run", "t.csv"),
    ("evaluate", "t.csv"),
    ("predict", "t.csv", "t.csv"),
    ("info", "lenet", "--input-shape", "7"),
    ("info", "lenet", "--input-shape", "1,2,2"),
]


@pytest.mark.parametrize("command", MISTAKES, ids=lambda command: "-".join(map(str, command)))
def test_mistakes_at_the_shell_are_mended_at_the_shell(
    bigmodel: Command, tmp_path: Path, command: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    rows = "".join(f"{n},{n % 7},{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(f"x,y,kind\n{rows}")
    result = bigmodel(*command)
    assert result.code in (1, 2), result.out
    fix = result.err.partition("Fix: ")[2]
    assert fix and not PYTHON.search(fix), result.err


def test_other_data_in_a_resumed_run(bigmodel: Command, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,y,kind\n" + "".join(f"{n},{n % 7},{'ab'[n % 2]}\n" for n in range(40)))
    options = ("--data", "csv", "--data-dir", "t.csv", "--epochs", 1, "--schedule", "constant", "-q")
    assert bigmodel("train", "mlp", *options).code == 0
    table.write_text("x,y,kind\n" + "".join(f"{n + 1},{n % 5},{'ab'[n % 2]}\n" for n in range(40)))
    result = bigmodel("train", "--resume", "--epochs", 2)
    assert (
        result.code == 1
        and "--data-dir" in result.err
        and not PYTHON.search(result.err.partition("Fix: ")[2])
    )


def test_a_callback_of_ones_own_is_for_python(bigmodel: Command, tmp_path: Path) -> None:
    import bigmodel_core as bm
    from bigmodel_core.train import runs

    class Own(bm.Callback):
        """Nobody's plugin offers it."""

    data = bm.datasets.load("digits")
    made = bm.Trainer("logistic-regression", callbacks=[Own()], out=tmp_path / "a")
    made.fit(data, 1, verbose=False, record={"dataset": {"name": "digits", "fields": {}}})
    assert runs.is_run(tmp_path / "a")
    result = bigmodel("train", "--resume", "a")
    assert result.code == 1 and "resume it from Python" in result.err


def test_options_are_named_as_they_are_typed(bigmodel: Command) -> None:
    assert "Fix: pass --batch-size 2" in bigmodel("train", "mlp", "--batch-size", 0).err
    error = bigmodel("train", "mlp", "--set", "dropout=0.5,widths=8").err
    assert "Fix: give each option its own --set, as in --set widths=...\n" in error
