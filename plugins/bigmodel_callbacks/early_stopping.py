"""Early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_callbacks.plateau import PlateauWatcher


@dataclass(frozen=True)
class EarlyStopping(PlateauWatcher):
    """Stops training when a measure has not improved for more than `patience` epochs (Prechelt, 1998).

    When training has ended, early or not, the model has the parameters of the epoch in which the measure was
    best (in a tie, the one with the lowest loss), unless `restore_best` is false. After Ctrl-C it keeps its
    current parameters. `Trainer(monitor=...)` decides the best checkpoint in the run folder.

    Args:
        monitor: the measure to watch, such as "val_loss" or "val_accuracy".
        patience: how many epochs without an improvement are tolerated; the next one is the last.
        min_delta: what counts as an improvement: a change of more than this.
        mode: "min" if lower is better, "max" if higher is; None asks the metric.
        restore_best: whether the model ends with the parameters of the best epoch; false keeps the last ones.

    >>> EarlyStopping("val_accuracy", patience=3).patience
    3
    """

    restore_best: bool = True

    def on_train_begin(self, trainer: bm.Trainer) -> None:
        """A run that was stopped and is resumed stays stopped."""
        super().on_train_begin(trainer)
        if trainer.callback_state(self).get("stopped"):
            trainer.stop = True
            trainer.note(f"nothing to do: early stopping ended this run, {self._reason(trainer)}")

    def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Stop training when patience runs out."""
        state = trainer.callback_state(self)
        if self.waited(state, logs) > self.patience:
            state["stopped"] = trainer.stop = True
        if self.restore_best and self._is_best(state, epoch + 1, logs):
            trainer.keep_parameters(self)

    def on_train_end(self, trainer: bm.Trainer) -> None:
        """Bring back the best epoch's parameters, and say so."""
        if trainer.history.interrupted:
            return
        state = trainer.callback_state(self)
        best = state.get("kept") if self.restore_best else None
        restored = "" if best is None else f"the model has the parameters of epoch {best['epoch']}"
        if best is not None:
            trainer.restore_parameters(self)
        if state.get("stopped"):
            trainer.note(", ".join(filter(None, [f"early stopping: {self._reason(trainer)}", restored])))
        elif best is not None and trainer.state.epoch != best["epoch"]:
            trainer.note(f"{restored}, the best by {self.monitor}")

    def _reason(self, trainer: bm.Trainer) -> str:
        epochs = int(trainer.callback_state(self)["waited"])
        return f"{self.monitor} has not improved for {epochs} epoch{'s' if epochs > 1 else ''}"

    def _is_best(self, state: dict[str, Any], epoch: int, logs: Mapping[str, float]) -> bool:
        """Whether an epoch is the best so far, by however little; it is then noted as such."""
        value, loss = float(state["sign"] * logs[self.monitor]), bm.deciding_loss(logs)
        best = state.get("kept")
        if value != value:
            return False
        if best is not None and (value, -loss) <= (best["value"], -best["loss"]):
            return False
        state["kept"] = {"epoch": epoch, "value": value, "loss": loss}
        return True
