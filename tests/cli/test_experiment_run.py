"""What an experiment takes from its run; deep files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.cli.choice import Choice, make_schedule
from bigmodel_core.cli.document import Document
from bigmodel_core.errors import UsageError

DEEP = "[" * 30_000 + "]" * 30_000


def test_a_deep_experiment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(f"[model]\nname = 'mlp'\nx = {DEEP}\n")
    with pytest.raises(UsageError, match="nested too deeply"):
        Document(path)


def test_the_table_of_epochs_lies_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    trainer = bm.Trainer(
        bm.Sequential(bm.layers.Dense(1)),
        loss="mean-squared-error",
        optimizer="sgd",
        out=tmp_path / "run",
        callbacks=[bm.callbacks.CsvLogger()],
    )
    trainer.fit((x, x[:, :1]), epochs=2, verbose=False)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3
    assert not (tmp_path / "metrics.csv").exists()


def test_a_schedule_with_a_rate_takes_its_steps_from_the_run() -> None:
    made = make_schedule(Choice("schedule", "cosine:rate=0.1"), 0.5, 100)
    assert [round(made(step), 6) for step in (0, 50, 100)] == [0.1, 0.05, 0.0]
