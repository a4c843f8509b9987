"""Early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bigmodel_callbacks.plateau import PlateauWatcher

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer


@dataclass(frozen=True)
class EarlyStopping(PlateauWatcher):
    """Ends training once a measure has not improved for more than `patience` epochs (Prechelt, 1998).

    The best checkpoint is kept whatever this does; what counts as best there is `Trainer(monitor=...)`.

    Args:
        monitor: what is watched, such as "val_loss" or "val_accuracy".
        patience: how many epochs without an improvement are borne; the next one is the last.
        min_delta: what counts as an improvement: a change of more than this.
        mode: "min" where lower is better, "max" where higher is; None asks the metric.

    >>> EarlyStopping("val_accuracy", patience=3).patience
    3
    """

    def on_train_begin(self, trainer: Trainer) -> None:
        """A run that was stopped and is resumed stays stopped."""
        super().on_train_begin(trainer)
        if trainer.callback_state(self).get("stopped"):
            trainer.stop = True

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Stop training where the patience is at its end."""
        state = trainer.callback_state(self)
        if self.waited(state, logs) > self.patience:
            state["stopped"] = trainer.stop = True
