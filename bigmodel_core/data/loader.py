"""Batches of a split as arrays, for loops of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation, mixable, mixes
from bigmodel_core.data.prefetch import DEFAULT_WORKERS, need_preparing, prepared_batches
from bigmodel_core.data.ragged import free_axis
from bigmodel_core.data.sampling import batch_count, batches
from bigmodel_core.data.source import Source, all_in_epoch
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import filled, leaves
from bigmodel_core.errors import ShapeError, UsageError
from bigmodel_core.registry.config import make_list


@dataclass(frozen=True)
class Loader:
    """Batches of a split as arrays.

    Args:
        split, batch_size, shuffle_seed, drop_last: as for `batches`.
        augment: augmentations or their names, applied to x in this order; the shuffle seed keys them too.
        workers: threads that prepare batches ahead, if samples are read or augmented; 0 for none.
            The batches are the same for any number.

    Raises:
        ConfigError, DataError: as `batches`, when the loader is made.
        UsageError: an augmentation mixes targets that are whole numbers, and the split does not say whether
            they are classes, and how many; or there are augmentations, and several inputs.

    >>> from bigmodel_core.data.split import Split
    >>> loader = Loader(Split(np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])), batch_size=2)
    >>> [(x.shape, y.tolist()) for x, y in loader]
    [((2, 2), [0, 1]), ((1, 2), [0])]
    """

    split: Split
    batch_size: int
    shuffle_seed: int | None = None
    drop_last: bool = False
    augment: Sequence[Augmentation | str] = ()
    workers: int = DEFAULT_WORKERS
    _changes: list[Augmentation] = field(init=False, repr=False, compare=False)
    _classes: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        batch_count(self.split, self.batch_size, self.drop_last)
        object.__setattr__(self, "_changes", make_list("augmentation", self.augment))
        if self._changes and len(self.split.inputs) > 1:
            raise UsageError(
                f"the samples have {len(self.split.inputs)} inputs, and augmentations change one.",
                fix="leave augment out, and change the samples before they are loaded.",
            )
        object.__setattr__(self, "_classes", _classes_of(self.split) if mixes(self._changes) else None)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return batch_count(self.split, self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.epoch(0)

    def epoch(
        self, epoch: int = 0, *, start: int = 0, out: tuple[Any, Any] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """The batches (x, y) of one epoch, or (x, y, weight) if the split has weights; y is None if it has no
        targets, and x and y are a tuple or a dict if there are several.

        Args:
            epoch: number of the epoch; keys the order.
            start: number of the first batch to give.
            out: arrays (x, y) of `batch_size` rows and the dtypes of the split; of labels that are mixed,
                float32 with a share of each class. Each batch is written there and given as a view of the
                first rows, good until the next batch. None: fresh arrays.

        Raises:
            ShapeError: arrays in `out` that do not fit the batches, as none fits those of unequal length.
        """
        x, y, weight = self.split.x, self.split.y, self.split.weight
        order = batches(
            self.split,
            self.batch_size,
            shuffle_seed=self.shuffle_seed,
            epoch=epoch,
            drop_last=self.drop_last,
            start=start,
        )
        inputs = len(self.split.inputs)
        count = inputs + len(leaves(y))
        arrays = [*self.split.inputs, *leaves(y).values(), *leaves(weight).values()]
        if self.shuffle_seed is not None:
            arrays = all_in_epoch(arrays, self.shuffle_seed, epoch)
        buffers = self._buffers(out) + [None] * (len(arrays) - count)
        found = self._arrays(arrays, order, epoch, buffers)
        pairs = (
            (filled(x, batch[:inputs]), filled(y, batch[inputs:count]), batch[count:]) for batch in found
        )
        if weight is None:
            return ((x, y) for x, y, _ in pairs)
        return ((x, y, filled(weight, rest)) for x, y, rest in pairs)

    def _arrays(
        self,
        arrays: Sequence[np.ndarray | Source],
        order: Iterator[np.ndarray],
        epoch: int,
        buffers: Sequence[np.ndarray | None],
    ) -> Iterator[Sequence[np.ndarray]]:
        """For each batch the rows of some arrays, written to buffers where there are some."""
        if not need_preparing(arrays, self._changes):
            return ([_take(*pair, batch) for pair in zip(arrays, buffers, strict=True)] for batch in order)
        found = prepared_batches(
            arrays,
            order,
            self._changes,
            seed=self.shuffle_seed or 0,
            epoch=epoch,
            workers=self.workers,
            has_target="" in leaves(self.split.y) and "" in leaves(self.split.x),
            classes=self._classes,
        )
        return ([_kept(*pair) for pair in zip(batch, buffers, strict=True)] for batch in found)

    def _buffers(self, out: tuple[Any, Any] | None) -> list[np.ndarray | None]:
        """What x and each of the targets are written to.

        Raises:
            ShapeError: they do not fit.
        """
        targets, samples = leaves(self.split.y), leaves(self.split.x)
        if out is None:
            return [None] * (len(samples) + len(targets))
        x, given = leaves(out[0]), leaves(out[1])
        for path, array in samples.items():
            _check_buffer(f"x '{path[1:]}'" if path else "x", x.get(path), array, self.batch_size)
        for path, array in targets.items():
            if mixes(self._changes):
                array = mixable(np.empty((0, *array.shape[1:]), array.dtype), self._classes)
            _check_buffer(f"y '{path[1:]}'" if path else "y", given.get(path), array, self.batch_size)
        return [*(x[path] for path in samples), *(given[path] for path in targets)]


def _classes_of(split: Split) -> int | None:
    """How many classes the targets of a split have; None if they are no labels.

    Raises:
        UsageError: they are whole numbers, and nothing says whether they are labels, and of how many classes.
    """
    kinds, encoding = [array.dtype.kind for array in leaves(split.y).values()], split.encoding
    task = None if encoding is None else encoding.task
    if kinds not in (["i"], ["u"]) or task in ("binary", "regression"):
        return None
    if task is None or encoding is None or encoding.labels is None:
        raise UsageError(
            "an augmentation mixes targets, and nothing says of how many classes these whole numbers are.",
            fix="pass a share of each class, np.eye(classes, dtype='float32')[y]; or, if they are no"
            " classes, y.astype('float32').",
        )
    return len(encoding.labels)


def _take(x: Any, out: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    # Every index is in range; "clip" lets NumPy write to `out` without its own buffer.
    return np.take(x, indices, axis=0, out=None if out is None else out[: len(indices)], mode="clip")


def _kept(batch: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return batch
    out[: len(batch)] = batch
    return out[: len(batch)]


def _check_buffer(name: str, buffer: np.ndarray | None, source: np.ndarray | Source, batch_size: int) -> None:
    if (axis := free_axis(source)) is not None:
        raise ShapeError(
            f"the samples for {name} differ in length ({axis}), and a buffer has one.",
            where="Loader",
            fix="leave out out=.",
        )
    expected = (batch_size, *source.shape[1:])
    if buffer is None or buffer.shape != expected or buffer.dtype != source.dtype:
        found = "None" if buffer is None else f"{buffer.dtype} {buffer.shape}"
        raise ShapeError(
            f"the buffer for {name} is {found}, expected {source.dtype} {expected}.", where="Loader"
        )
