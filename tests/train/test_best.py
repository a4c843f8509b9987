"""Which epoch is the best, how training ends, and what it says about that."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelWarning
from bigmodel_core.train import runs
from bigmodel_core.train.history import History
from bigmodel_core.train.run_state import RunState

from .conftest import At, Crash, crash, labelled


def separable(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that any line between them tells apart."""
    y = np.arange(count) % 2
    x = np.random.default_rng(1).normal(size=(count, 3)).astype("float32")
    x[:, 0] = np.where(y == 1, 4.0, -4.0)
    return x, y


def fitted(out: Path | None = None, epochs: int = 6, *callbacks: Any, **options: Any) -> bm.Trainer:
    made = bm.Trainer(
        bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.05), ["accuracy"],
        callbacks=callbacks, out=out, **options,
    )  # fmt: skip
    made.fit(separable(), epochs, 16, separable(32), verbose=False)
    return made


def test_of_epochs_with_one_accuracy_the_lowest_loss_is_the_best(tmp_path: Path) -> None:
    made = fitted(tmp_path / "run")
    accuracies, losses = made.history["val_accuracy"], made.history["val_loss"]
    top = [number for number, value in enumerate(accuracies) if value == max(accuracies)]
    assert len(top) > 1 and losses[top[0]] > losses[top[-1]]  # the first is not the best
    expected = min(top, key=lambda number: losses[number]) + 1
    assert made.state.best is not None and made.state.best.epoch == expected
    assert bm.load(tmp_path / "run" / "best").about.metrics["epoch"] == expected
    assert made.history.best("val_accuracy")["epoch"] == expected


def test_without_validation_the_training_loss_decides_ties() -> None:
    made = bm.Trainer(
        bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.05), ["accuracy"], monitor="accuracy"
    )
    history = made.fit(separable(), 5, 16, verbose=False)
    assert history["accuracy"][0] == history["accuracy"][-1] == 1.0
    assert (
        made.state.best is not None
        and made.state.best.epoch == 5
        and made.state.best.loss == history.last["loss"]
    )


def test_a_tie_is_decided_the_same_after_a_resume(tmp_path: Path) -> None:
    whole = fitted()
    with pytest.raises(Crash):
        fitted(tmp_path / "run", 6, At(14, crash))
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[])
    resumed.fit(separable(), validation=separable(32), verbose=False)
    assert resumed.state.best == whole.state.best
    assert bm.load(tmp_path / "run").about.metrics["epoch"] == whole.state.best.epoch


def test_the_best_of_earlier_checkpoints_gets_its_loss_from_the_history() -> None:
    state = RunState(
        epoch=2, history=[{"epoch": 1, "loss": 0.5, "val_loss": 0.25}, {"epoch": 2, "loss": 0.125}]
    )
    plain = {**state.to_plain(), "best": {"value": 1.0, "epoch": 1}}
    del plain["first_loss"]
    best = RunState.from_plain(plain).best
    assert best is not None and (best.value, best.epoch, best.loss) == (1.0, 1, 0.25)


def test_metrics_are_measured_on_the_training_samples_where_there_are_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x, y = labelled(90)
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", metrics=["accuracy"])
    history = made.fit((x, y), 2)
    state = made.network.state()
    logits = x.astype("float64") @ state["weight"] + state["bias"]
    assert history.last["accuracy"] == (logits.argmax(1) == y).mean()
    assert "val_accuracy" not in history.last
    assert f"accuracy {history.last['accuracy']:.4f}" in capsys.readouterr().out
    assert made.options["monitor"] == "loss"


def test_the_readme_measures_what_it_names() -> None:
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(10))
    made = bm.Trainer(model, loss="cross_entropy", optimizer=bm.optimizers.Adam(1e-3), metrics=["accuracy"])
    data = bm.datasets.load("digits")
    history = made.fit(data, epochs=2, verbose=False)
    assert history.last["accuracy"] == made.evaluate(data.train)["accuracy"]


# The model after training --------------------------------------------------------------------------------


def stopping(**options: Any) -> Any:
    return bm.callbacks.EarlyStopping("val_loss", **{"patience": 2, **options})


def unsteady(out: Path | None, *callbacks: Any, epochs: int = 12) -> bm.Trainer:
    """A run whose validation loss rises and falls."""
    made = bm.Trainer(
        bm.layers.Dense(3),
        "cross_entropy",
        bm.optimizers.SGD(3.0),
        ["accuracy"],
        callbacks=callbacks,
        out=out,
    )
    made.fit(labelled(60), epochs, 16, labelled(90), verbose=False)
    return made


@pytest.mark.parametrize("folder", [None, "run"])
@pytest.mark.parametrize("patience", [1, 100])
def test_the_model_ends_with_the_best_epoch(tmp_path: Path, folder: str | None, patience: int) -> None:
    made = unsteady(tmp_path / folder if folder else None, stopping(patience=patience))
    losses = made.history["val_loss"]
    assert losses[-1] > min(losses)
    assert made.evaluate(labelled(90))["loss"] == min(losses)


def test_the_model_may_end_with_the_last_epoch() -> None:
    made = unsteady(None, stopping(restore_best=False))
    assert made.evaluate(labelled(90))["loss"] == made.history["val_loss"][-1]


