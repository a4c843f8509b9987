"""The samples that training and evaluation read: inputs and targets, whole or batch by batch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.data.augmentation import Augmentation
from bigmodel_core.data.dataset import Data
from bigmodel_core.data.prefetch import DEFAULT_WORKERS, ahead, need_preparing, prepared_batches
from bigmodel_core.data.sampling import batches, split_indices
from bigmodel_core.data.source import Source, rows
from bigmodel_core.data.split import Split
from bigmodel_core.errors import ConfigError, DataError, UsageError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.fitting import checked
from bigmodel_core.nn.given import inputs_of
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network

Inputs = tuple[np.ndarray | Source, ...]


class Samples:
    """Inputs and targets of some samples.

    Args:
        inputs: an array for each input of the model, one sample per row, or a source of samples.
        target: one target per sample; None if there are none.
        reach: with how many of those that follow it a sample shares something; see `Split`.

    Raises:
        DataError: there is no sample, or the arrays differ in length.
    """

    def __init__(self, inputs: Inputs, target: np.ndarray | None, reach: int | None = None) -> None:
        if not inputs or any(array.ndim == 0 for array in inputs):
            raise DataError(
                "the input is not an array of samples.",
                fix="pass arrays with one sample per row of the first axis.",
            )
        self.inputs, self.target, self.reach = inputs, target, reach
        lengths = {len(array) for array in inputs} | ({len(target)} if target is not None else set())
        if len(lengths) > 1:
            raise DataError(
                f"inputs and targets differ in length: {', '.join(map(str, sorted(lengths)))}.",
                fix="pass one target for each sample.",
            )
        if len(self) == 0:
            raise DataError("there are no samples.", fix="pass at least one sample.")

    def __len__(self) -> int:
        return len(self.inputs[0])

    @classmethod
    def of(cls, data: Any, what: str = "data", model: Layer | Network | None = None) -> Samples:
        """The samples of whatever a user may pass for some.

        Args:
            data: a Split, the Data whose training split is meant, or a tuple (x, y) in which x may be a
                tuple of arrays.
            what: what it is for, in messages.
            model: what the samples are for: it says whether a list of arrays is one input or several.

        Raises:
            UsageError: it is none of these.
            DataError: there is no sample, or the arrays do not fit together.
        """
        if isinstance(data, Data):
            data = data.train
        if isinstance(data, Split):
            return cls((data.x,), data.y, data.reach)
        if isinstance(data, tuple) and len(data) == 2:
            x, y = data
            target = None if y is None else as_array(y, f"target of the {what}")
            if target is not None and target.ndim == 0:
                raise DataError(f"the target of the {what} is a single number.", fix="pass one per sample.")
            return cls(as_inputs(x, model), target)
        raise UsageError(
            f"the {what} is a {type(data).__name__}.", fix="pass a Data, a Split or a tuple (x, y) of arrays."
        )

    def fitting(self, network: Network, target: Spec | None) -> Samples:
        """The same samples in the number types of a model, checked against it.

        Args:
            network: the model.
            target: the spec of its targets; None if no targets are needed.

        Raises:
            ShapeError, DtypeError: they do not fit the model.
            DataError: there are no targets.
        """
        inputs = network.check_samples(self.inputs)
        if target is None:
            return Samples(inputs, None)
        return Samples(inputs, checked("target", self.labelled(), target, {"N": len(self)}))

    def labelled(self) -> np.ndarray:
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
            tuple(x.take(indices) if isinstance(x, Source) else x[indices] for x in self.inputs),
            None if self.target is None else self.target[indices],
        )

    def first(self, count: int) -> Samples:
        """The first samples, not copied."""
        return self._between(0, count)

    def _between(self, start: int, stop: int) -> Samples:
        return Samples(
            tuple(rows(x, start, stop) for x in self.inputs),
            None if self.target is None else self.target[start:stop],
        )

    def held_out(self, fraction: float, seed: int) -> tuple[Samples, Samples]:
        """The samples in two parts, of which the second has a fraction of them; classes keep their shares,
        and samples that stand in order are held out at the end.

        Raises:
            ConfigError: the fraction is not between 0 and 1.
            DataError: too few samples.
        """
        y = self.target
        classes = y if y is not None and y.ndim == 1 and y.dtype.kind in "iub" else None
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
    ) -> Generator[tuple[Any, np.ndarray]]:
        """The batches (x, y) of an epoch, in the order of (seed, epoch), from batch `start` on.

        The arrays are good until the next batch. With several inputs, x is a tuple. Where samples are to be
        read or augmented, `workers` threads do that ahead; they end when the generator is closed.
        """
        samples = (*self.inputs, self.labelled())
        same_length: Any = self  # everything that `batches` asks of a split is its length
        order = batches(same_length, batch_size, shuffle_seed=seed, epoch=epoch, start=start)
        prepared = (
            prepared_batches(samples, order, augment, seed=seed, epoch=epoch, workers=workers)
            if need_preparing(samples, augment)
            else _gathered_batches(samples, order, min(batch_size, len(self)))
        )
        for found in prepared:
            yield found[0] if len(found) == 2 else found[:-1], found[-1]

    def parts(self, size: int, workers: int = DEFAULT_WORKERS) -> Iterator[Samples]:
        """The samples in their order, some at a time: arrays not copied, others read ahead."""
        spans = [(start, start + size) for start in range(0, len(self), size)]
        if not need_preparing(self.inputs, ()):
            return (self._between(*span) for span in spans)
        return ahead((functools.partial(self._read, *span) for span in spans), workers)

    def _read(self, start: int, stop: int) -> Samples:
        part = self._between(start, stop)
        return Samples(tuple(np.asarray(x) for x in part.inputs), part.target)

    def fingerprint(self) -> dict[str, Any]:
        """What tells these samples from others: counts, shapes, types and a digest of some of them."""
        digest = hashlib.sha256()
        some = np.unique(np.linspace(0, len(self) - 1, 64).astype(np.int64))
        for array in (*self.inputs, self.labelled()):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array[some]).tobytes())
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


def as_inputs(x: Any, model: Layer | Network | None = None) -> Inputs:
    """An array, or a source, for each input, from one or a tuple of them.

    Raises:
        DataError, DtypeError: one is no array of numbers.
    """
    items = inputs_of(model, x) if model is not None else x if isinstance(x, tuple) else (x,)
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


def check_batch_size(batch_size: object) -> int:
    """A batch size.

    Raises:
        ConfigError: it is no positive whole number.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ConfigError(
            f"the batch size is {batch_size!r}, expected an integer of at least 1.",
            fix="pass a positive batch size, such as 64.",
        )
    return int(batch_size)
