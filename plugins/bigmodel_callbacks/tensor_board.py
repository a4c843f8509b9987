"""A run in TensorBoard."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_callbacks import board_samples as show
from bigmodel_callbacks.board_summaries import histogram, image, joined, once, scalars, text
from bigmodel_callbacks.event_file import EventFile, unwritable
from bigmodel_core.errors import ConfigError

BETWEEN = 50
"""Samples are shown again when so many times what that took has passed: a fiftieth of the time at most."""


@dataclass(frozen=True)
class _Before:
    """Which events of an earlier process stay: those of steps that are not done again."""

    steps: int
    in_epoch: bool
    """Whether the epoch of the last step is to be ended again."""

    def __call__(self, event: Any) -> bool:
        if self.in_epoch and event.step == self.steps:
            return all(value.tag.startswith("step/") for value in event.summary.value)
        return 0 < event.step <= self.steps


@dataclass(frozen=True)
class TensorBoard(bm.Callback):
    """Writes what TensorBoard shows: `tensorboard --logdir runs`.

    Of steps the loss and the learning rate; of epochs all that is measured, histograms of parameters and
    their gradients, and what the model makes of some samples (pictures with predictions if these are images,
    a table, what a language model writes). Once: the graph, the kernels of a step, the hyper-parameters. The
    horizontal axis is that of training steps. A resumed run takes out what it does again.

    Args:
        path: the folder, in the run's folder if training has one (`out=`) and the path is relative. Only
            files that this callback wrote there are replaced.
        every: steps from one point of the loss to the next; 0 for none.
        histograms: epochs from one set of histograms to the next; 0 for none.
        gradients: whether gradients have histograms, too: those of the loss on one batch of training samples.
            In private training they have none.
        samples: how many samples are shown after an epoch, and at the end; 0 for none. Of short epochs some
            are left out, so that it takes no more than a fiftieth of the time.
    """

    path: str = "tensorboard"
    every: int = 25
    histograms: int = 1
    gradients: bool = True
    samples: int = 8
    _open: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What belongs to the training that runs: the file, and the function that gives gradients."""

    def __post_init__(self) -> None:
        for name in ("every", "histograms", "samples"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}.", where="TensorBoard", fix="use 0 or more."
                )

    # Events ----------------------------------------------------------------------------------------------

    def on_train_begin(self, trainer: bm.Trainer) -> None:
        """Say now, not after the first step, what is missing."""
        bm.extras.optional("tensorboardX", None, "TensorBoard's files")
        folder = self._folder(trainer)
        first = next(item for item in (folder, *folder.absolute().parents) if item.exists())
        if not (first.is_dir() and os.access(first, os.W_OK)):
            raise unwritable(folder, f"{first} is no folder, or cannot be written to")
        self._close()
        self._open["kept"] = _Before(trainer.step.steps, in_epoch=trainer.state.batch > 0)
        runs = folder if trainer.out is None or Path(self.path).is_absolute() else trainer.out.parent
        trainer.note(f"to look at it: tensorboard --logdir {shlex.quote(str(runs))}")

    def on_batch_end(self, trainer: bm.Trainer, step: int, logs: Mapping[str, float]) -> None:
        """Write the loss and the rate of some steps."""
        if self.every and step % self.every == 0:
            self._file(trainer).add(step, summary=scalars("step", logs))

    def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, Any]) -> None:
        """Write what was measured, the histograms and the samples."""
        step, file = trainer.step.steps, self._file(trainer)
        measured = {name: value for name, value in logs.items() if name not in ("epoch", "seconds")}
        file.add(step, summary=scalars("epoch", measured))
        labels = trainer.encoding.labels if trainer.encoding else None
        for name, value in measured.items():
            if np.ndim(value) == 2:
                file.add(step, summary=text(f"epoch/{name}", show.matrix(value, labels)))
        if self.histograms and (epoch + 1) % self.histograms == 0:
            self._histograms(trainer, file, step)
        if time.monotonic() >= self._open.get("next", 0.0):
            self._show_samples(trainer, file)
        file.flush()

    def on_train_end(self, trainer: bm.Trainer) -> None:
        """Show the samples at the end, and where the time went if that was measured; the file is complete."""
        if (file := self._open.get("file")) is not None:
            if self._open.get("shown") != trainer.step.steps:
                self._show_samples(trainer, file)
            if trainer.profile is not None:
                file.add(trainer.step.steps, summary=text("profile", trainer.profile.to_markdown()))
        self._close()

    # The file --------------------------------------------------------------------------------------------

    def _folder(self, trainer: bm.Trainer) -> Path:
        return Path(self.path) if trainer.out is None else trainer.out / self.path

    def _file(self, trainer: bm.Trainer) -> EventFile:
        """The file, begun when there is something to write: not before the run's folder is this process's."""
        if "file" not in self._open:
            self._open["file"] = EventFile(self._folder(trainer), self._open["kept"])
            for content in once(trainer):
                self._open["file"].add(0, **content)
        found: EventFile = self._open["file"]
        return found

    def _close(self) -> None:
        if "file" in self._open:
            self._open["file"].close()
        self._open.clear()

    # What is written -------------------------------------------------------------------------------------

    def _histograms(self, trainer: bm.Trainer, file: EventFile, step: int) -> None:
        kinds = {"parameters": trainer.network.state()}
        shown = (
            self.gradients and trainer.privacy is None
        )  # of some samples, without noise, they give them away
        batch = trainer.examples(trainer.options["batch_size"], "training") if shown else None
        if batch is not None:
            if "gradients" not in self._open:
                own = trainer.step
                self._open["gradients"] = bm.value_and_grad(
                    trainer.network, own.loss, seed=own.seed, device=own.device, training=True
                )
            kinds["gradients"] = self._open["gradients"](*batch)[1]
        found = [
            histogram(f"{kind}/{path}", array)
            for kind, arrays in kinds.items()
            for path, array in arrays.items()
            if array.size
        ]
        file.add(step, summary=joined(found))

    def _show_samples(self, trainer: bm.Trainer, file: EventFile) -> None:
        """Show the samples, and note when to do so again: not before fifty times what it took."""
        begun, step = time.monotonic(), trainer.step.steps
        found = trainer.examples(self.samples) if self.samples else None
        if found is None:
            return
        x, y, _ = found
        shown = show.predicted(trainer, x, y)
        if shown:
            file.add(step, summary=text("examples", show.table(shown)))
        images = show.images_in(x, trainer.encoding)
        if images is not None:
            file.add(step, summary=image("examples", *show.picture(images, shown)))
        if (words := show.written(trainer, x)) is not None:
            file.add(step, summary=text("written", words))
        ended = time.monotonic()
        self._open.update(shown=step, next=ended + BETWEEN * (ended - begun))
