"""Pruning while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_callbacks.early_stopping import EarlyStopping
from bigmodel_core.errors import ConfigError

Masks = dict[str, np.ndarray]


@dataclass(frozen=True)
class Prune(bm.Callback):
    """Sets the smallest weights to zero in training, more and more of them; what is zero stays zero.

    Their share follows Zhu and Gupta (2017): after step t it is
    amount + (initial - amount) * (1 - (t - begin) / (end - begin)) ** power, and `amount` from `end` on. With
    an `end` of 0 all go at once: before the first step if `begin` is 0, which also keeps the zeros of a model
    that `bm.prune` made, else after step `begin`. Biases, scales and shifts are not pruned.

    The best epoch is one of those with all the zeros. A resumed run has the same ones. What brings back
    parameters of an earlier epoch, as `EarlyStopping` does, is named before it.

    Args:
        amount: the share of the weights, of each layer or of all.
        scope: "layer" or "global", as for `bm.prune`.
        only: patterns of the weights, or of their layers.
        begin, end: the steps between which the share grows.
        every: how many steps lie between two looks at the weights in that time.
        power: 3 takes most at the beginning, when there is most to spare; 1 is a line.
        initial: the share at the beginning.

    Raises:
        ConfigError: an option is out of range, or, when training begins, early stopping follows.
        UnknownNameError: when training begins, a pattern matches nothing.

    >>> schedule = Prune(0.8, begin=100, end=500)
    >>> [round(schedule.share(step), 3) for step in (0, 100, 300, 500, 900)]
    [0.0, 0.0, 0.7, 0.8, 0.8]
    """

    amount: float = 0.5
    scope: str = "layer"
    only: tuple[str, ...] = ("*",)
    begin: int = 0
    end: int = 0
    every: int = 10
    power: float = 3.0
    initial: float = 0.0

    def __post_init__(self) -> None:
        bm.check_number(self, "amount", at_least=0, below=1)
        for name in ("begin", "end"):
            bm.check_number(self, name, whole=True, at_least=0)
        bm.check_number(self, "every", whole=True, at_least=1)
        bm.check_number(self, "power", above=0)
        bm.check_number(self, "initial", at_least=0, at_most=self.amount)
        if self.scope not in ("layer", "global"):
            raise ConfigError(f"scope is {self.scope!r}.", where="Prune", fix='use "layer" or "global".')
        if 0 < self.end <= self.begin:
            raise ConfigError(
                f"end is {self.end}, expected more than begin, {self.begin}.",
                where="Prune",
                fix="leave it out to prune at once.",
            )

    def share(self, step: int) -> float:
        """The share of zeros after a step; 0 is before the first."""
        if step < self.begin:
            return 0.0
        left = max(0.0, 1 - (step - self.begin) / (self.end - self.begin)) if self.end else 0.0
        return self.amount + (self.initial - self.amount) * left**self.power

    def on_train_begin(self, trainer: bm.Trainer) -> None:
        """Zeros that are due before the first step."""
        state, step = trainer.callback_state(self), trainer.state.steps
        bm.shrinking.smallest(trainer.network, self.amount, self.scope, self.only)  # patterns are checked
        self._check_order(trainer)
        if "masks" not in state and self.share(step) > 0:
            self._look(trainer, step)
        self._apply(trainer)

    def _check_order(self, trainer: bm.Trainer) -> None:
        """Raise if weights of an epoch with fewer zeros can come back once the last zeros are set."""
        place = next(number for number, item in enumerate(trainer.callbacks) if item is self)
        later = trainer.callbacks[place + 1 :]
        if (self.end or self.begin) and any(isinstance(x, EarlyStopping) and x.restore_best for x in later):
            raise ConfigError(
                "EarlyStopping follows, and brings back an epoch that may have fewer zeros.",
                where="Prune",
                fix="name EarlyStopping before Prune, or set its restore_best=False.",
            )

    def on_batch_end(self, trainer: bm.Trainer, step: int, logs: Mapping[str, float]) -> None:
        """What is zero stays zero; where it is time to look, more becomes zero."""
        last = self.end or self.begin
        is_due = step == last or (self.begin <= step < last and (step - self.begin) % self.every == 0)
        if is_due and self.share(step) > 0:
            self._look(trainer, step)
        self._apply(trainer)

    def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Epochs with fewer zeros than there are to be are not the best ones."""
        state = trainer.callback_state(self)
        if not state.get("settled"):
            trainer.state.best = None
            state["settled"] = trainer.state.steps >= (self.end or self.begin)

    def on_train_end(self, trainer: bm.Trainer) -> None:
        """Say how many weights are zero, also where another callback brought earlier ones back."""
        self._apply(trainer)
        masks = self._masks(trainer.callback_state(self))
        gone, all_of_them = (sum(int(item) for item in items) for items in _counts(masks))
        if trainer.state.steps < (self.end or self.begin):
            trainer.note(
                f"pruning goes on until step {self.end or self.begin}, which this run has not reached"
            )
        trainer.note(f"pruned: {gone:,} of {all_of_them:,} weights are zero")

    def _look(self, trainer: bm.Trainer, step: int) -> None:
        """Choose the weights that are zero from now on; none comes back."""
        state = trainer.callback_state(self)
        before = self._masks(state)
        found = bm.shrinking.smallest(trainer.network, self.share(step), self.scope, self.only)
        state["masks"] = {
            path: {"bits": np.packbits(mask | before.get(path, False)), "shape": list(mask.shape)}
            for path, mask in found.items()
        }

    def _apply(self, trainer: bm.Trainer) -> None:
        bm.shrinking.make_zero(trainer.step, self._masks(trainer.callback_state(self)))

    def _masks(self, state: Mapping[str, Any]) -> Masks:
        """Which weights are zero; a bit each is kept."""
        return {
            path: np.unpackbits(item["bits"], count=int(np.prod(item["shape"])))
            .astype(bool)
            .reshape(item["shape"])
            for path, item in state.get("masks", {}).items()
        }


def _counts(masks: Masks) -> tuple[list[int], list[int]]:
    """The zeros, and the numbers, of each weight."""
    return [int(mask.sum()) for mask in masks.values()], [mask.size for mask in masks.values()]
