"""`bigmodel train --privacy`, and what a run says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bigmodel_core as bm

from .conftest import Command

TRAIN = ("train", "logistic-regression", "--epochs", 2, "--batch-size", 200, "--quiet")


def test_a_private_run_logs_and_records_epsilon(bigmodel: Command, tmp_path: Path) -> None:
    result = bigmodel(*TRAIN, "--privacy", "epsilon=4,delta=1e-4,clip=0.5", "--out", "run")
    assert result.code == 0, result.err
    manifest = json.loads((tmp_path / "run/run.json").read_text())
    assert manifest["privacy"] == {"epsilon": 4.0, "noise": None, "delta": 1e-4, "clip": 0.5}
    assert 3.9 < manifest["spent"]["epsilon"] <= 4.0
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert logged[0]["epsilon"] < logged[1]["epsilon"] == manifest["spent"]["epsilon"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epsilon=3,noise=1", "both epsilon and noise"),
        ("epsilon", "'epsilon' is not a setting"),
        ("epsilon=3,clop=1", "clop"),
        ("noise=1,delta=2", "delta is 2"),
    ],
)
def test_privacy_that_makes_no_sense_is_wrong_usage(bigmodel: Command, text: str, message: str) -> None:
    result = bigmodel(*TRAIN, "--privacy", text)
    assert result.code == 2 and message in result.err and "--privacy" in result.err
    assert not Path("runs").exists()


def test_an_experiment_file_names_privacy(bigmodel: Command, tmp_path: Path) -> None:
    (tmp_path / "private.toml").write_text(
        '[model]\nname = "logistic-regression"\n'
        '[train]\nepochs = 1\nbatch_size = 200\nprivacy = "noise=1.5"\n'
    )
    result = bigmodel("train", "private.toml", "--quiet", "--out", "run")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "run/run.json").read_text())["privacy"]["noise"] == 1.5


def test_membership_compares_the_training_samples_of_a_run_with_others(
    bigmodel: Command, tmp_path: Path
) -> None:
    result = bigmodel(*TRAIN, "--out", "run", "--validation", 0.25)
    assert result.code == 0, result.err
    found = bigmodel("evaluate", "run", "--membership", "--json").json["membership"]
    data = bm.datasets.load("digits")
    kept, _ = bm.split_indices(len(data.train), 0.25, 0, classes=data.train.y)
    members = data.train.take(kept)
    expected = bm.privacy.membership(tmp_path / "run", members, data.test)
    assert found["members"] == len(members) and found["auc"] == expected.auc
    assert "by chance up to" in bigmodel("evaluate", "run", "--membership").out
    wrong = bigmodel("evaluate", "run", "--membership", "--split", "train")
    assert wrong.code == 2 and "--split" in wrong.err
