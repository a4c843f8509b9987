"""The callbacks that come with the project."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError

from .conftest import Crash, labelled


class FakeStep:
    """The part of a step that callbacks change."""

    def __init__(self, rate: float) -> None:
        self.rate, self.rate_scale = rate, 1.0

    @property
    def learning_rate(self) -> float:
        return self.rate * self.rate_scale


class FakeTrainer:
    """A trainer whose epochs are given."""

    def __init__(self, rate: float = 1.0) -> None:
        self.stop, self.step, self.kept = False, FakeStep(rate), dict[str, Any]()

    def keep_parameters(self, callback: bm.Callback) -> None: ...

    def higher_is_better(self, name: str) -> bool:
        return "accuracy" in name

    def callback_state(self, callback: bm.Callback) -> dict[str, Any]:
        return self.kept


def epochs_until_stop(callback: Any, values: Sequence[float]) -> int | None:
    trainer = FakeTrainer()
    callback.on_train_begin(trainer)
    for epoch, value in enumerate(values):
        callback.on_epoch_end(trainer, epoch, {callback.monitor: value})
        if trainer.stop:
            return epoch + 1
    return None


NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({"patience": 1}, [3, 2, 2.5, 2.4, 1], 4),
        ({"patience": 2}, [3, 2, 2.5, 2.4, 1], None),
        ({"patience": 0}, [3, 2, 2], 3),
        ({"patience": 0, "min_delta": 0.5}, [3, 2, 1.6], 3),
        ({"patience": 1}, [NAN, NAN, 1], 2),
        ({"patience": 1}, [3, NAN, 2, NAN, NAN], 5),
        ({"patience": 0, "mode": "max"}, [1, 2, 1.5], 3),
        ({"patience": 0, "monitor": "val_accuracy"}, [0.5, 0.6, 0.6], 3),
    ],
)
def test_early_stopping(options: dict[str, Any], values: list[float], expected: int | None) -> None:
    assert epochs_until_stop(bm.callbacks.EarlyStopping(**options), values) == expected


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({"patience": 0, "factor": 0.5}, [3, 3, 3, 2, 2], [1, 0.5, 0.25, 0.25, 0.125]),
        ({"patience": 1, "factor": 0.1}, [3, 3, 3, 3, 3], [1, 1, 0.1, 0.1, 0.01]),
        ({"patience": 0, "factor": 0.1, "min_rate": 0.05}, [3, 3, 3, 3], [1, 0.1, 0.05, 0.05]),
    ],
)
def test_the_rate_falls_on_a_plateau(
    options: dict[str, Any], values: list[float], expected: list[float]
) -> None:
    callback, trainer = bm.callbacks.ReduceOnPlateau(**options), FakeTrainer()
    callback.on_train_begin(trainer)
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(trainer, epoch, {"val_loss": value})
        rates.append(trainer.step.learning_rate)
    assert rates == pytest.approx(expected, rel=1e-12)


def test_the_lowered_rate_is_used() -> None:
    callback = bm.callbacks.ReduceOnPlateau("loss", patience=0, min_delta=100.0, factor=0.5)
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(0.1), callbacks=[callback])
    history = made.fit(labelled(), epochs=3, verbose=False)
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("EarlyStopping", {"patience": -1}),
        ("EarlyStopping", {"min_delta": -0.1}),
        ("EarlyStopping", {"min_delta": NAN}),
        ("EarlyStopping", {"mode": "up"}),
        ("ReduceOnPlateau", {"factor": 1.0}),
        ("ReduceOnPlateau", {"factor": 0.0}),
        ("ReduceOnPlateau", {"min_rate": -1.0}),
    ],
)
def test_options_that_make_no_sense(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        getattr(bm.callbacks, name)(**options)


def test_a_measure_that_is_not_there_is_told_before_anything_is_written(tmp_path: Path) -> None:
    callback = bm.callbacks.EarlyStopping("val_f1")
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[callback], out=tmp_path / "run")
    with pytest.raises(ConfigError, match="val_f1"):
        made.fit(labelled(), verbose=False)
    assert not (tmp_path / "run").exists()


def test_callbacks_have_names() -> None:
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=["early-stopping"])
    assert type(made.callbacks[0]) is bm.callbacks.EarlyStopping


def test_a_table_of_the_epochs(tmp_path: Path) -> None:
    def fit(epochs: int, **options: Any) -> Any:
        logger = bm.callbacks.CsvLogger(str(tmp_path / "epochs.csv"))
        made = bm.Trainer(
            bm.layers.Dense(3),
            "cross_entropy",
            "adam",
            ["accuracy"],
            callbacks=[logger],
            out=tmp_path / "run",
        )
        return made.fit(labelled(), epochs, validation=0.2, verbose=False, **options)

    fit(2)
    history = fit(4, resume=tmp_path / "run")
    with open(tmp_path / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["val_accuracy"]) for row in rows] == history["val_accuracy"]


def test_a_table_lies_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out, place in (("run", "run/metrics.csv"), (None, "metrics.csv")):
        made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=["csv_logger"], out=out)
        made.fit(labelled(), 2, verbose=False)
        assert len((tmp_path / place).read_text().splitlines()) == 3
        (tmp_path / place).unlink()
    assert not (tmp_path / "metrics.csv").exists()


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    logger = bm.callbacks.CsvLogger(str(tmp_path / "nowhere" / "epochs.csv"))
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[logger])
    with pytest.raises(DataError, match="nowhere"):
        made.fit(labelled(), verbose=False)


@dataclass(frozen=True)
class Remembers(bm.Callback):
    """Keeps the sum of the biases after each step."""

    fails_at: int | None = None

    def on_batch_end(self, trainer: Any, step: int, logs: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise Crash
        state, bias = trainer.callback_state(self), trainer.network.state()["bias"]
        state["sum"] = state.get("sum", np.zeros_like(bias)) + bias


def test_arrays_that_a_callback_keeps_survive_a_resume_bit_by_bit(tmp_path: Path) -> None:
    def run(out: Path, callback: Remembers) -> Any:
        made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam", out=out, callbacks=[callback])
        made.fit(labelled(64), 2, 16, verbose=False, checkpoint_every=1)
        return made.callback_state(callback)["sum"]

    expected = run(tmp_path / "whole", Remembers())
    with pytest.raises(Crash):
        run(tmp_path / "run", Remembers(fails_at=6))
    callback = Remembers()
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[callback])
    resumed.fit(labelled(64), verbose=False)
    found = resumed.callback_state(callback)["sum"]
    assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())
