"""Membership inference: numbers against NumPy and scikit-learn's definition, and who is told apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.auditing.telling import apart_by_chance, told_apart
from bigmodel_core.errors import NumericsError, UsageError


def chance_labels(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Samples whose labels nothing can be known of."""
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 16)).astype("float32"), random.integers(0, 2, count)


MEMBERS, OTHERS = chance_labels(1), chance_labels(2)


def overfitted(
    data: Any = MEMBERS, privacy: Any = None, out: Path | None = None, epochs: int = 40
) -> bm.Trainer:
    """A model that learns its samples by heart, if privacy lets it."""
    model = bm.Sequential(bm.layers.Dense(16), bm.layers.Relu(), bm.layers.Dense(2))
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.Adam(0.02), privacy=privacy, out=out)
    trainer.fit(data, epochs=epochs, batch_size=30, verbose=False)
    return trainer


@pytest.fixture(scope="module")
def trainer() -> bm.Trainer:
    return overfitted()


def test_measures_are_those_of_counting_pairs_and_thresholds() -> None:
    random = np.random.default_rng(0)
    members, others = random.normal(0.7, 1, 300).round(1), random.normal(0, 1, 200).round(1)
    auc, found, advantage = told_apart(members, others)
    pairs = (members[:, None] > others).mean() + 0.5 * (members[:, None] == others).mean()
    assert auc == pytest.approx(pairs)
    rates = [((members >= t).mean(), (others >= t).mean()) for t in np.unique([*members, *others])]
    assert advantage == pytest.approx(max(tpr - fpr for tpr, fpr in rates))
    assert found == pytest.approx(max(tpr for tpr, fpr in rates if fpr <= 0.01))


def test_a_model_that_learned_by_heart_gives_its_samples_away(trainer: bm.Trainer) -> None:
    found = bm.privacy.membership(trainer, MEMBERS, OTHERS)
    assert found.leaks and found.auc > 0.8 and found.advantage > found.chance
    assert found.auc_interval[0] < found.auc < found.auc_interval[1]
    assert (found.attack, found.members, found.others) == ("loss", 120, 120)


def test_a_private_one_does_not() -> None:
    private = overfitted(privacy=bm.Privacy(noise=22.0, delta=1e-3), epochs=20)
    assert private.epsilon is not None and private.epsilon < 0.3
    found = bm.privacy.membership(private, MEMBERS, OTHERS)
    assert not found.leaks and found.auc < 0.55 and found.advantage < found.chance


def test_samples_that_are_alike_are_not_told_apart(trainer: bm.Trainer) -> None:
    found = bm.privacy.membership(trainer, chance_labels(3), OTHERS)
    assert not found.leaks and found.auc_interval[0] < 0.5 < found.auc_interval[1]
    assert found.advantage_interval[0] == 0.0


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_the_advantage_is_as_near_to_the_true_one_as_its_interval_says(shift: float) -> None:
    random, true = np.random.default_rng(4), math.erf(shift / 8**0.5)  # of two Gaussians so far apart
    found = [told_apart(random.normal(shift, 1, 100), random.normal(0, 1, 150))[2] for _ in range(400)]
    assert np.mean(np.abs(np.array(found) - true) <= apart_by_chance(0.025, 100, 150)) >= 0.95
    if shift == 0.0:
        assert np.mean(np.array(found) > apart_by_chance(0.05, 100, 150)) == pytest.approx(0.05, abs=0.03)


def test_a_sample_of_each_kind_and_losses_that_are_none_tell_nothing(trainer: bm.Trainer) -> None:
    (x, y), (other, labels) = MEMBERS, OTHERS
    for k in range(5):
        assert not bm.privacy.membership(trainer, (x[k : k + 1], y[k : k + 1]), (other[:1], labels[:1])).leaks
    broken = np.where(np.arange(120)[:, None] == 7, np.nan, x).astype("float32")
    with pytest.raises(NumericsError, match="the loss of member 7 is NaN or infinite"):
        bm.privacy.membership(trainer, (broken, y), OTHERS)


def test_references_find_more_where_some_samples_are_hard_for_everybody() -> None:
    def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        x = random.normal(size=(120, 8)).astype("float32")
        return x, (2 * x[:, 0] + x[:, 1] + 1.5 * random.normal(size=120) > 0).astype("int64")

    members, others = noisy(1), noisy(2)
    trainer = overfitted(members, epochs=25)
    references = [overfitted(noisy(seed), epochs=25).model for seed in (100, 101, 102, 103)]
    alone = bm.privacy.membership(trainer, members, others)
    compared = bm.privacy.membership(trainer, members, others, references=references)
    assert compared.attack == "likelihood ratio" and compared.leaks
    assert compared.auc > alone.auc + 0.05


def test_a_run_and_its_model_say_what_the_trainer_says(trainer: bm.Trainer, tmp_path: Path) -> None:
    again = overfitted(out=tmp_path / "run")
    expected = bm.privacy.membership(again, MEMBERS, OTHERS)
    loaded = bm.load(tmp_path / "run/last")
    assert bm.privacy.membership(loaded, MEMBERS, OTHERS, loss="cross_entropy") == expected
    assert bm.privacy.membership(tmp_path / "run/last.safetensors", MEMBERS, OTHERS) == expected


def test_a_model_that_says_no_loss_is_an_error(trainer: bm.Trainer) -> None:
    with pytest.raises(UsageError, match="no loss was given"):
        bm.privacy.membership(trainer.model, MEMBERS, OTHERS)
    with pytest.raises(UsageError, match="gives one number for all samples"):
        bm.privacy.membership(trainer, MEMBERS, OTHERS, loss=lambda out, y: bm.ops.mean(out))
