"""Training from the command line: what is written, what is printed, going on, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Command


def test_a_run_is_written_and_what_to_do_next_is_said(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel("train", "mlp", "--epochs", 2)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "mlp-001"
    assert {item.name for item in run.iterdir()} == {
        "run.json", "metrics.jsonl", "best.safetensors", "last.safetensors",
    }  # fmt: skip
    assert "epoch 2/2" in result.out
    assert re.search(r"on 359 test samples: loss \d\.\d{4}  accuracy 0\.\d{4}", result.out)
    assert "bigmodel export model.onnx" in result.out and "runs/mlp-001" in result.out


def test_tensorboard_is_written_and_how_to_open_it_is_said(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel("train", "mlp", "--epochs", 1, "--tensorboard")
    assert "tensorboard --logdir runs" in result.out
    (file,) = (tmp_path / "runs" / "mlp-001" / "tensorboard").iterdir()
    assert file.stat().st_size > 1000
    again = bigmodel("train", "--resume", "--tensorboard")
    assert again.code == 2 and "--tensorboard cannot change" in again.err


def test_a_profile_is_shown_and_kept(bigmodel: Command, tmp_path: Path) -> None:
    shown = bigmodel("train", "mlp", "--epochs", 1, "--profile")
    assert "Kernels by layer" in shown.out and "dense_1" in shown.out
    told = bigmodel("train", "mlp", "--epochs", 1, "--profile", "--json").json["profile"]
    assert told == json.loads((tmp_path / "runs" / "mlp-002" / "profile.json").read_text())


def test_the_line_of_the_readme_reaches_what_it_promises(bigmodel: Command) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    line = re.search(r"<!-- run: main -->\n```sh\n(.*?)\n```", readme)
    assert line is not None
    commands = [part.strip() for part in line[1].split("&&") if "bin/bigmodel" in part]
    results = [bigmodel(*command.split()[1:]) for command in commands]
    assert [result.code for result in results] == [0, 0, 0]
    trained, exported, predicted = (result.out for result in results)
    found = re.search(r"test samples: .*accuracy (\d\.\d+)", trained)
    assert found is not None and float(found[1]) >= 0.95
    assert re.search(r"ONNX Runtime \S+ agrees", exported)
    again = re.search(r"computed by ONNX Runtime: \d+ right, accuracy (\d\.\d+)", predicted)
    assert again is not None and again[1] == found[1]


def test_json_stands_alone_on_stdout(bigmodel: Command) -> None:
    result = bigmodel("train", "mlp", "--epochs", 2, "--json")
    assert result.json["run"] == "runs/mlp-001"
    assert [logs["epoch"] for logs in result.json["epochs"]] == [1, 2]
    assert 0 < result.json["test"]["accuracy"] <= 1
    assert result.json["best_epoch"] in (1, 2) and result.json["interrupted"] is False
    assert "epoch 2/2" in result.err


def test_quiet_prints_the_result_alone(bigmodel: Command) -> None:
    result = bigmodel("train", "mlp", "--epochs", 1, "--quiet")
    assert len(result.out.splitlines()) == 1 and "test samples" in result.out
    assert result.err == ""


def test_every_run_gets_a_folder_of_its_own(bigmodel: Command, tmp_path: Path) -> None:
    for name in ("logistic-regression-001", "logistic-regression-002"):
        assert bigmodel("train", "logistic-regression", "--epochs", 1, "--quiet").code == 0
        assert (tmp_path / "runs" / name / "run.json").is_file()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(bigmodel: Command, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    states = []
    for number, seed in enumerate((5, 5, 6)):
        assert bigmodel("train", "mlp", "--epochs", 1, "--seed", seed, "--out", f"r{number}", "-q").code == 0
        states.append(load_file(tmp_path / f"r{number}" / "last.safetensors"))
    first, same, other = states
    assert all((first[key] == same[key]).all() for key in first)
    assert any((first[key] != other[key]).any() for key in first)


def test_options_reach_the_run(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel(
        "train", "mlp", "--data", "digits", "--epochs", 1, "--batch-size", 100, "--set", "widths=8,8",
        "--set", "activation=tanh", "--optimizer", "sgd:momentum=0.5,nesterov=true", "--learning-rate", 0.125,
        "--schedule", "cosine", "--loss", "cross_entropy:label_smoothing=0.25",
        "--metrics", "top_k_accuracy:k=3,accuracy", "--callback", "early-stopping:patience=2,monitor=loss",
        "--validation", 0, "--out", "here", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "here" / "run.json").read_text())
    assert found["model"]["fields"]["widths"] == [8, 8] and found["model"]["fields"]["activation"] == "tanh"
    fields = found["optimizer"]["fields"]
    assert fields["momentum"] == 0.5 and fields["nesterov"] is True
    assert fields["learning_rate"]["fields"] == {"rate": 0.125, "steps": 15, "final": 0.0}  # 1438 by 100
    assert found["loss"]["fields"]["label_smoothing"] == 0.25
    assert [item["fields"] for item in found["metrics"]] == [
        {"k": 3, "ignore": None},
        {"ignore": None, "several": False},
    ]
    assert found["validation"] is None and found["batch_size"] == 100


def test_the_record_of_a_run_names_no_place_of_the_machine(trained: Path) -> None:
    text = (trained / "runs" / "mlp-001" / "run.json").read_text()
    assert str(trained) not in text and str(Path.home()) not in text


def test_a_run_goes_on_to_the_same_bits(bigmodel: Command, tmp_path: Path) -> None:
    options = ("train", "mlp", "--set", "dropout=0.2", "--schedule", "constant", "--quiet")
    assert bigmodel(*options, "--epochs", 4, "--out", "whole").code == 0
    assert bigmodel(*options, "--epochs", 2, "--out", "part").code == 0
    result = bigmodel("train", "--resume", "part", "--epochs", 4, "--json")
    assert result.code == 0, result.err
    assert [logs["epoch"] for logs in result.json["epochs"]] == [1, 2, 3, 4]
    from safetensors.numpy import load_file

    whole, part = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "part"))
    assert whole.keys() == part.keys()
    assert all((whole[key] == part[key]).all() for key in whole)


@pytest.mark.parametrize("what", [(), ("mlp",), ("runs/mlp-001",), ("mlp-001",), ("mlp", "runs/mlp-001")])
def test_the_run_to_go_on_with_may_be_named_in_many_ways(
    what: tuple[str, ...], bigmodel: Command, tmp_path: Path
) -> None:
    assert bigmodel("train", "mlp", "--epochs", 1, "--schedule", "constant", "--quiet").code == 0
    result = bigmodel("train", *what, "--resume", "--epochs", 2, "--json")
    assert result.code == 0, result.err
    assert result.json["run"] == "runs/mlp-001" and len(result.json["epochs"]) == 2


def test_a_run_that_is_done_says_how_to_go_on(bigmodel: Command) -> None:
    assert bigmodel("train", "mlp", "--epochs", 1, "--quiet").code == 0
    result = bigmodel("train", "--resume")
    assert result.code == 0
    assert "--epochs 2" in result.out


def test_a_run_whose_rate_has_fallen_to_zero_does_not_go_on(bigmodel: Command) -> None:
    assert bigmodel("train", "mlp", "--epochs", 1, "--quiet").code == 0
    result = bigmodel("train", "--resume", "--epochs", 2)
    assert result.code == 2
    assert "fallen to zero" in result.err and "--schedule constant" in result.err


def test_no_run_to_go_on_with(bigmodel: Command) -> None:
    result = bigmodel("train", "mlp", "--resume")
    assert result.code == 1
    assert "no run of mlp" in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for other processes")
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(bigmodel: Command, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bigmodel_core.cli", "train", "mlp", "--epochs", "1000000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                os.kill(process.pid, signal.SIGINT)
                break
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Resume with: bigmodel train --resume runs/mlp-001" in out
    done = len((tmp_path / "runs" / "mlp-001" / "metrics.jsonl").read_text().splitlines())
    result = bigmodel("train", "--resume", "runs/mlp-001", "--epochs", done + 1, "--json")
    assert result.code == 0, result.err
    assert len(result.json["epochs"]) == done + 1


def test_a_loss_that_is_not_finite_keeps_the_good_checkpoint(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel("train", "mlp", "--learning-rate", "1e30", "--epochs", 3, "--quiet")
    assert result.code == 1
    assert "NaN or infinite" in result.err and "dense_" in result.err
    assert "runs/mlp-001/last.safetensors" in result.err
    assert bigmodel("info", "runs/mlp-001/last.safetensors").code == 0


def test_broken_data_leaves_no_folder(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,x\n")
    result = bigmodel("train", "mlp", "--data", "csv", "--data-dir", "table.csv")
    assert result.code == 1
    assert "table.csv" in result.err
    assert not (tmp_path / "runs").exists()


def test_regression_on_a_table(bigmodel: Command, tmp_path: Path) -> None:
    rows = [f"{n / 10},{n % 7},{3 * n / 10 - (n % 7) + 0.5}" for n in range(100)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    result = bigmodel(
        "train", "linear-regression", "--data", "csv", "--data-dir", "table.csv", "--epochs", 40,
        "--learning-rate", 0.1, "--batch-size", 16, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.json["test"]["r2"] > 0.999
    assert bigmodel("export", "m.onnx", "-q").code == 0
    (tmp_path / "rows.csv").write_text("a,b\n2,3\n")
    (answer,) = bigmodel("predict", "m.onnx", "rows.csv", "--json").json
    assert answer["input"] == "rows.csv:2"
    assert answer["values"] == pytest.approx([3 * 2 - 3 + 0.5], abs=0.05)
