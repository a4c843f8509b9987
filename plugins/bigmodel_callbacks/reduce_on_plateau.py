"""A learning rate that falls when a measure no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bigmodel_core as bm
from bigmodel_callbacks.plateau import PlateauWatcher
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class ReduceOnPlateau(PlateauWatcher):
    """Multiplies the learning rate by `factor` if a measure stalls for more than `patience` epochs.

    It works on top of the optimizer's schedule, which continues by steps.

    Args:
        monitor: what is watched, such as "val_loss" or "val_accuracy".
        patience: how many epochs without an improvement are borne.
        min_delta: what counts as an improvement: a change of more than this.
        mode: "min" if lower is better, "max" if higher is; None asks the metric.
        factor: what the rate is multiplied by, more than 0 and less than 1.
        min_rate: the rate is not lowered below this.
    """

    factor: float = 0.1
    min_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.factor < 1:
            raise ConfigError(
                f"factor is {self.factor}.", where="ReduceOnPlateau", fix="use more than 0 and less than 1."
            )
        if not self.min_rate >= 0:
            raise ConfigError(f"min_rate is {self.min_rate}.", where="ReduceOnPlateau", fix="use 0 or more.")

    def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Lower the rate when patience runs out; it then starts over."""
        state = trainer.callback_state(self)
        if self.waited(state, logs) <= self.patience:
            return
        state["waited"] = 0
        step = trainer.step
        rate = step.learning_rate
        if rate > self.min_rate:
            step.rate_scale *= max(self.factor, self.min_rate / rate)
