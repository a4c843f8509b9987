"""`bigmodel train --folds`: a run for each fold, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm

from .conftest import Command


def table(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    rows = [
        f"{generator.normal() + 2 * (n % 2):.3f},{generator.normal():.3f},p{n % 9},{'yn'[n % 2]}"
        for n in range(90)
    ]
    (path := folder / "table.csv").write_text("\n".join(["a,b,who,kind", *rows]))
    return path


def test_each_fold_is_a_run_and_all_of_them_are_summed_up(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel("train", "mlp", "--folds", 3, "--epochs", 2, "--json")
    assert result.code == 0, result.err
    told, folder = result.json, tmp_path / "runs" / "mlp-001"
    accuracies = [one["accuracy"] for one in told["folds"]]
    assert told["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert told["deviation"]["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    assert [one["samples"] for one in told["folds"]] == [480, 479, 479]
    assert sorted(run.name for run in bm.runs(folder)) == ["fold-1", "fold-2", "fold-3"]
    assert json.loads((folder / "folds.json").read_text())["mean"] == told["mean"]


def test_a_fold_is_measured_on_what_its_run_was_not_trained_on(bigmodel: Command, tmp_path: Path) -> None:
    told = bigmodel("train", "mlp", "--folds", 2, "--epochs", 1, "--json").json
    part = bm.folds(bm.datasets.load("digits"), 2)[1].validation
    assert part is not None
    scores = bm.load(tmp_path / "runs" / "mlp-001" / "fold-2")(part.x)
    assert (scores.argmax(1) == part.y).mean() == pytest.approx(told["folds"][1]["accuracy"])


def test_the_table_has_a_row_for_each_fold_and_two_more(bigmodel: Command, tmp_path: Path) -> None:
    data = ("--data", "csv:target=kind,drop=who", "--data-dir", table(tmp_path))
    result = bigmodel("train", "mlp", *data, "--folds", 3, "--groups", "who", "--epochs", 1, "--quiet")
    rows = [line.split() for line in result.out.splitlines() if line]
    assert [row[0] for row in rows] == ["Fold", "1", "2", "3", "mean", "deviation"]
    assert rows[0] == ["Fold", "Samples", "loss", "accuracy"]


def test_a_fold_is_resumed_with_its_own_samples(bigmodel: Command) -> None:
    bigmodel("train", "mlp", "--folds", 2, "--epochs", 1, "--schedule", "constant")
    again = bigmodel("train", "--resume", "runs/mlp-001/fold-2", "--epochs", 2)
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--folds", 1), "--folds: 1 folds"),
        (("--groups", "who"), "say how many"),
        (("--folds", 2, "--validation", 0.2), "--validation does not go with --folds"),
        (("--folds", 2, "--groups", "town"), "--groups: digits has no column 'town'"),
        (("--folds", 2, "--resume"), "--folds cannot change in a resumed run"),
    ],
    ids=["one", "groups", "validation", "column", "resume"],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    bigmodel: Command, options: tuple[object, ...], said: str
) -> None:
    result = bigmodel("train", *(() if "--resume" in options else ("mlp",)), *options)
    assert result.code == 2 and said in result.err


def test_a_folder_with_folds_is_not_written_over(bigmodel: Command) -> None:
    options = ("train", "mlp", "--folds", 2, "--epochs", 1, "--out", "here")
    assert bigmodel(*options).code == 0
    again = bigmodel(*options)
    assert again.code == 2 and "here: the folder holds the runs of folds" in again.err
