"""The checks of callbacks: they run in small trainings, which are stopped and resumed."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bigmodel_core import registry
from bigmodel_core.data.data import Data
from bigmodel_core.data.split import Split
from bigmodel_core.errors import BigmodelError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.sequential import Sequential
from bigmodel_core.registry import config
from bigmodel_core.registry.askers import CORE
from bigmodel_core.testing.checks import Found, Inputs, expect
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.registry_checks import registry_checks, require_registered
from bigmodel_core.train import loop
from bigmodel_core.train.callback import Callback
from bigmodel_core.train.trainer import Trainer

EPOCHS, STOPPED = 4, 2
"""How long a training is, and before which epoch it is stopped where it is resumed."""


def callback_checks(callback: Callback, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a callback."""
    apart = {
        "events": check_events,
        "without validation": check_without_validation,
        "same bits when trained again": check_deterministic,
        "state survives": check_state,
        "resume": check_resume,
    }
    return {
        **{name: partial(isolated, check, callback) for name, check in apart.items()},
        **registry_checks(callback),
    }


def small_data() -> Data:
    """Points of three classes that a linear model tells apart."""
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    split = Split(random.normal(size=(60, 4)).astype("float32") + y[:, np.newaxis], y)
    rows = np.arange(60)
    return Data("small", train=split.take(rows[12:]), test=split.take(rows[:12]), labels=("a", "b", "c"))


def small_model() -> Layer:
    """A model of two layers for it."""
    dense, relu = (registry.get("layer", name, owner=CORE) for name in ("dense", "relu"))
    return Sequential(dense(5), relu(), dense(3))


def _trainer(callback: Callback, out: Path | None = None) -> Trainer:
    parts = [
        config.make(kind, name, owner=CORE)
        for kind, name in (("loss", "cross_entropy"), ("optimizer", "adam"), ("metric", "accuracy"))
    ]
    return Trainer(small_model(), *parts, callbacks=[callback], out=out)


@contextmanager
def _run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "run"


def _fit(trainer: Trainer, epochs: int = EPOCHS, validation: float | None = 0.25) -> None:
    trainer.fit(small_data(), epochs=epochs, batch_size=12, validation=validation, verbose=False)


# Events -----------------------------------------------------------------------------------------------------


def check_events(callback: Callback) -> None:
    """Every event that it handles reaches it, in order, and it raises at none of them."""
    arrived: list[str] = []

    def noted(event: str, handle: Callable[..., Any]) -> Callable[..., Any]:
        def note(*given: Any) -> Any:
            arrived.append(event)
            try:
                return handle(*given)
            except BigmodelError:
                raise
            except Exception as error:
                raise AssertionError(f"{event} raised {type(error).__name__}: {error}") from error

        return note

    handled = [
        name
        for name in vars(Callback)
        if name.startswith("on_")
        and getattr(type(callback), name) is not getattr(Callback, name)
        and inspect.isfunction(inspect.getattr_static(callback, name))
    ]
    with ExitStack() as stack, _run_folder() as run:
        for name in handled:
            stack.enter_context(
                mock.patch.object(type(callback), name, noted(name, getattr(type(callback), name)))
            )
        trainer = _trainer(callback, out=run)
        _fit(trainer)
        done = trainer.state.epoch
    steps = trainer.step.steps // max(done, 1)
    epoch = ["on_epoch_begin", *["on_batch_end"] * steps, "on_epoch_end"]
    whole = ["on_train_begin", *epoch * done, "on_train_end"]
    expected = [name for name in whole if name in handled]
    if not trainer.stop:  # one that stops may do so in the middle of an epoch
        expect(done == EPOCHS, f"training ended after {done} of {EPOCHS} epochs, but stop is not set")
        expect(arrived == expected, f"the events were {_shown(arrived)}; expected {_shown(expected)}")
    missing = [name for name in handled if name not in arrived]
    expect(not missing, f"{', '.join(missing)} never arrived")


def _shown(events: list[str]) -> str:
    return ", ".join(events[:8]) + (f", ... ({len(events)})" if len(events) > 8 else "")


def check_without_validation(callback: Callback) -> None:
    """Without validation and a folder it works, or says what it needs: `logs` have no `val_loss` then, and
    `trainer.out` is None."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # what it writes beside the run goes there
        try:
            _fit(_trainer(callback), validation=None)
        except BigmodelError as error:
            expect(len(error.message) > 10, f"the error says only {error.message!r}")
        except Exception as error:
            raise AssertionError(
                f"without validation it raised {type(error).__name__}: {error}; expected that it works, or an"
                " error of bigmodel_core.errors that says what it needs"
            ) from error


# Bits -------------------------------------------------------------------------------------------------------


def check_deterministic(callback: Callback) -> None:
    """Two trainings with it give the same parameters, so that it keeps nothing from one to the next."""
    states = []
    for _ in range(2):
        with _run_folder() as run:
            trainer = _trainer(callback, out=run)
            _fit(trainer)
            states.append(trainer.network.state())
    _expect_same(states[0], states[1], "the second of two trainings in one process")


class _Stopped(Exception):
    """What stops a training as a crash does."""


def _stopped_and_resumed(callback: Callback, run: Path) -> Trainer:
    """A training that died before an epoch, and the trainer that goes on with it."""

    def dying(trainer: Trainer, event: str, *details: Any, tell: Callable[..., None] = loop.tell) -> None:
        if event == "on_epoch_begin" and details == (STOPPED,):
            raise _Stopped
        tell(trainer, event, *details)

    try:
        with mock.patch.object(loop, "tell", dying):
            _fit(_trainer(callback, out=run))
    except _Stopped:
        pass
    kind = require_registered(callback)
    again = config.from_config(kind, config.to_config(callback))  # a process of its own has no other
    return Trainer.resume(run, callbacks=[again])


def check_state(callback: Callback) -> None:
    """What it keeps in `trainer.callback_state(self)` is in the checkpoint, and comes back as it was."""
    with _run_folder() as run:
        trainer = _trainer(callback, out=run)
        _fit(trainer)
        kept = trainer.callback_state(callback)
        again = Trainer.resume(run)
        _fit(again, epochs=EPOCHS)
        back = again.callback_state(again.callbacks[0])
    expect(set(back) == set(kept), f"it kept {_named(kept)}; after a resume there is {_named(back)}")


def _named(state: dict[str, Any]) -> str:
    return ", ".join(sorted(map(str, state))) or "nothing"


def check_resume(callback: Callback) -> None:
    """A training that died and was resumed ends with the same parameters and logs as one that did not."""
    with _run_folder() as whole, _run_folder() as run:
        trainer = _trainer(callback, out=whole)
        _fit(trainer)
        resumed = _stopped_and_resumed(callback, run)
        _fit(resumed)
        expect(
            resumed.state.epoch == trainer.state.epoch,
            f"resumed, training ended after {resumed.state.epoch} epochs instead of {trainer.state.epoch};"
            " keep what decides in trainer.callback_state(self)",
        )
        _expect_same(trainer.network.state(), resumed.network.state(), "a training that died and was resumed")
        first, second = trainer.callback_state(callback), resumed.callback_state(resumed.callbacks[0])
        expect(
            set(first) == set(second),
            f"without a stop it keeps {_named(first)}; resumed {_named(second)}",
        )


def _expect_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray], what: str) -> None:
    for path, array in first.items():
        expect(
            np.array_equal(array, second[path], equal_nan=True),
            f"{what} ends with another {path}; keep what it needs in trainer.callback_state(self), not in"
            " itself or its module",
        )
