"""The samples that training and evaluation read: inputs and targets, whole or batch by batch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.data.data import Data
from bigmodel_core.data.prefetch import DEFAULT_WORKERS, ahead, need_preparing, prepared_batches
from bigmodel_core.data.ragged import Widths, gathered_together
from bigmodel_core.data.sampling import (
    batch_count,
    epoch_order,
    order_batches,
    poisson_sample,
    split_indices,
)
from bigmodel_core.data.source import Source, all_in_epoch, rows
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import arrays_of, filled, leaves, mapped
from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.graph.spec import match
from bigmodel_core.nn.fitting import SAMPLES, of_samples
from bigmodel_core.nn.given import inputs_of
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.train.by_output import Losses
from bigmodel_core.train.objective import Goal, goal_inputs

Inputs = tuple[np.ndarray | Source, ...]
SamplesTree = Any
"""An array, or a source, for each of some targets or weights: one, a tuple or a dict."""


class Samples:
    """Inputs, targets and weights of some samples.

    Args:
        inputs: an array for each input of the model, one sample per row, or a source of samples.
        target: one target per sample; a tuple or a dict of such arrays if there are several; None if there
            are none.
        reach: with how many of those that follow it a sample shares something; see `Split`.
        weight: what samples count, likewise.

    Raises:
        DataError: there is no sample, or the arrays differ in length.
    """

    def __init__(
        self, inputs: Inputs, target: SamplesTree, reach: int | None = None, weight: SamplesTree = None
    ) -> None:
        if not inputs or any(array.ndim == 0 for array in inputs):
            raise DataError(
                "the input is not an array of samples.",
                fix="pass arrays with one sample per row of the first axis.",
            )
        self.inputs, self.target, self.reach, self.weight = inputs, target, reach, weight
        self._check_lengths()
        if len(self) == 0:
            raise DataError("there are no samples.", fix="pass at least one sample.")

    def _check_lengths(self) -> None:
        others = [("input", f"input {number}", array) for number, array in enumerate(self.inputs[1:], 2)]
        for what, tree in (("target", self.target), ("weight", self.weight)):
            for path, array in leaves(tree).items():
                others.append((what, f"{what}s of '{path[1:]}'" if path else f"{what}s", array))
        for what, title, array in others:
            if len(array) != len(self):
                first = "inputs" if len(self.inputs) == 1 else "input 1"
                raise DataError(
                    f"{first} and {title} differ in length: {len(self)}, {len(array)}.",
                    fix=f"pass one {what} for each sample.",
                )

    def __len__(self) -> int:
        return len(self.inputs[0])

    @classmethod
    def of(cls, data: Any, what: str = "data", model: Layer | Network | None = None) -> Samples:
        """The samples of whatever a user may pass for some.

        Args:
            data: a Split, the Data whose training split is meant, or a tuple (x, y) or (x, y, weight) in
                which each may be a tuple or a dict of arrays.
            what: what it is for, in messages.
            model: what the samples are for: it says whether a list of arrays is one input or several.

        Raises:
            UsageError: it is none of these.
            DataError: there is no sample, or the arrays do not fit together.
        """
        if isinstance(data, Data):
            data = data.train
        if isinstance(data, Split):
            return cls(as_inputs(data.x, model), data.y, data.reach, data.weight)
        if isinstance(data, tuple) and len(data) in (2, 3):
            x, y, weight = (*data, None)[:3]
            target = None if y is None else arrays_of(y, f"target of the {what}")
            weights = None if weight is None else arrays_of(weight, f"weight of the {what}")
            return cls(as_inputs(x, model), target, weight=weights)
        raise UsageError(
            f"the {what} is a {type(data).__name__}.",
            fix="pass a Data, a Split or a tuple (x, y) or (x, y, weight) of arrays.",
        )

    def fitting(self, network: Network, loss: Loss | Losses | None, goal: Goal | None) -> Samples:
        """The same samples in the number types of a model, checked against it.

        Args:
            network: the model.
            loss: what takes the targets.
            goal: what targets and weights look like; None if none are needed.

        Raises:
            ShapeError, DtypeError: they do not fit the model.
            DataError: there are no targets.
        """
        inputs = network.check_samples(self.inputs)
        if loss is None or goal is None:
            return Samples(inputs, None)
        known = {"N": len(self), SAMPLES: len(self)}
        for spec, array in zip(network.inputs, inputs, strict=True):
            match(of_samples(spec).shape, array.shape, known)
        free = Goal(*(mapped(of_samples, specs) for specs in (goal.target, goal.weight)))
        found = goal_inputs(network, loss, free, self.labelled(), self.weight, known)
        arrays = [found[name] for name in goal.names()]
        count = len(leaves(goal.target))
        target, weight = filled(goal.target, arrays[:count]), filled(goal.weight, arrays[count:])
        return Samples(inputs, target, self.reach, weight)

    def labelled(self) -> SamplesTree:
        """The targets.

        Raises:
            DataError: there are none.
        """
        if self.target is None:
            raise DataError("the samples have no targets.", fix="pass a split with y.")
        return self.target

    def take(self, indices: np.ndarray) -> Samples:
        """The samples at some positions."""
        return Samples(
            tuple(_taken(x, indices) for x in self.inputs),
            mapped(lambda y: _taken(y, indices), self.target),
            weight=mapped(lambda y: _taken(y, indices), self.weight),
        )

    def first(self, count: int) -> Samples:
        """The first samples, not copied."""
        return self._between(0, count)

    def some(self, count: int) -> tuple[Any, Any, Any]:
        """So many samples (x, y, weight), taken at even distances and read; fewer if there are fewer."""
        chosen = np.unique(np.linspace(0, len(self) - 1, count).astype(np.int64))
        part = self.take(chosen)._read(0, len(chosen))
        x = part.inputs[0] if len(part.inputs) == 1 else part.inputs
        return x, part.target, part.weight

    def _between(self, start: int, stop: int) -> Samples:
        return Samples(
            tuple(rows(x, start, stop) for x in self.inputs),
            mapped(lambda y: rows(y, start, stop), self.target),
            weight=mapped(lambda y: rows(y, start, stop), self.weight),
        )

    def held_out(self, fraction: float, seed: int) -> tuple[Samples, Samples]:
        """The samples in two parts, of which the second has a fraction of them; classes keep their shares,
        and samples that stand in order are held out at the end.

        Raises:
            ConfigError: the fraction is not between 0 and 1.
            DataError: too few samples.
        """
        y = self.target
        is_label = isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "iub"
        classes = y if is_label else None
        kept, out = split_indices(len(self), fraction, seed, classes=classes, reach=self.reach)
        return self.take(kept), self.take(out)

    def shuffled(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        augment: Sequence[Augmentation] = (),
        workers: int = DEFAULT_WORKERS,
        classes: int | None = None,
    ) -> Generator[tuple[Any, Any, Any]]:
        """The batches (x, y, weight) of an epoch, in the order of (seed, epoch), from batch `start` on.

        The arrays are good until the next batch. With several inputs, x is a tuple; the weight is None if
        samples are not weighted. Where samples are to be read or augmented, `workers` threads do that ahead;
        they end when the generator is closed. Targets that are mixed become shares of `classes`.
        """
        samples = self._in_epoch(seed, epoch)
        numbers = range(start, batch_count(self, batch_size, drop_last=False))
        order = order_batches(epoch_order(samples, seed, epoch, batch_size), batch_size, numbers)
        if not need_preparing(samples, augment):
            prepared = _gathered_batches(samples, order, min(batch_size, len(self)))
        else:
            prepared = self._prepared(samples, order, augment, seed, epoch, workers, classes)
        for found in prepared:
            yield self._batch_of(found)

    def drawn(
        self,
        rate: float,
        batches: int,
        seed: int,
        epoch: int,
        start: int = 0,
        augment: Sequence[Augmentation] = (),
        workers: int = DEFAULT_WORKERS,
    ) -> Generator[tuple[Any, Any, Any]]:
        """The batches (x, y, weight) of an epoch, each a Poisson sample of all samples, from batch `start`
        on.

        Some have fewer samples, some more, and one may have none; apart from that as `shuffled`.

        Args:
            rate: the probability with which a sample is in a batch.
            batches: how many batches an epoch has.
        """
        samples = self._in_epoch(seed, epoch)
        orders = [poisson_sample(len(self), rate, seed, "poisson", epoch, n) for n in range(start, batches)]
        full = iter([order for order in orders if len(order)])
        if not need_preparing(samples, augment):
            prepared: Iterator[Any] = (tuple(array[order] for array in samples) for order in full)
        else:
            prepared = self._prepared(samples, full, augment, seed, epoch, workers)
        for order in orders:
            if len(order):
                yield self._batch_of(next(prepared))
            else:
                yield self._batch_of([np.empty((0, *item.shape[1:]), item.dtype) for item in samples])

    def _in_epoch(self, seed: int, epoch: int) -> list[Any]:
        """Inputs, targets and weights as they are in an epoch, one after the other."""
        arrays = (*self.inputs, *leaves(self.labelled()).values(), *leaves(self.weight).values())
        return list(all_in_epoch(arrays, seed, epoch))

    def _prepared(
        self,
        samples: Sequence[Any],
        order: Iterator[np.ndarray],
        augment: Sequence[Augmentation],
        seed: int,
        epoch: int,
        workers: int,
        classes: int | None = None,
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Batches that are read or augmented, by threads and ahead."""
        target = leaves(self.labelled())
        return prepared_batches(
            samples,
            order,
            augment,
            seed=seed,
            epoch=epoch,
            workers=workers,
            has_target=len(self.inputs) == len(target) == 1 and "" in target,
            classes=classes,
        )

    def _batch_of(self, found: Sequence[Any]) -> tuple[Any, Any, Any]:
        """The batch (x, y, weight) that arrays one after the other are."""
        count, goals = len(self.inputs), len(leaves(self.labelled()))
        x = found[0] if count == 1 else tuple(found[:count])
        y = filled(self.labelled(), found[count : count + goals])
        return x, y, filled(self.weight, found[count + goals :])

    def parts(self, size: int, workers: int = DEFAULT_WORKERS) -> Iterator[Samples]:
        """The samples in their order, some at a time: arrays not copied, others read ahead, and as long as
        the longest of them."""
        spans = [(start, start + size) for start in range(0, len(self), size)]
        if not need_preparing((*self.inputs, *leaves(self.target).values()), ()):
            return (self._between(*span) for span in spans)
        return ahead((functools.partial(self._read, *span) for span in spans), workers)

    def _read(self, start: int, stop: int) -> Samples:
        part = self._between(start, stop)
        arrays = (*part.inputs, *leaves(part.target).values(), *leaves(part.weight).values())
        found = iter(gathered_together(arrays, Widths(arrays), np.arange(len(part))))
        inputs = tuple(next(found) for _ in part.inputs)
        target = filled(part.target, [next(found) for _ in leaves(part.target)])
        return Samples(inputs, target, weight=filled(part.weight, list(found)))

    def by_length(self) -> tuple[Samples, np.ndarray]:
        """The same samples, those of about one length together, and which each of them was; as they are if
        none is longer than another."""
        order = np.arange(len(self))
        found = Widths((*self.inputs, *leaves(self.target).values())).by_length(order)
        return (self, order) if found is order else (self.take(found), found)

    def fingerprint(self) -> dict[str, Any]:
        """What tells these samples from others: counts, shapes, types and a digest of some of them."""
        digest = hashlib.sha256()
        some = np.unique(np.linspace(0, len(self) - 1, 64).astype(np.int64))
        for array in (*self.inputs, *leaves(self.labelled()).values(), *leaves(self.weight).values()):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array[some]).tobytes())
            if isinstance(array, Source) and (blocks := array.blocks()) is not None:  # they decide the order
                digest.update(f"{blocks[0][some].tolist()}{blocks[1]}".encode())
        return {"samples": len(self), "digest": digest.hexdigest()}


