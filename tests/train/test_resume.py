"""A run that stopped anywhere and went on is, bit by bit, the run that never stopped."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError
from bigmodel_core.train import runs
from bigmodel_core.train.run_state import RunState
from tests.processes import run_code

from .conftest import At, Crash, crash, crashed_and_resumed, labelled, network_with_dropout

EPOCHS, BATCH = 6, 16
STEPS_AN_EPOCH = 5  # 72 of 90 samples, in batches of 16


def trainer(out: Path | None, *extra: bm.Callback, optimizer: Any = None, model: Any = None) -> bm.Trainer:
    schedule = bm.schedules.InverseTime(0.05)
    callbacks = bm.callbacks
    return bm.Trainer(
        network_with_dropout() if model is None else model,
        "cross_entropy",
        optimizer or bm.optimizers.Adam(schedule, clip_norm=1.0),
        ["accuracy"],
        callbacks=[
            callbacks.EarlyStopping("val_loss", patience=3),
            callbacks.ReduceOnPlateau("val_accuracy", patience=0, factor=0.5),
            *extra,
        ],
        seed=11,
        out=out,
    )


def fit(made: bm.Trainer, **options: Any) -> bm.Trainer:
    made.fit(labelled(90), EPOCHS, BATCH, 0.2, verbose=False, **options)
    return made


def outcome(made: bm.Trainer) -> dict[str, Any]:
    """Everything a run leaves, but for the time it took."""
    timeless = [
        {name: value for name, value in logs.items() if name not in ("seconds", "samples_per_second")}
        for logs in made.history
    ]
    state = {**vars(made.state), "history": timeless}
    arrays = {path: array.tobytes() for path, array in made.step.state().items()}
    return {"state": state, "arrays": arrays, "rate": made.step.learning_rate, "steps": made.step.steps}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return outcome(fit(trainer(None)))


@pytest.mark.parametrize("step", [1, 4, 5, 7, 13, 20, 29])
def test_a_crash_at_any_step(tmp_path: Path, whole: dict[str, Any], step: int) -> None:
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(step, crash)), checkpoint_every=3)
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=trainer(None).callbacks)
    resumed.fit(labelled(90), verbose=False)
    assert outcome(resumed) == whole


def test_the_same_model_class_resumes_with_fit(tmp_path: Path, whole: dict[str, Any]) -> None:
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(17, crash)), checkpoint_every=4)
    assert outcome(fit(trainer(None), resume=tmp_path / "run")) == whole


@pytest.mark.parametrize("optimizer", ["SGD", "RMSprop"])
def test_other_optimizers(tmp_path: Path, optimizer: str) -> None:
    made = bm.optimizers.SGD(0.1, momentum=0.9, nesterov=True) if optimizer == "SGD" else optimizer
    whole = outcome(fit(trainer(None, optimizer=made)))
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(8, crash), optimizer=made), checkpoint_every=2)
    assert outcome(fit(trainer(None, optimizer=made), resume=tmp_path / "run")) == whole


def test_resumed_twice(tmp_path: Path, whole: dict[str, Any]) -> None:
    for step in (6, 14):
        going_on = {"resume": tmp_path / "run"} if step > 6 else {}
        with pytest.raises(Crash):
            fit(trainer(tmp_path / "run", At(step, crash)), checkpoint_every=2, **going_on)
    assert outcome(fit(trainer(tmp_path / "run"), resume=tmp_path / "run")) == whole


def test_the_folder_of_a_resumed_run_is_that_of_a_whole_one(tmp_path: Path) -> None:
    fit(trainer(tmp_path / "whole"))
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(23, crash)), checkpoint_every=5)
    fit(trainer(None), resume=tmp_path / "run")
    for name in (runs.BEST, runs.LAST):
        ours, theirs = (bm.load(tmp_path / folder / name) for folder in ("run", "whole"))
        x = labelled(10)[0]
        assert np.array_equal(ours(x), theirs(x))
        assert ours.about.metrics["val_loss"] == theirs.about.metrics["val_loss"]
    lines = [(tmp_path / folder / runs.METRICS).read_text().splitlines() for folder in ("run", "whole")]
    assert len(lines[0]) == len(lines[1])
    manifests = [runs.read_manifest(tmp_path / folder) for folder in ("run", "whole")]
    starts = [manifest.pop("started") for manifest in manifests]
    energies = [manifest.pop("energy") for manifest in manifests]
    assert energies[0].keys() == energies[1].keys()
    assert manifests[0] == manifests[1] and starts[0] > starts[1]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import bigmodel_core as bm
from tests.train.test_resume import fit, trainer
from tests.train.conftest import At
fit(trainer({out!r}, At({step}, lambda trainer: os.kill(os.getpid(), signal.SIGKILL))), checkpoint_every=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
@pytest.mark.parametrize("step", [9, 26])
def test_a_process_that_is_killed(tmp_path: Path, whole: dict[str, Any], step: int) -> None:
    root = Path(__file__).parents[2]
    out = tmp_path / "run"
    run_code(KILLED.format(tests=str(root), out=str(out), step=step), cwd=tmp_path, ends=-signal.SIGKILL)
    resumed = bm.Trainer.resume(out, callbacks=trainer(None).callbacks)
    resumed.fit(labelled(90), verbose=False)
    assert outcome(resumed) == whole


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    def made(out: Path | None) -> bm.Trainer:
        stopping = bm.callbacks.EarlyStopping("val_loss", patience=0, min_delta=10.0)
        return bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam", callbacks=[stopping], out=out)

    run = made(tmp_path / "run")
    run.fit(labelled(60), epochs=9, validation=0.5, verbose=False)
    assert len(run.history) == 2
    resumed = bm.Trainer.resume(tmp_path / "run")
    resumed.fit(labelled(60), validation=0.5, verbose=False)
    assert outcome(resumed) == outcome(run)


def test_a_finished_run_goes_on_for_more_epochs(tmp_path: Path) -> None:
    def made(out: Path | None) -> bm.Trainer:
        return bm.Trainer(network_with_dropout(), "cross_entropy", "adam", seed=2, out=out)

    whole = made(None)
    whole.fit(labelled(50), epochs=5, verbose=False)
    made(tmp_path / "run").fit(labelled(50), epochs=3, verbose=False)
    resumed = bm.Trainer.resume(tmp_path / "run")
    resumed.fit(labelled(50), epochs=5, verbose=False)
    assert outcome(resumed) == outcome(whole)


@dataclass(frozen=True)
class Sampled(bm.Layer):
    """Scores of a code that is drawn, as in a variational autoencoder; in validation, too."""

    def __call__(self, x: Any) -> Any:
        mean, spread = bm.layers.Dense(4)(x), bm.layers.Dense(4)(x)
        code = bm.ops.normal(mean.shape, mean, bm.ops.exp(spread))
        return bm.layers.Dense(3)(code + bm.ops.uniform(code.shape, -0.1, 0.1))


def test_what_a_model_draws_goes_on(tmp_path: Path) -> None:
    def made(out: Path | None) -> bm.Trainer:
        return bm.Trainer(Sampled(), "cross_entropy", "adam", seed=2, out=out)

    whole = made(None)
    whole.fit(labelled(50), epochs=4, validation=0.2, verbose=False)
    made(tmp_path / "run").fit(labelled(50), epochs=2, validation=0.2, verbose=False)
    resumed = bm.Trainer.resume(tmp_path / "run")
    resumed.fit(labelled(50), epochs=4, validation=0.2, verbose=False)
    assert outcome(resumed) == outcome(whole)


# Ctrl-C -----------------------------------------------------------------------------------------------------


def press_ctrl_c(trainer: bm.Trainer) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("step", [3, 10, 12])
def test_ctrl_c_loses_no_step(tmp_path: Path, whole: dict[str, Any], step: int) -> None:
    stopped = fit(trainer(tmp_path / "run", At(step, press_ctrl_c)))
    assert stopped.history.interrupted and stopped.step.steps == step
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = fit(trainer(None), resume=tmp_path / "run")
    assert not resumed.history.interrupted
    assert outcome(resumed) == whole


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop = At(2, press_ctrl_c)
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[stop], out=tmp_path / "run")
    made.fit(labelled(90), epochs=3, batch_size=30)
    assert f"resume from {tmp_path / 'run' / runs.LAST}" in capsys.readouterr().out


def test_ctrl_c_twice_ends_at_once_and_keeps_the_checkpoint(tmp_path: Path, whole: dict[str, Any]) -> None:
    def impatient(made: bm.Trainer) -> None:
        press_ctrl_c(made)
        press_ctrl_c(made)

    stopped = fit(trainer(tmp_path / "run", At(12, impatient)), checkpoint_every=4)
    assert stopped.history.interrupted
    assert outcome(fit(trainer(None), resume=tmp_path / "run")) == whole


# NaN --------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_nan_keeps_the_good_checkpoint(tmp_path: Path) -> None:
    from bigmodel_core.errors import NumericsError

    def poison(made: bm.Trainer) -> None:
        made.network.variables.write("bias", np.full(3, np.nan, "float32"))

    bad = At(5, poison)
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", callbacks=[bad], out=tmp_path / "run")
    with pytest.raises(NumericsError, match=str(tmp_path / "run" / runs.LAST)):
        made.fit(labelled(90), epochs=3, batch_size=30, verbose=False)
    kept = bm.load(tmp_path / "run" / runs.LAST)
    assert all(np.isfinite(array).all() for array in kept.state().values())
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=())
    assert resumed.fit(labelled(90), verbose=False).last["epoch"] == 3


# What does not fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": 4}, "another seed: 3, now 4"),
        ({"optimizer": "sgd"}, "another optimizer: optimizers:Adam"),
        ({"loss": bm.losses.CrossEntropy(label_smoothing=0.1)}, "another loss"),
        ({"batch_size": 8}, "another batch_size: 30, now 8"),
        ({"data": (labelled(90)[0] + 1, labelled(90)[1])}, "another data"),
        ({"data": labelled(89)}, "another data"),
        ({"model": bm.layers.Dense(4)}, "does not fit"),
        ({"model": bm.Sequential(bm.layers.Dense(3))}, "does not fit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_options_cannot_be_resumed(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    options = {"loss": "cross_entropy", "optimizer": "adam", "seed": 3, "model": bm.layers.Dense(3)}
    bm.Trainer(**options, out=tmp_path / "run").fit(labelled(90), 1, 30, verbose=False)
    before = (tmp_path / "run" / runs.LAST).read_bytes()
    fitting = {"data": labelled(90), "batch_size": 30, "epochs": 2}
    fitting |= {key: change.pop(key) for key in list(change) if key in fitting}
    other = bm.Trainer(**{**options, "model": bm.layers.Dense(3), **change})
    with pytest.raises(CheckpointError, match=text):
        other.fit(**fitting, verbose=False, resume=tmp_path / "run")
    assert (tmp_path / "run" / runs.LAST).read_bytes() == before


def test_a_saved_model_is_no_run(tmp_path: Path) -> None:
    model = bm.layers.Dense(3)
    model.build(bm.Spec(("N", 5)))
    bm.save(model, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of a run"):
        bm.Trainer.resume(tmp_path / "model.safetensors")


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    bm.Trainer(bm.layers.Dense(3), "cross_entropy", out=tmp_path).fit(labelled(90), verbose=False)
    before = (tmp_path / runs.LAST).read_bytes()
    with pytest.raises(CheckpointError, match="holds another run"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy", out=tmp_path).fit(labelled(90), verbose=False)
    assert (tmp_path / runs.LAST).read_bytes() == before


def test_a_loss_of_nobody_is_named(tmp_path: Path) -> None:
    class Own(bm.Loss):
        def each(self, prediction: Any, target: Any) -> Any:
            return (prediction - target) ** 2.0

    x = np.ones((8, 2), "float32")
    bm.Trainer(bm.layers.Dense(1), Own(), out=tmp_path).fit((x, x[:, :1]), verbose=False)
    with pytest.raises(CheckpointError, match="loss Own belongs to no plugin"):
        bm.Trainer.resume(tmp_path)
    again = bm.Trainer(bm.layers.Dense(1), Own())
    assert again.fit((x, x[:, :1]), epochs=2, verbose=False, resume=tmp_path).last["epoch"] == 2


def test_a_run_in_the_middle_of_an_epoch_keeps_the_means_of_its_losses(tmp_path: Path) -> None:
    """Also one whose sums an earlier version wrote, all of them by samples."""
    x, y = labelled()
    samples = (x, y, (np.arange(len(x)) % 7).astype("float32"))

    def run(folder: Path | None, *callbacks: bm.Callback) -> bm.Trainer:
        made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", out=folder, callbacks=callbacks)
        made.fit(samples, 2, 20, checkpoint_every=None if folder is None else 1, verbose=False)
        return made

    whole, resumed = run(None), crashed_and_resumed(run, tmp_path / "run", 3, samples)
    assert resumed.history["loss"] == whole.history["loss"]
    plain = {**RunState(batch=3).to_plain(), "samples": 60, "loss_sum": 30.0, "part_sums": {}}
    del plain["losses"]
    assert RunState.from_plain(plain).losses.logged({}) == {"loss": 0.5}
    several = RunState.from_plain({**plain, "part_sums": {"a": 6.0, "b": 12.0}})
    assert several.losses.logged({"a": 1.0, "b": 2.0}) == pytest.approx({"loss": 0.5, "a": 0.1, "b": 0.2})
    for wrong in ({"a": [1.0]}, {"a": None}, []):
        with pytest.raises(CheckpointError, match="state of the run"):
            RunState.from_plain({**plain, "losses": wrong})
    with pytest.raises(CheckpointError, match="malformed"):
        RunState.from_plain({**plain, "part_sums": {"a": "much"}})
