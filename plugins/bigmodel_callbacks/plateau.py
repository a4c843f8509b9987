"""How long a measure has not improved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class PlateauWatcher(bm.Callback):
    """Counts the epochs in which a measure did not improve; what follows is for subclasses.

    Args:
        monitor: what is watched, such as "val_loss" or "val_accuracy".
        patience: how many epochs without an improvement are borne.
        min_delta: what counts as an improvement: a change of more than this.
        mode: "min" if lower is better, "max" if higher is; None asks the metric.
    """

    monitor: str = "val_loss"
    patience: int = 5
    min_delta: float = 0.0
    mode: str | None = None

    def __post_init__(self) -> None:
        where = type(self).__name__
        if self.patience < 0:
            raise ConfigError(f"patience is {self.patience}.", where=where, fix="use 0 or more epochs.")
        if not (math.isfinite(self.min_delta) and self.min_delta >= 0):
            raise ConfigError(f"min_delta is {self.min_delta}.", where=where, fix="use 0 or more.")
        if self.mode not in (None, "min", "max"):
            raise ConfigError(f"mode is {self.mode!r}.", where=where, fix='use "min", "max" or None.')

    def on_train_begin(self, trainer: bm.Trainer) -> None:
        """The measure must be one that is measured."""
        higher = trainer.higher_is_better(self.monitor)
        trainer.callback_state(self)["sign"] = (1 if higher else -1) if self.mode is None else self._sign()

    def _sign(self) -> int:
        return 1 if self.mode == "max" else -1

    def waited(self, state: dict[str, Any], logs: Mapping[str, float]) -> int:
        """The epochs since the last improvement, with this one counted; 0 if this one is an improvement.

        A value that is NaN is none.
        """
        value = float(state["sign"] * logs[self.monitor])
        best = state.get("best")
        if value == value and (best is None or value > best + self.min_delta):
            state["best"], state["waited"] = value, 0
        else:
            state["waited"] = state.get("waited", 0) + 1
        return int(state["waited"])