def test_what_is_brought_back_survives_a_resume(tmp_path: Path) -> None:
    whole = unsteady(tmp_path / "whole", stopping(patience=100))
    best = int(np.argmin(whole.history["val_loss"])) + 1
    steps = best * 4 + 1  # the best epoch is done by then
    with pytest.raises(Crash):
        unsteady(tmp_path / "run", stopping(patience=100), At(steps, crash))
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[stopping(patience=100)])
    resumed.fit(labelled(60), validation=labelled(90), verbose=False)
    assert all(
        np.array_equal(resumed.network.state()[path], array) for path, array in whole.network.state().items()
    )


def test_a_further_fit_goes_on_from_the_last_epoch() -> None:
    def trained(*epochs: int) -> dict[str, np.ndarray]:
        made = bm.Trainer(
            bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(3.0), callbacks=[stopping(patience=99)]
        )
        for number in epochs:
            made.fit(labelled(60), number, 16, labelled(90), verbose=False)
        return made.step.state()

    once, twice = trained(9), trained(4, 5)
    assert all(np.array_equal(once[path], twice[path]) for path in once)


def test_parameters_that_somebody_set_between_two_fits_stay() -> None:
    made = bm.Trainer(
        bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(3.0), callbacks=[stopping(patience=99)]
    )
    made.fit(labelled(60), 6, 16, labelled(90), verbose=False)
    made.network.load_state({path: np.zeros_like(array) for path, array in made.network.state().items()})
    made.step.rate_scale = 0.0
    made.fit(labelled(60), 1, 16, labelled(90), verbose=False)
    assert made.history.last["val_loss"] == pytest.approx(np.log(3), rel=1e-6)


def test_early_stopping_says_that_it_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", callbacks=[stopping(patience=1, min_delta=10.0)])
    made.fit(labelled(60), 9, validation=0.5)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "early stopping: val_loss has not improved for 2 epochs, the model has the parameters of epoch 3"
    )


# What is said at the end ---------------------------------------------------------------------------------


def test_a_run_with_nothing_to_do_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(tmp_path / "run", 3)
    bm.Trainer.resume(tmp_path / "run").fit(separable(), validation=separable(32))
    assert "nothing to do: the run has completed its 3 epochs" in capsys.readouterr().out


def test_a_run_that_stopped_early_says_that_it_stays_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(tmp_path / "run", 5, stopping(patience=0, min_delta=10.0))
    resumed = bm.Trainer.resume(tmp_path / "run")
    resumed.fit(separable(), validation=separable(32))
    assert "nothing to do: early stopping ended this run" in capsys.readouterr().out
    assert resumed.step.steps == 8


def test_training_that_diverged_ends_with_a_warning(tmp_path: Path) -> None:
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", bm.optimizers.SGD(1e9), out=tmp_path)
    with pytest.warns(BigmodelWarning, match=r"diverged: the loss is \d\.\d{4}e\+\d\d, it was \d\."):
        history = made.fit(labelled(), 3, 16, verbose=False)
    assert history.diverged and history.to_dict()["diverged"]
    assert runs.read_manifest(tmp_path)["status"] == "diverged"


def test_a_loss_that_rises_from_nearly_nothing_has_not_diverged() -> None:
    x, y = separable()
    made = bm.Trainer(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.0))
    model = made.model.build(bm.Spec(("N", 3)))
    model.load_state(
        {"weight": np.array([[-9, 9], [0, 0], [0, 0]], "float32"), "bias": np.zeros(2, "float32")}
    )
    made.fit((x, y), 1, verbose=False)
    assert made.state.first_loss is not None and made.state.first_loss < 1e-6
    model.load_state(
        {"weight": np.array([[-0.2, 0.2], [0, 0], [0, 0]], "float32"), "bias": np.zeros(2, "float32")}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = made.fit((x, y), 1, verbose=False)
    assert history.last["loss"] > 1e6 * made.state.first_loss and not history.diverged


def test_large_numbers_are_shown_in_few_digits() -> None:
    from bigmodel_core.train.progress import described

    logs = {
        "epoch": 1,
        "loss": 123456789012345678901234567890.0,
        "val_loss": float("nan"),
        "learning_rate": 1e9,
    }
    assert described(logs, 2) == "epoch 1/2  loss 1.2346e+29  val_loss nan  rate 1e+09"


def test_the_best_of_a_history_is_the_lowest_loss_of_several() -> None:
    epochs = [
        {"epoch": n, "val_accuracy": 1.0, "val_loss": loss} for n, loss in ((1, 0.3), (2, 0.1), (3, 0.2))
    ]
    assert History(epochs).best("val_accuracy")["epoch"] == 2


def test_a_crash_between_the_best_and_the_last_checkpoint_costs_an_epoch_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bigmodel_core.train import atomic

    whole, replace = fitted(tmp_path / "whole"), atomic.os.replace

    def crashing(source: Any, target: Path) -> None:
        if target.name == runs.LAST and runs.epochs_done(target.parent) == 3:
            (target.parent / f".{runs.LAST}.dead.part").write_text("half of it")  # as a killed process leaves
            raise Crash
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", crashing)
    with pytest.raises(Crash):
        fitted(tmp_path / "run")
    monkeypatch.setattr(atomic.os, "replace", replace)
    assert bm.load(tmp_path / "run" / "best").about.metrics["epoch"] == 4
    assert bm.load(tmp_path / "run" / "last").about.metrics["epoch"] == 3
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[])
    resumed.fit(separable(), validation=separable(32), verbose=False)
    assert sorted(item.name for item in (tmp_path / "run").iterdir()) == sorted(
        item.name for item in (tmp_path / "whole").iterdir()
    )
    state = whole.step.state()
    assert all(np.array_equal(state[path], array) for path, array in resumed.step.state().items())
    assert resumed.state.best == whole.state.best
