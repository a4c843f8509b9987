"""Updates from several batches: their gradients are added up, and applied together."""

from __future__ import annotations

import warnings
from typing import Any

from bigmodel_core.errors import BigmodelWarning, NumericsError
from bigmodel_core.train.loss_means import LossMeans
from bigmodel_core.train.step import TrainStep


class Window:
    """The batches of an epoch, of which so many give one update; with one, each batch is a step.

    A batch whose loss or gradients are NaN or infinite takes the others of its update with it: none of them
    changes a parameter, and a warning says so. With one batch an update that is an error instead.

    Args:
        step: the training step.
        size: batches of an update.

    Attributes:
        loss: the mean loss of the last update.
        is_updated: whether the last batch completed an update.
        updates: how many updates were made.
        error: what was wrong with the last batch that was left out.
    """

    def __init__(self, step: TrainStep, size: int) -> None:
        self.step, self.size = step, size
        self.loss = 0.0
        self.is_updated, self.updates = False, 0
        self.error: NumericsError | None = None
        self._bad: NumericsError | None = None
        self._losses = LossMeans()
        """Those of the batches that the next update is made of."""

    def take(self, batch: tuple[Any, ...], count: int, number: int, *, closes: bool) -> float | None:
        """The loss of a batch, which is updated with if it is the last of its window; None if it is left out.

        Args:
            batch: what the step takes.
            count: how many samples it has.
            number: which one of the epoch it is, from 1.
            closes: whether it is the last one of its window.

        Raises:
            NumericsError: as the step says, where an update has one batch; else where the update itself is
                NaN or infinite.
        """
        if self.size == 1:
            self.loss, self.is_updated = self.step(*batch), True
            return self.loss
        self.is_updated = False
        found = None if self._bad else self._added(batch, count)
        if closes and self._bad is not None:
            self._drop(number)
        elif closes:
            self.step.apply()
            self.is_updated, self.updates = True, self.updates + 1
            self.loss, self._losses = self._losses.loss(self.step.programs.shares), LossMeans()
        return found

    def _added(self, batch: tuple[Any, ...], count: int) -> float | None:
        try:
            loss = self.step.accumulate(*batch)
        except NumericsError as error:
            if error.is_written:
                raise
            self._bad = error
            return None
        self._losses.add(self.step.losses or {"": loss}, self.step.counted, count)
        return loss

    def _drop(self, number: int) -> None:
        assert self._bad is not None
        self.error, self._bad, self._losses = self._bad, None, LossMeans()
        self.step.discard()
        first = (number - 1) // self.size * self.size + 1
        warnings.warn(
            f"the batches {first} to {number} of this epoch changed nothing: {self.error.message}",
            BigmodelWarning,
            stacklevel=2,
        )
