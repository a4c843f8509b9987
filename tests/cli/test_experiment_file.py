"""Experiment files: what they say is done, and what is wrong in them is told with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bigmodel_core import registry

from .conftest import Command

WHOLE = """\
# Every section at once.
[model]
name = "mlp"
widths = [16]
dropout = 0.25

[data]
name = "csv"
data_dir = "table.csv"
target = "kind"

[optimizer]
name = "sgd"
learning_rate = 0.5
momentum = 0.5

[schedule]
name = "warm-up"
steps = 2
then = "cosine"

[train]
epochs = 2
batch_size = 8
validation = 0.25
seed = 3
loss = "cross_entropy:label_smoothing=0.125"
metrics = ["accuracy", "top_k_accuracy:k=2"]

[[callbacks]]
name = "early-stopping"
patience = 7
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{n},{-n},{'odd' if n % 2 else 'even'}" for n in range(40)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,b,kind", *rows]) + "\n")
    return path


def test_an_experiment_is_run_as_it_says(bigmodel: Command, tmp_path: Path, table: Path) -> None:
    (tmp_path / "e.toml").write_text(WHOLE)
    result = bigmodel("train", "e.toml", "--json")
    assert result.code == 0, result.err
    found = json.loads((Path(result.json["run"]) / "run.json").read_text())
    assert found["model"]["fields"] == {"widths": [16], "classes": 2, "activation": "relu", "dropout": 0.25}
    assert found["dataset"]["fields"]["target"] == "kind"
    assert (found["epochs"], found["batch_size"], found["seed"]) == (2, 8, 3)
    assert found["validation"]["samples"] == 8  # a quarter of the 32 rows that are not for the test
    assert found["loss"]["fields"]["label_smoothing"] == 0.125
    assert [item["name"] for item in found["metrics"]] == ["metrics:Accuracy", "metrics:TopKAccuracy"]
    assert found["callbacks"][0]["fields"]["patience"] == 7
    schedule = found["optimizer"]["fields"]["learning_rate"]
    assert schedule["fields"]["steps"] == 2
    # 24 samples make 3 steps an epoch, 6 in all, of which the warm-up takes 2.
    assert schedule["fields"]["then"]["fields"] == {"rate": 0.5, "steps": 4, "final": 0.0}
    assert len(result.json["epochs"]) == 2


def test_losses_and_metrics_stand_by_the_names_of_outputs(bigmodel: Command, tmp_path: Path) -> None:
    text = '[model]\nname = "mlp"\n[train]\nepochs = 1\n[schedule]\nname = "constant"\n'
    by_output = '[loss]\ny = ["cross_entropy:label_smoothing=0.1", 0.5]\n[metrics]\ny = ["accuracy"]\n'
    (tmp_path / "e.toml").write_text(text + by_output)
    result = bigmodel("train", "e.toml", "--json")
    assert result.code == 0, result.err
    (logs,) = result.json["epochs"]
    assert logs["loss"] == pytest.approx(0.5 * logs["y_loss"]) and "val_y_accuracy" in logs
    found = bigmodel("evaluate", result.json["run"], "--json")
    assert {"loss", "y_loss", "y_accuracy"} == set(found.json["metrics"]), found.err
    assert bigmodel("train", "--resume", result.json["run"], "--epochs", 2, "--quiet").code == 0


