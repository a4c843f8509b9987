"""Batches that somebody else makes: a loader of another framework, a generator, any iterable of them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation, augmented_pair
from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.objective import Goal
from bigmodel_core.train.samples import Samples


def is_stream(data: Any) -> bool:
    """Whether data are an iterable of batches, such as a loader or a generator."""
    plain = (list, tuple, dict, str, bytes, np.ndarray, Samples)
    return isinstance(data, Iterable) and not isinstance(data, plain) and not hasattr(data, "dtype")


class Stream:
    """An iterable of batches (x, y) or (x, y, weight), in the place of samples.

    Args:
        batches: iterated anew for each epoch, if it can be; a generator goes on where the last epoch ended.
        steps_per_epoch: how many batches an epoch has; None for all.
        model: what they are for.

    Raises:
        UsageError: nothing says how many batches an epoch has.
        DataError: there is no batch, or it is none.
    """

    def __init__(self, batches: Iterable[Any], steps_per_epoch: int | None, model: Layer | Network) -> None:
        self.batches, self.model = batches, model
        if steps_per_epoch is None:
            try:
                steps_per_epoch = len(batches)  # type: ignore[arg-type]  # that it has a length is tried
            except TypeError:
                raise UsageError(
                    f"nothing says how many batches of a {type(batches).__name__} are an epoch.",
                    fix="pass steps_per_epoch to fit.",
                ) from None
        self.steps = steps_per_epoch
        going = iter(batches)
        try:
            first = next(going)
        except StopIteration:
            raise DataError("there is no batch.", fix="pass at least one.") from None
        self._is_one_shot = going is batches
        self._going = itertools.chain([first], going)
        self._first = self._samples(first)

    def _samples(self, batch: Any) -> Samples:
        """A batch as samples; lists that loaders make of tuples are such again."""
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise DataError(
                f"a batch is a {type(batch).__name__}, expected (x, y) or (x, y, weight).",
                fix="let the iterable give a tuple of inputs and targets.",
            )
        x, y, *weight = (
            tuple(item) if isinstance(item, list) and all(hasattr(part, "shape") for part in item) else item
            for item in batch
        )
        return Samples.of((x, y, *weight), "batch", self.model)

    def __len__(self) -> int:
        """How many samples an epoch has, if all batches are as large as the first."""
        return self.steps * len(self._first)

    def first(self, count: int) -> Samples:
        """The first samples."""
        return self._first.first(count)

    def fitting(self, network: Network, loss: Loss | Losses, goal: Goal) -> Stream:
        """The same, after checking the first batch against a model.

        Raises:
            ShapeError, DtypeError, DataError: it does not fit.
        """
        self._first = self._first.fitting(network, loss, goal)
        return self

    def fingerprint(self) -> dict[str, Any]:
        """What tells these batches from others: how many there are; they are not read before training."""
        return {"batches": self.steps}

    def shuffled(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        augment: Sequence[Augmentation] = (),
        workers: int = 0,
        classes: int | None = None,
    ) -> Generator[tuple[Any, Any, Any]]:
        """The batches (x, y, weight) of an epoch as they come, from batch `start` on; `batch_size` and
        `workers` change nothing.

        Raises:
            DataError: they end before the epoch does.
        """
        rows = epoch * len(self)
        for number, batch in enumerate(self._epoch(start), start):
            found = self._samples(batch)
            x, y = found.inputs, found.labelled()
            if augment:
                numbers = rows + number * len(self._first) + np.arange(len(found))
                changed, y = augmented_pair(np.asarray(x[0]), y, augment, seed, epoch, numbers, classes)
                x = (changed,)
            yield x[0] if len(x) == 1 else x, y, found.weight

    def _epoch(self, start: int) -> Iterator[Any]:
        """The batches of an epoch, as they were given."""
        if not self._is_one_shot:
            for number, batch in enumerate(itertools.islice(self._again(), self.steps)):
                if number >= start:
                    yield batch
            return
        for number in range(start, self.steps):
            try:
                yield next(self._going)
            except StopIteration:
                raise DataError(
                    f"the batches ended after {number} of the {self.steps} of an epoch.",
                    fix="pass fewer steps_per_epoch, or an iterable that can be iterated again.",
                ) from None

    def _again(self) -> Iterator[Any]:
        """All batches, from the first on, as often as needed."""
        while True:
            is_empty = True
            for batch in self.batches:
                is_empty = False
                yield batch
            if is_empty:
                raise DataError("there is no batch.", fix="pass at least one.")
