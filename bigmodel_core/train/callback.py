"""The base class of callbacks: everything optional in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer


@dataclass(frozen=True)
class Callback:
    """Called by the trainer at fixed points; each method does nothing unless overridden.

    `logs` holds what is known then: "loss", "learning_rate", metrics, and for an epoch also "val_loss" and
    so on. A callback stops training by setting `trainer.stop = True`. State that has to survive a resume is
    kept in `trainer.callback_state(self)`, a dict of JSON values and arrays.
    """

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch; epochs count from 0."""

    def on_batch_end(self, trainer: Trainer, step: int, logs: Mapping[str, float]) -> None:
        """After a training step; steps count from 1 over the whole run."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """After an epoch and its validation."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when training was stopped or interrupted."""
