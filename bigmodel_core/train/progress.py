"""What a user sees of training: a bar on a terminal and in a notebook, a line per epoch elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from bigmodel_core.errors import visible
from bigmodel_core.train.history import number

LINE_SECONDS, CELL_SECONDS, BAR_SECONDS = 60.0, 0.5, 0.5
"""How often a log, a notebook and a terminal hear of an epoch that is not done yet: to draw the bar takes
three milliseconds."""
BAR = 24
"""Letters of a notebook's bar."""


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
    """One line per epoch on standard output, and in a long epoch one a minute."""

    def __init__(self) -> None:
        self._epoch = self._epochs = self._batches = 0
        self._said = 0.0

    def epoch_begins(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        self._epoch, self._epochs, self._batches = epoch, epochs, batches
        self._said = time.monotonic()

    def batch_ends(self, done: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._said >= LINE_SECONDS:
            self._said = now
            self.note(self._so_far(done, loss))

    def epoch_ends(self, logs: Mapping[str, Any]) -> None:
        self.note(described(logs, self._epochs))

    def note(self, text: str) -> None:
        with suppress(OSError):  # whoever read along went away, as `head` does: training continues
            print(visible(text, keep="\n"), flush=True)

    def _so_far(self, done: int, loss: float) -> str:
        epoch = f"epoch {self._epoch + 1}/{self._epochs}"
        return f"{epoch}  batch {done:,} of {self._batches:,}  loss {number(loss)}"


class Cell(Lines):
    """As `Lines`, and a line below that says how far the epoch is: what a notebook shows of a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = ""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show("")

    def batch_ends(self, done: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._said >= CELL_SECONDS:
            self._said = now
            filled = BAR * done // max(self._batches, 1)
            self._show(f"{'█' * filled}{'░' * (BAR - filled)}  {self._so_far(done, loss)}")

    def note(self, text: str) -> None:
        self._show("")
        super().note(text)

    def _show(self, line: str) -> None:
        """Write over the line below."""
        if line or self._shown:
            with suppress(OSError):
                print(f"\r{line.ljust(len(self._shown))}", end="\r" if not line else "", flush=True)
        self._shown = line


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

    def batch_ends(self, done: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._shown >= BAR_SECONDS:
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
    """What suits the place: nothing, a bar on a terminal or in a notebook, lines elsewhere."""
    if not verbose:
        return Reporter()
    if type(sys.stdout).__module__.partition(".")[0] == "ipykernel":
        return Cell()
    return Bar() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else Lines()


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
