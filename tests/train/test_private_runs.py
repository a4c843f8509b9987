"""Private runs: Poisson batches, the budget, and a ledger that survives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.accounting.epsilon import epsilon_of
from bigmodel_core.data.sampling import poisson_sample
from bigmodel_core.errors import CheckpointError, ConfigError, UsageError
from bigmodel_core.train.checkpoint import read
from bigmodel_core.train.private_step import PrivateStep
from bigmodel_core.train.trainer import Trainer

from .conftest import At, Crash, assert_same_bits, crash, crashed_and_resumed, labelled

DATA = labelled(60)
PRIVACY = bm.Privacy(noise=1.2, delta=1e-4)


def trained(out: Path | None, *callbacks: bm.Callback, privacy: Any = PRIVACY, epochs: int = 3) -> Trainer:
    trainer = bm.Trainer(
        bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9), privacy=privacy, out=out,
        callbacks=callbacks,
    )  # fmt: skip
    every = None if out is None else 2
    trainer.fit(DATA, epochs=epochs, batch_size=10, verbose=False, checkpoint_every=every)
    return trainer


def test_poisson_samples_have_each_number_by_its_own_chance() -> None:
    drawn = [poisson_sample(1000, 0.02, 3, number) for number in range(400)]
    sizes = np.array([len(sample) for sample in drawn])
    assert sizes.mean() == pytest.approx(20, abs=0.7)  # of binomials of deviation 4.4: three deviations
    assert sizes.std() == pytest.approx(4.43, abs=0.5)
    times = np.bincount(np.concatenate(drawn), minlength=1000)
    assert times.mean() == pytest.approx(8, abs=0.3) and times.std() == pytest.approx(2.8, abs=0.3)
    assert np.array_equal(poisson_sample(1000, 0.02, 3, 5), drawn[5])


def test_batches_of_a_private_run_are_poisson_samples_and_empty_ones_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    call = PrivateStep.__call__

    def noting(step: PrivateStep, x: Any, y: Any, weight: Any = None) -> float:
        sizes.append(len(x))
        return call(step, x, y, weight)

    monkeypatch.setattr(PrivateStep, "__call__", noting)
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", privacy=PRIVACY)
    trainer.fit((DATA[0][:30], DATA[1][:30]), epochs=2, batch_size=1, verbose=False)
    assert len(sizes) == trainer.state.steps == 60
    assert trainer.epsilon == epsilon_of([(1.2, 1 / 30, 60)], 1e-4)
    assert sizes.count(0) > 10 and max(sizes) > 1
    assert sum(sizes) == pytest.approx(60, abs=3 * 60**0.5)


def test_epsilon_is_that_of_the_steps_and_reading_it_spends_nothing() -> None:
    trainer = trained(None)
    expected = epsilon_of([(1.2, 10 / 60, 18)], 1e-4)
    assert [trainer.epsilon for _ in range(100)] == [expected] * 100
    assert trainer.history.last["epsilon"] == expected
    spent: Sequence[float] = trainer.history["epsilon"]
    assert spent[0] < spent[1] < spent[2]


def test_the_noise_for_an_epsilon_is_just_enough_and_more_epochs_are_refused() -> None:
    trainer = trained(None, privacy=bm.Privacy(epsilon=4.0, delta=1e-4))
    assert trainer.epsilon is not None and 3.97 < trainer.epsilon <= 4.0
    with pytest.raises(UsageError, match=r"4 of an epsilon of 4 is spent, and after 4 epochs"):
        trainer.fit(DATA, batch_size=10, verbose=False)


def test_a_private_run_that_crashed_goes_on_to_the_same_bits_and_the_same_epsilon(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    resumed = crashed_and_resumed(lambda out, *more: trained(out, *more), tmp_path / "half", 9, DATA)
    assert resumed.epsilon == whole.epsilon
    assert_same_bits(resumed.step.state(), whole.step.state())
    assert json.loads((tmp_path / "half/run.json").read_text())["spent"] == {
        "epsilon": whole.epsilon,
        "delta": 1e-4,
        "steps": 18,
    }


def test_a_resumed_run_keeps_the_noise_that_was_found_for_its_epsilon(tmp_path: Path) -> None:
    privacy = bm.Privacy(epsilon=4.0, delta=1e-4)
    whole = trained(tmp_path / "whole", privacy=privacy)
    resumed = crashed_and_resumed(
        lambda out, *more: trained(out, *more, privacy=privacy), tmp_path / "half", 9, DATA
    )
    assert resumed.epsilon == whole.epsilon
    with pytest.raises(UsageError, match="after 5 epochs"):
        Trainer.resume(tmp_path / "half").fit(DATA, epochs=5, verbose=False)


def test_a_private_run_is_not_resumed_without_its_ledger_or_its_privacy(tmp_path: Path) -> None:
    with pytest.raises(Crash):
        trained(tmp_path, At(9, crash))
    plain = bm.Trainer(bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9))
    with pytest.raises(CheckpointError, match="another privacy"):
        plain.fit(DATA, epochs=3, verbose=False, resume=tmp_path)
    checkpoint = read(tmp_path / "last.safetensors")
    assert checkpoint.training is not None
    checkpoint.training["state"]["ledger"] = None
    trainer = Trainer.resume(tmp_path, callbacks=[])
    trainer.resumed = checkpoint
    with pytest.raises(CheckpointError, match="what it has spent is not in it"):
        trainer.fit(DATA, verbose=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither epsilon nor noise"),
        ({"epsilon": 1.0, "noise": 1.0}, "both epsilon and noise"),
        ({"epsilon": 0}, "epsilon is 0"),
        ({"noise": 1.0, "delta": 1.5}, "delta is 1.5"),
        ({"noise": 1.0, "clip": -1}, "clip is -1"),
    ],
)
def test_privacy_that_makes_no_sense_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bm.Privacy(**options)


def test_privacy_and_energy_that_are_something_else_are_errors(tmp_path: Path) -> None:
    wrong: Any = 3.0
    with pytest.raises(UsageError, match="privacy is a float"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", privacy=wrong)
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", energy=wrong, out=tmp_path / "run")
    with pytest.raises(UsageError, match="energy is a float"):
        trainer.fit(DATA, verbose=False)


def test_what_replaces_shuffled_batches_and_what_is_not_private_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", ["accuracy"], privacy=PRIVACY)
    trainer.fit(DATA, batch_size=10)
    said = capsys.readouterr().out
    assert "Poisson samples of 10 on average, not shuffled samples; noise of 1.2 times" in said
    assert "metrics are of training samples, without noise: not private" in said
    trainer.fit(DATA, batch_size=10, validation=DATA)
    assert "not private" not in capsys.readouterr().out


def test_a_seed_that_anybody_guesses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for seed, is_said in ((0, True), (8_675_309, False)):
        trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", privacy=PRIVACY, seed=seed)
        trainer.fit(DATA, batch_size=10)
        assert ("the seed, 0: who guesses that can subtract it" in capsys.readouterr().out) == is_said