def _gathered_batches(
    samples: Sequence[Any], order: Iterator[np.ndarray], rows: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Rows of arrays, in the same buffers for each batch."""
    buffers = [np.empty((rows, *array.shape[1:]), array.dtype) for array in samples]
    for indices in order:
        # Every index is in range; "clip" lets NumPy write to `out` without its own buffer.
        yield tuple(
            np.take(array, indices, axis=0, out=buffer[: len(indices)], mode="clip")
            for array, buffer in zip(samples, buffers, strict=True)
        )


def _taken(x: np.ndarray | Source, indices: np.ndarray) -> np.ndarray | Source:
    return x.take(indices) if isinstance(x, Source) else x[indices]


def as_inputs(x: Any, model: Layer | Network | None = None) -> Inputs:
    """An array, or a source, for each input, from one, a tuple or a dict of them.

    Raises:
        DataError, DtypeError: one is no array of numbers.
    """
    items = inputs_of(model, x) if model is not None else tuple(leaves(x).values()) or (x,)
    names = ["input"] if len(items) == 1 else [f"input {number + 1}" for number in range(len(items))]
    return tuple(
        item if isinstance(item, Source) else as_array(item, name)
        for item, name in zip(items, names, strict=True)
    )


def check_one_pair(second: object, call: str) -> None:
    """Check that targets were not passed as their own argument, as other frameworks have them.

    Args:
        second: what was passed behind the data.
        call: the method that was called.

    Raises:
        UsageError: it is an array.
    """
    if isinstance(second, (list, tuple)) or getattr(second, "ndim", None):
        raise UsageError(
            f"{call} takes samples and targets as one argument, but got an array as its second.",
            fix=f"pass a pair: trainer.{call}((x, y)).",
        )
