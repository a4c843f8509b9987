"""Pruning of single weights: the smallest become zeros, and stay so in training."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, UnknownNameError


@pytest.fixture(scope="module")
def model() -> Any:
    found = bm.Sequential(bm.layers.Dense(8, activation="relu"), bm.layers.Dense(3))
    found.build(bm.Spec(("N", 4)), seed=3)
    return found


def test_the_smallest_weights_of_each_layer_become_zeros(model: Any) -> None:
    before, after = model.state(), bm.prune(model, 0.5).state()
    for path in ("dense_1/weight", "dense_2/weight"):
        size = np.abs(before[path])
        expected = np.where(size > np.sort(size, axis=None)[size.size // 2 - 1], before[path], 0)
        np.testing.assert_array_equal(after[path], expected)


def test_globally_the_smallest_of_all_weights_become_zeros(model: Any) -> None:
    before, after = model.state(), bm.prune(model, 0.5, scope="global").state()
    paths = ("dense_1/weight", "dense_2/weight")
    limit = np.median(np.abs(np.concatenate([before[path].reshape(-1) for path in paths])))
    for path in paths:
        np.testing.assert_array_equal(after[path] == 0, np.abs(before[path]) < limit)


def test_biases_and_other_layers_stay(model: Any) -> None:
    before, after = model.state(), bm.prune(model, 0.5, only="dense_2").state()
    changed = [path for path in before if (before[path] != after[path]).any()]
    assert changed == ["dense_2/weight"]


# While a model is trained ---------------------------------------------------------------------------------

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(32, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")
WEIGHTS = "dense_1/weight", "dense_2/weight"


@dataclass(frozen=True)
class Watch(bm.Callback):
    """Notes the zeros after each step, and stops in one."""

    stop_after: int = 0

    def on_batch_end(self, trainer: Any, step: int, logs: Any) -> None:
        seen = trainer.callback_state(self).setdefault("seen", [])
        seen.append([np.flatnonzero(trainer.network.state()[path] == 0).tolist() for path in WEIGHTS])
        trainer.stop = step == self.stop_after


def trained(
    prune: Any, out: Path | None = None, *, start: Any = None, epochs: int = 3, **options: Any
) -> Any:
    """A trainer after epochs of 4 steps, and the zeros of both weights after each step."""
    model = start or bm.Sequential(bm.layers.Dense(8, activation="relu"), bm.layers.Dense(3))
    watch = Watch(options.pop("stop_after", 0))
    callbacks = [prune, *options.pop("others", []), watch]
    trainer = bm.Trainer(
        model, "cross_entropy", bm.optimizers.Adam(0.1), callbacks=callbacks, out=out, seed=5, **options
    )
    trainer.fit((X, Y), epochs=epochs, batch_size=8, verbose=False)
    return trainer, trainer.callback_state(watch)["seen"]


def counts(seen: list[Any]) -> list[int]:
    return [len(step[0]) for step in seen]


def test_the_share_grows_as_zhu_and_gupta_say() -> None:
    _, seen = trained(bm.callbacks.Prune(0.75, begin=2, end=10, every=2))
    # s = 0.75 - 0.75 (1 - (t - 2) / 8)^3 of 32 weights at the steps 2, 4, ..., 10, in between as before
    shares = [0.75 - 0.75 * (1 - max(0, min(step, 10) // 2 * 2 - 2) / 8) ** 3 for step in range(1, 13)]
    assert counts(seen) == [int(32 * share) for share in shares]


def test_what_is_zero_stays_zero() -> None:
    _, seen = trained(bm.callbacks.Prune(0.75, begin=2, end=10, every=2))
    for before, after in itertools.pairwise(seen):
        assert all(set(old) <= set(new) for old, new in zip(before, after, strict=True))


def test_at_once_all_weights_go_after_the_step_that_is_named() -> None:
    assert counts(trained(bm.callbacks.Prune(0.5, begin=5))[1]) == [0] * 4 + [16] * 8


def test_a_pruned_model_keeps_its_zeros_when_it_is_trained_on(model: Any) -> None:
    small = bm.prune(model, 0.5)
    zeros = [np.flatnonzero(small.state()[path] == 0).tolist() for path in WEIGHTS]
    assert all(step == zeros for step in trained(bm.callbacks.Prune(0.5), start=small)[1])


@pytest.mark.parametrize("stop_after", [6, 8])
def test_a_resumed_run_has_the_same_zeros(tmp_path: Path, stop_after: int) -> None:
    prune = bm.callbacks.Prune(0.75, begin=2, end=10, every=2)
    whole, _ = trained(prune)
    trained(prune, tmp_path / "run", stop_after=stop_after)
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[prune, Watch()])
    resumed.fit((X, Y), epochs=3, verbose=False)
    after = resumed.network.state()
    assert all((array == after[path]).all() for path, array in whole.network.state().items())


def test_the_checkpoints_hold_the_zeros_and_the_best_one_all_of_them(tmp_path: Path) -> None:
    trained(bm.callbacks.Prune(0.75, begin=2, end=6, every=2), tmp_path / "run", epochs=4)
    for name in ("best", "last"):
        state = bm.load(tmp_path / "run" / f"{name}.safetensors").state()
        assert [int((state[path] == 0).sum()) for path in WEIGHTS] == [24, 18]


def test_averages_have_the_zeros_too() -> None:
    trainer, _ = trained(bm.callbacks.Prune(0.75, begin=3), ema=0.9)
    assert int((trainer.averaged().state()["dense_1/weight"] == 0).sum()) == 24


def test_parameters_of_an_earlier_epoch_get_the_zeros_when_they_come_back() -> None:
    stopping = bm.callbacks.EarlyStopping("loss", patience=9, mode="max")  # keeps the first epoch
    model = bm.Sequential(bm.layers.Dense(8, activation="relu"), bm.layers.Dense(3))
    prune = bm.callbacks.Prune(0.5, begin=9)
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.Adam(0.1), callbacks=[stopping, prune])
    trainer.fit((X, Y), epochs=3, batch_size=8, verbose=False)
    assert int((model.state()["dense_1/weight"] == 0).sum()) == 16


def test_early_stopping_that_would_bring_weights_back_comes_first() -> None:
    stopping = bm.callbacks.EarlyStopping("loss", patience=9)
    with pytest.raises(ConfigError, match="name EarlyStopping before Prune"):
        trained(bm.callbacks.Prune(0.5, begin=2), others=[stopping])
    _, seen = trained(bm.callbacks.Prune(0.5), others=[stopping])  # no epoch has fewer
    assert counts(seen) == [16] * 12


@pytest.mark.parametrize(
    "options, words",
    [({"amount": 1.0}, "amount"), ({"begin": 5, "end": 3}, "more than begin"), ({"scope": "all"}, "global")],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        bm.callbacks.Prune(**options)


def test_a_pattern_that_matches_nothing_is_said_before_the_first_step() -> None:
    with pytest.raises(UnknownNameError, match="conv"):
        trained(bm.callbacks.Prune(0.5, only=("conv*",), begin=100))
