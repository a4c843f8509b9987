"""What a user sees of training: a bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from bigmodel_core.errors import visible
from bigmodel_core.train.history import number


class Reporter:
    """Says nothing; what the others derive from. A context: what it shows ends with it."""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def epoch_begins(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """An epoch begins (or continues, with some batches done); epochs count from 0."""

    def batch_ends(self, done: int, loss: float) -> None:
        """A batch is done; `loss` is the mean of the epoch so far."""

    def epoch_ends(self, logs: Mapping[str, Any]) -> None:
        """An epoch and its validation are done."""

    def note(self, text: str) -> None:
        """Something the user should know."""


class Lines(Reporter):
    """One line per epoch on standard output."""

    def __init__(self) -> None:
        self._epochs = 0

    def epoch_begins(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        self._epochs = epochs

    def epoch_ends(self, logs: Mapping[str, Any]) -> None:
        self.note(described(logs, self._epochs))

    def note(self, text: str) -> None:
        with suppress(OSError):  # whoever read along went away, as `head` does: training continues
            print(visible(text, keep="\n"), flush=True)


class Bar(Reporter):
    """A bar for the epoch that runs, and a line for each that is done."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(compact=True),
            auto_refresh=False,  # no thread beside the kernels'
            transient=True,
        )
        self._task: Any = None
        self._shown, self._epochs = 0.0, 0

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def epoch_begins(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._epochs = epochs
        title = f"epoch {epoch + 1}/{epochs}"
        self._task = self._progress.add_task(title, total=batches, completed=done, loss="")
        self._shown = 0.0

    def batch_ends(self, done: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._shown >= 0.1:
            self._shown = now
            self._progress.update(self._task, completed=done, loss=number(loss))
            with suppress(OSError):
                self._progress.refresh()

    def epoch_ends(self, logs: Mapping[str, Any]) -> None:
        self.note(described(logs, self._epochs))

    def note(self, text: str) -> None:
        with suppress(OSError):
            self._progress.console.print(
                visible(text, keep="\n"), highlight=False, markup=False, soft_wrap=True
            )


def reporter(verbose: bool) -> Reporter:
    """What suits the place: nothing, a bar on a terminal, lines elsewhere."""
    if not verbose:
        return Reporter()
    return Bar() if sys.stdout.isatty() else Lines()


def described(logs: Mapping[str, Any], epochs: int) -> str:
    """The logs of an epoch as one line.

    >>> described({"epoch": 2, "loss": 0.25, "val_accuracy": 0.9, "learning_rate": 0.001, "seconds": 1.5}, 5)
    'epoch 2/5  loss 0.2500  val_accuracy 0.9000  rate 0.001  1.5 s'
    """
    parts = [f"epoch {logs['epoch']}/{epochs}"]
    for name, value in logs.items():
        if isinstance(value, float) and name not in ("seconds", "samples_per_second", "learning_rate"):
            parts.append(f"{name} {number(value)}")
    if "learning_rate" in logs:
        parts.append(f"rate {logs['learning_rate']:.3g}")
    if "seconds" in logs:
        parts.append(f"{logs['seconds']:.1f} s")
    if "samples_per_second" in logs:
        parts.append(f"{logs['samples_per_second']:,.0f} samples/s")
    return "  ".join(parts)
