"""What is wrong with a command line: exit code 2, what was expected, the fix; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Command, run_fresh

WRONG = {
    "an unknown command": (("tran",), "no command 'tran'", "did you mean 'train'"),
    "nothing to train": (("train",), "there is nothing to train", "bigmodel train mlp"),
    "an unknown model": (("train", "mpl"), "no model 'mpl'", "nearest names are mlp"),
    "an unknown data set": (("train", "mlp", "--data", "digts"), "no dataset 'digts'", "digits"),
    "an unknown optimizer": (("train", "mlp", "--optimizer", "adma"), "no optimizer 'adma'", "adam"),
    "an unknown option of an optimizer": (
        ("train", "mlp", "--optimizer", "sgd:momentun=1"), "no option 'momentun'", "did you mean 'momentum'",
    ),
    "an unknown schedule": (("train", "mlp", "--schedule", "cosin"), "no schedule 'cosin'", "cosine"),
    "an unknown loss": (("train", "mlp", "--loss", "crossentropi"), "no loss", "cross_entropy"),
    "an unknown metric": (("train", "mlp", "--metrics", "acuracy"), "no metric 'acuracy'", "accuracy"),
    "an unknown callback": (("train", "mlp", "--callback", "early-stop"), "no callback", "early_stopping"),
    "a batch size of 0": (("train", "mlp", "--batch-size", "0"), "batch_size is 0", "at least 1"),
    "no epochs": (("train", "mlp", "--epochs", "0"), "epochs is 0", "at least 1"),
    "a fraction above 1": (("train", "mlp", "--validation", "1.5"), "validation is 1.5", "below 1"),
    "a negative rate": (("train", "mlp", "--learning-rate", "-1"), "learning_rate is -1.0", "at least 0"),
    "another device": (("train", "mlp", "--device", "tpu"), "'tpu'", "'cpu' or 'cuda'"),
    "a setting without =": (("train", "mlp", "--set", "widths"), "'widths' is not a setting", "key=value"),
    "an unknown setting": (("train", "mlp", "--set", "width=3"), "no option 'width'", "'widths'"),
    "a setting of another kind": (("train", "mlp", "--set", "dropout=x"), "expected a number", "'x'"),
    "an unknown activation": (
        ("train", "mlp", "--set", "activation=bump:alpha=2"), "no layer 'bump'", "plugins list",
    ),
    "a word for a number": (("train", "mlp", "--epochs", "ten"), "--epochs", "train --help"),
    "an unknown option": (("train", "mlp", "--epoch", "3"), "--epoch", "train --help"),
    "two models": (("train", "mlp", "lenet"), "'lenet' is one argument too many", "Fix"),
    "a schedule without what it needs": (
        ("train", "mlp", "--schedule", "step-decay"), "one of every (steps) and epochs", "epochs=3",
    ),
    "a change to a run that goes on": (
        ("train", "--resume", "--batch-size", "3"), "--batch-size cannot change", "leave it out",
    ),
    "an export to an unknown format": (("export", "model.txt"), "no exporter", ".onnx"),
    "an opset of long ago": (("export", "model.onnx", "--opset", "3"), "opset", "Fix"),
    "nothing to predict": (("predict", "model.onnx"), "expected files to predict", "--data"),
    "files and data": (("predict", "m.onnx", "x.npy", "--data", "digits"), "both given", "Fix"),
    "options for what is saved": (("info", "m.onnx", "--set", "a=b"), "models by name", "Fix"),
    "an impossible shape": (("info", "mlp", "--input-shape", "a,b"), "'a,b' is not a shape", "1,28,28"),
    "an unknown plugin": (("plugins", "info", "layrs"), "no plugin 'layrs'", "layers"),
    "a plugin name that cannot be": (("plugins", "new", "My Plugin"), "cannot name a plugin", "lower-case"),
    "a plugin name that is taken": (("plugins", "new", "layers"), "is taken", "choose another"),
    "data without a name": (("data", "info"), "Missing argument", "data info --help"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_told_with_the_fix(name: str, bigmodel: Command, tmp_path: Path) -> None:
    arguments, message, fix = WRONG[name]
    result = bigmodel(*arguments)
    assert result.code == 2
    assert result.err.startswith("Error: ")
    assert message in result.err and fix in result.err
    assert "Traceback" not in result.err
    assert not list(tmp_path.rglob("*.json"))


def test_nothing_of_an_error_goes_to_stdout(bigmodel: Command) -> None:
    assert bigmodel("train", "mpl", "--json").out == ""


FAILING = {
    "no run yet": (("export", "model.onnx"), "no run here", "bigmodel train"),
    "a run that is not there": (("info", "runs/mlp-009"), "no such run or file", "train a model first"),
    "an ONNX file that is not there": (("predict", "no.onnx", "x.npy"), "no such file", "bigmodel export"),
    "a file of data that is not there": (("data", "info", "csv"), "needs a file", "--data-dir"),
    "numbers for a loss of classes": (
        ("train", "linear-regression"), "class labels", "logistic-regression",
    ),
    "a folder for bundled data": (
        ("data", "info", "digits", "--data-dir", "."), "comes with bigmodel", "Fix",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_is_told_with_the_fix(name: str, bigmodel: Command) -> None:
    arguments, message, fix = FAILING[name]
    result = bigmodel(*arguments)
    assert result.code == 1
    assert message in result.err and fix in result.err
    assert "Traceback" not in result.err


def test_the_traceback_is_there_for_who_asks(tmp_path: Path) -> None:
    result = run_fresh("export", "model.onnx", cwd=tmp_path, BIGMODEL_TRACEBACK="1")
    assert result.code == 1
    assert "Traceback" in result.err and result.err.rstrip().endswith("bigmodel train mlp --data digits")


def test_no_cuda_device_is_told_before_anything_is_written(tmp_path: Path) -> None:
    result = run_fresh("train", "mlp", "--device", "cuda", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert result.code == 1
    assert "CUDA" in result.err and "device='cpu'" in result.err
    assert not list((tmp_path / "runs").glob("*"))


def test_output_that_cannot_be_written_is_told(in_trained: Command, tmp_path: Path) -> None:
    for arguments in (
        ("export", tmp_path / "missing" / "model.onnx"),
        ("train", "mlp", "--epochs", 1, "--quiet", "--out", "/proc/no/run"),
        ("plugins", "new", "wave", "--out", "/proc/no/wave"),
    ):
        result = in_trained(*arguments)
        assert result.code == 1
        assert "Error: " in result.err and "Traceback" not in result.err


def test_a_run_is_not_overwritten(in_trained: Command) -> None:
    result = in_trained("train", "mlp", "--out", "runs/mlp-001")
    assert result.code == 2
    assert "holds another run" in result.err and "--resume" in result.err