def test_the_command_line_counts_more_than_the_file(bigmodel: Command, tmp_path: Path, table: Path) -> None:
    (tmp_path / "e.toml").write_text(WHOLE)
    result = bigmodel(
        "train", "e.toml", "--json", "--epochs", 1, "--set", "widths=4,4", "--optimizer", "adam",
        "--learning-rate", 0.25, "--schedule", "step-decay:every=2", "--metrics", "accuracy",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = json.loads((Path(result.json["run"]) / "run.json").read_text())
    assert found["model"]["fields"]["widths"] == [4, 4] and found["model"]["fields"]["dropout"] == 0.25
    assert found["epochs"] == 1 and found["batch_size"] == 8
    assert found["optimizer"]["name"] == "optimizers:Adam"
    assert found["optimizer"]["fields"]["learning_rate"]["fields"] == {
        "rate": 0.25,
        "every": 2,
        "factor": 0.1,
        "epochs": None,
    }
    assert [item["name"] for item in found["metrics"]] == ["metrics:Accuracy"]


def test_the_data_folder_counts_from_the_file(bigmodel: Command, tmp_path: Path, table: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    table.rename(folder / "table.csv")
    (folder / "e.toml").write_text(WHOLE)
    assert bigmodel("train", "elsewhere/e.toml", "--epochs", 1, "--quiet").code == 0


WRONG = {
    "no TOML": ('[model]\nname = "mlp"\nwidths = [1,,2]\n', 3, "not TOML"),
    "a section without an end": ('\n[model\nname = "mlp"\n', 2, "not TOML"),
    "a text without an end": ('[model]\nname = "mlp\n', 2, "not TOML"),
    "an unknown section": ('[modle]\nname = "mlp"\n', 1, "did you mean [model]"),
    "no model": ('[data]\nname = "digits"\n', None, "no section [model]"),
    "a model without a name": ("\n[model]\nwidths = [3]\n", 2, "no name"),
    "an unknown model": ('[model]\nname = "mpl"\n', 2, "nearest names are mlp"),
    "an unknown key of a model": ('[model]\nname = "mlp"\n# more\nwidth = [3]\n', 4, "'widths'"),
    "a wrong value of a model": ('[model]\nname = "mlp"\nwidths = "x"\n', 3, "expected integers"),
    "a value out of range": ('[model]\nname = "mlp"\ndropout = 1.5\n', 3, "below 1"),
    "an unknown key of [train]": ('[model]\nname = "mlp"\n[train]\nepoch = 3\n', 4, "'epochs'"),
    "a batch size of 0": ('[model]\nname = "mlp"\n\n[train]\nepochs = 3\nbatch_size = 0\n', 6, "at least 1"),
    "a text for a number": ('[model]\nname = "mlp"\n[train]\nepochs = "3"\n', 4, "expected an integer"),
    "an unknown loss": ('[model]\nname = "mlp"\n[train]\nloss = "cross"\n', 4, "cross_entropy"),
    "an unknown metric": ('[model]\nname = "mlp"\n[train]\nmetrics = ["acuracy"]\n', 4, "accuracy"),
    "an unknown loss of an output": ('[model]\nname = "mlp"\n[loss]\ny = "cross"\n', 3, "cross_entropy"),
    "options of no loss": ('[model]\nname = "mlp"\n[loss]\nlabel_smoothing = 0.1\n', 3, "no name"),
    "an unknown data set": ('[model]\nname = "mlp"\n[data]\nname = "digit"\n', 4, "digits"),
    "an unknown key of an optimizer": (
        '[model]\nname = "mlp"\n[optimizer]\nname = "adam"\nbeta = 1\n', 5, "beta1",
    ),
    "an unknown key of a schedule": (
        '[model]\nname = "mlp"\n[schedule]\nname = "cosine"\nfinl = 1\n', 5, "'final'",
    ),
    "an unknown key of a callback": (
        '[[callbacks]]\nname = "early-stopping"\npatiense = 1\n[model]\nname = "mlp"\n', 3, "'patience'",
    ),
    "a name for a section": ('model = "mlp"\n', 1, "not a section"),
    "an unknown switch of plugins": ('[model]\nname = "mlp"\n[plugins]\nenable = ["x"]\n', 4, "'enable'"),
    "a key with a dot": ('model.name = "mlp"\ntrain.epochs = 0\n', 2, "at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_line(name: str, bigmodel: Command, tmp_path: Path) -> None:
    text, line, message = WRONG[name]
    (tmp_path / "bad.toml").write_text(text)
    result = bigmodel("train", "bad.toml")
    assert result.code == 2
    place = "bad.toml" if line is None else f"bad.toml, line {line}"
    assert result.err.startswith(f"Error: {place}")
    assert message in result.err and "Fix: " in result.err
    assert not (tmp_path / "runs").exists()


def test_a_mistake_on_the_command_line_does_not_blame_the_file(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('[model]\nname = "mlp"\n[train]\nloss = "cross_entropy"\n')
    result = bigmodel("train", "e.toml", "--loss", "cross")
    assert result.code == 2
    assert "e.toml" not in result.err


def test_a_file_that_is_not_there_is_wrong_usage(bigmodel: Command) -> None:
    result = bigmodel("train", "missing.toml")
    assert result.code == 2
    assert "missing.toml" in result.err


def test_a_file_that_is_no_text_is_told(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b"[model]\nname = \xff\n")
    result = bigmodel("train", "bad.toml")
    assert result.code == 2
    assert "bad.toml, line 2" in result.err and "UTF-8" in result.err


def test_a_file_can_switch_plugins_off(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('[plugins]\ndisable = ["models"]\n[model]\nname = "mlp"\n')
    try:
        result = bigmodel("train", "e.toml")
    finally:
        registry.reset()
    assert result.code == 2
    assert "no model 'mlp'" in result.err
