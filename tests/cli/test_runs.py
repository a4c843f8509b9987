"""Runs at the command line: which one is meant, how they end, what becomes of broken ones, closed output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bigmodel_core.train import runs
from bigmodel_core.train.lock import LOCK, RunLock

from .conftest import Command

QUICK = ("train", "logistic-regression", "--epochs", 2, "--quiet")


def broken(folder: Path) -> Path:
    """A run folder that failed before an epoch was done."""
    folder.mkdir(parents=True)
    manifest = {"started": "2099-01-01T00:00:00+00:00", "status": "failed", "error": "the loss is NaN"}
    runs.write_manifest(folder, manifest)
    return folder


def test_export_says_which_run_and_epoch_it_took(bigmodel: Command) -> None:
    assert bigmodel(*QUICK).code == 0
    result = bigmodel("export", "m.onnx")
    assert "From runs/logistic-regression-001, best checkpoint: epoch 2 of 2" in result.out
    found = bigmodel("export", "m.onnx", "--json").json
    assert (found["run"], found["epoch"]) == ("runs/logistic-regression-001", 2)


@pytest.mark.parametrize("command", [("export", "m.onnx"), ("evaluate",)])
def test_a_newer_run_without_an_epoch_is_left_out_with_a_warning(
    bigmodel: Command, command: tuple[str, ...], tmp_path: Path
) -> None:
    assert bigmodel(*QUICK).code == 0
    broken(tmp_path / "runs" / "mlp-001")
    result = bigmodel(*command)
    assert result.code == 0, result.err
    assert "Warning: runs/mlp-001 is newer than runs/logistic-regression-001" in result.err
    assert "it failed (the loss is NaN)" in result.err


@pytest.mark.parametrize(
    "command", [("export", "m.onnx"), ("evaluate",), ("predict", "runs/mlp-001", "--data", "digits")]
)
def test_a_run_without_an_epoch_gives_no_model(
    bigmodel: Command, command: tuple[str, ...], tmp_path: Path
) -> None:
    failed = bigmodel("train", "mlp", "--learning-rate", "1e30", "--epochs", 2, "--quiet")
    assert failed.code == 1
    result = bigmodel(*command)
    assert result.code == 1
    assert "the run finished no epoch, it failed" in result.err
    assert not (tmp_path / "m.onnx").exists()
    assert bigmodel("export", "m.onnx", "--run", "runs/mlp-001/last.safetensors", "--quiet").code == 0
    assert bigmodel("info", "runs/mlp-001").code == 0


def test_export_warns_of_a_run_that_failed_or_never_improved(bigmodel: Command, tmp_path: Path) -> None:
    assert (
        bigmodel("train", "mlp", "--epochs", 3, "--learning-rate", 0.3, "--monitor", "loss", "-q").code == 0
    )
    run = tmp_path / "runs" / "mlp-001"
    runs.write_manifest(run, {**runs.read_manifest(run), "status": "failed", "error": "no space"})
    assert "runs/mlp-001: it failed (no space)" in bigmodel("export", "m.onnx").err
    from bigmodel_core.train.checkpoint_file import read_file, write_file

    texts, arrays = read_file(run / runs.BEST)
    about = json.loads(texts["about"])
    about["metrics"]["epoch"] = 1
    write_file(run / runs.BEST, {**texts, "about": json.dumps(about)}, arrays)
    assert "never improved after its first epoch of 3" in bigmodel("export", "m.onnx").err


def test_what_decides_the_best_epoch_can_be_chosen(bigmodel: Command, tmp_path: Path) -> None:
    assert bigmodel("train", "mlp", "--epochs", 2, "--monitor", "val_loss", "--out", "a", "-q").code == 0
    assert runs.read_manifest(tmp_path / "a")["monitor"] == "val_loss"
    (tmp_path / "e.toml").write_text('[model]\nname = "mlp"\n[train]\nepochs = 1\nmonitor = "loss"\n')
    assert bigmodel("train", "e.toml", "--out", "b", "-q").code == 0
    assert runs.read_manifest(tmp_path / "b")["monitor"] == "loss"


def test_what_is_not_measured_decides_nothing(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel("train", "mlp", "--monitor", "val_f1")
    assert result.code == 2
    assert "--monitor: 'val_f1' cannot be monitored" in result.err and "val_accuracy" in result.err
    (tmp_path / "e.toml").write_text('[model]\nname = "mlp"\n[train]\nvalidation = 0\nmonitor = "val_loss"\n')
    result = bigmodel("train", "e.toml")
    assert result.code == 2 and "e.toml, line 5" in result.err
    assert not (tmp_path / "runs").exists()
    assert "--monitor cannot change" in bigmodel("train", "--resume", "--monitor", "loss").err


def test_a_step_that_overflows_says_that_training_diverged(bigmodel: Command) -> None:
    result = bigmodel("train", "mlp", "--epochs", 2, "--learning-rate", "1e9", "--quiet")
    assert result.code == 1 and "training diverged" in result.err and "learning rate" in result.err


def test_training_that_diverged_ends_with_a_warning(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel("train", "mlp", "--epochs", 2, "--learning-rate", "1e7", "--quiet")
    assert result.code == 0
    assert "Warning: training diverged: the loss is" in result.err
    assert all(len(word) < 12 for word in result.out.partition("samples: ")[2].split())  # no 30 digits
    assert runs.read_manifest(tmp_path / "runs" / "mlp-001")["status"] == "diverged"


def test_the_newest_run_is_the_one_that_was_started_last(bigmodel: Command, tmp_path: Path) -> None:
    assert bigmodel(*QUICK).code == 0
    assert bigmodel(*QUICK).code == 0
    first = tmp_path / "runs" / "logistic-regression-001"
    later = time.time() + 1000
    os.utime(first / runs.MANIFEST, (later, later))  # as a copy, or a resume of the older run, leaves it
    assert runs.newest(tmp_path / "runs").name == "logistic-regression-002"
    assert bigmodel("info", "--json").json["path"] == "runs/logistic-regression-002"
    assert bigmodel("train", "logistic-regression", "--resume", "--json").json["run"].endswith("-002")


# Broken and unfinished runs ------------------------------------------------------------------------------


def test_a_torn_last_checkpoint_is_made_up_for_by_the_best(bigmodel: Command, tmp_path: Path) -> None:
    options = ("--schedule", "constant", "--quiet", "--epochs")
    assert bigmodel("train", "mlp", *options, 2, "--out", "whole").code == 0
    assert bigmodel("train", "mlp", *options, 2, "--out", "torn", "--monitor", "loss").code == 0
    last = tmp_path / "torn" / runs.LAST
    last.write_bytes(last.read_bytes()[:1000])
    result = bigmodel("train", "--resume", "torn", "--epochs", 2)
    assert result.code == 0, result.err
    assert "Warning: torn/last.safetensors cannot be used (the file is damaged" in result.err
    assert "resuming from torn/best.safetensors, after epoch 2" in result.err
    from safetensors.numpy import load_file

    whole, torn = (load_file(tmp_path / name / runs.LAST) for name in ("whole", "torn"))
    assert all((whole[key] == torn[key]).all() for key in whole)


def test_a_run_without_a_checkpoint_begins_anew(bigmodel: Command, tmp_path: Path) -> None:
    assert (
        bigmodel("train", "mlp", "--epochs", 2, "--set", "widths=8", "--seed", 3, "-q", "--out", "a").code
        == 0
    )
    from safetensors.numpy import load_file

    before = load_file(tmp_path / "a" / runs.LAST)
    for name in (runs.LAST, runs.BEST, runs.METRICS):
        (tmp_path / "a" / name).unlink()
    result = bigmodel("train", "--resume", "a")
    assert result.code == 0, result.err
    assert "a has no checkpoint; the run starts over" in result.err
    after = load_file(tmp_path / "a" / runs.LAST)
    assert all((before[key] == after[key]).all() for key in before)


def test_a_folder_with_nothing_but_a_configuration_may_be_trained_into(
    bigmodel: Command, tmp_path: Path
) -> None:
    broken(tmp_path / "a")
    assert bigmodel(*QUICK, "--out", "a").code == 0
    assert bigmodel(*QUICK, "--out", "a").code == 2  # now it holds a run


def test_the_advice_for_a_run_with_broken_checkpoints_can_be_typed(bigmodel: Command, tmp_path: Path) -> None:
    assert bigmodel(*QUICK, "--out", "a").code == 0
    for name in (runs.LAST, runs.BEST):
        (tmp_path / "a" / name).write_bytes(b"torn")
    result = bigmodel("train", "--resume", "a")
    assert result.code == 1 and "Trainer" not in result.err
    remove, go_on = result.err.partition("start the run over: ")[2].strip().split("; ")
    assert subprocess.run(remove, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert bigmodel(*go_on.split()[1:]).code == 0


# Two processes -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_one_process_at_a_time_trains_a_run(bigmodel: Command, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bigmodel_core.cli", "train", "mlp", "--epochs", "1000000", "--out", "a"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("epoch 2/"))
        for tried in (("train", "--resume", "a"), ("train", "mlp", "--out", "a")):
            result = bigmodel(*tried)
            assert result.code == 1
            assert f"a: the run is in use by process {process.pid} on " in result.err
        assert (tmp_path / "a" / runs.LAST).is_file()
        next(process.stdout)  # it goes on
        process.kill()
        process.communicate()
    assert (tmp_path / "a" / LOCK).is_file()
    done = runs.epochs_done(tmp_path / "a")
    result = bigmodel("train", "--resume", "a", "--epochs", done + 2, "--quiet")  # the lock is stale
    assert result.code == 0, result.err
    assert not (tmp_path / "a" / LOCK).exists()


def test_a_lock_does_not_keep_a_run_from_being_used(bigmodel: Command, tmp_path: Path) -> None:
    assert bigmodel(*QUICK, "--out", "a").code == 0
    lock = RunLock(tmp_path / "a")
    lock.acquire()
    assert bigmodel("evaluate", "a").code == 0
    assert bigmodel("export", "m.onnx", "--run", "a", "-q").code == 0
    lock.release()


# Closed output -------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
@pytest.mark.parametrize("way", [">&-", "2>&-", "<&- >&- 2>&-", "| head -n 1", "> /dev/full"])
def test_output_that_cannot_be_written_loses_nothing(tmp_path: Path, way: str) -> None:
    if "full" in way and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    command = f"{sys.executable} -m bigmodel_core.cli train logistic-regression --epochs 2 --out a {way}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    manifest = runs.read_manifest(tmp_path / "a")
    assert manifest["status"] == "finished" and manifest["results"]["test"]["accuracy"] > 0
    assert runs.epochs_done(tmp_path / "a") == 2
    for name in (runs.LAST, runs.BEST):
        from bigmodel_core.train.checkpoint_file import read_file

        assert read_file(tmp_path / "a" / name)
    if "full" not in way and "head" not in way:
        assert done.returncode == 0
