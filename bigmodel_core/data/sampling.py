"""Which samples, in what order: keyed permutations, held-out samples and batches.

Every choice is a pure function of its key (seed, purpose, epoch), so it is the same on every machine, in a
resumed run and for any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation, mixes
from bigmodel_core.data.prefetch import DEFAULT_WORKERS, need_preparing, prepared_batches
from bigmodel_core.data.source import Source
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import filled, leaves
from bigmodel_core.errors import ConfigError, DataError, ShapeError, UsageError
from bigmodel_core.registry.config import make_list


def permutation(n: int, *key: int | str) -> np.ndarray:
    """The numbers 0 to n - 1 in an order that depends on `key` alone.

    Sorts words of the counter-based generator Philox (Salmon et al., 2011): its words are fixed,
    which NumPy does not promise of its shuffles.

    Returns:
        (n,) int64.

    >>> sorted(permutation(5, 7, "shuffle", 0).tolist())
    [0, 1, 2, 3, 4]
    >>> np.array_equal(permutation(100, 7, "shuffle", 0), permutation(100, 7, "shuffle", 1))
    False
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    words = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), "<u8")
    keys = np.random.Philox(key=words.astype(np.uint64)).random_raw(n)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)


def split_indices(
    n: int, fraction: float, seed: int, *, classes: np.ndarray | None = None, reach: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits 0 to n - 1 in two: those kept and a `fraction` held out, each in ascending order.

    Samples of a time series or a text are held out at the end, and as many before them are left out of both
    parts as share something with them.

    Args:
        n: how many samples there are, at least 2. Each part gets at least one.
        fraction: share to hold out, between 0 and 1.
        seed: key of the choice.
        classes: (n,) labels; each class is then held out in proportion, within one sample.
        reach: how many of the following samples overlap with a sample, if samples are ordered;
            None if they do not, and are held out at random.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: fewer than two samples, or none is left to keep.

    >>> kept, held_out = split_indices(10, 0.3, seed=0)
    >>> len(kept), len(held_out), set(kept.tolist()) & set(held_out.tolist())
    (7, 3, set())
    >>> [part.tolist() for part in split_indices(10, 0.2, seed=0, reach=3)]
    [[0, 1, 2, 3, 4], [8, 9]]
    """
    if not 0.0 < fraction < 1.0:
        raise ConfigError(f"the fraction to hold out is {fraction}, expected more than 0 and less than 1.")
    if n < 2:
        raise DataError(
            f"cannot split {n} sample{'' if n == 1 else 's'} in two.", fix="use at least two samples."
        )
    count = min(max(round(n * fraction), 1), n - 1)
    if reach is not None:
        if n - count - reach < 1:
            raise DataError(
                f"{n} samples leave none to keep when {count} at the end and {reach} before them, which they"
                " overlap, are held out.",
                fix="use a longer series or text, shorter samples, a smaller fraction, or none.",
            )
        return np.arange(n - count - reach), np.arange(n - count, n)
    order = permutation(n, int(seed), "split")
    if classes is not None:
        if classes.shape != (n,):
            raise ShapeError(f"classes have shape {classes.shape}, expected ({n},).")
        order = order[np.argsort(classes[order], kind="stable")]
    # Evenly spaced positions in class order: each class gives its share, the total is exact.
    is_held_out = np.zeros(n, bool)
    is_held_out[order[((2 * np.arange(count) + 1) * n) // (2 * count)]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def batches(
    split: Split,
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
    epoch: int = 0,
    drop_last: bool = False,
    start: int = 0,
) -> Iterator[np.ndarray]:
    """The indices of each batch of one epoch, (batch_size,) int64; the last batch may be smaller.

    Args:
        split: what to draw from.
        batch_size: samples in a batch, at least 1.
        shuffle_seed: None keeps the order of the split; else each (seed, epoch) has its own order.
        epoch: number of the epoch, from 0.
        drop_last: leave out a last batch that is not full.
        start: number of the first batch to give; a resumed epoch continues with it.

    Raises:
        ConfigError: a batch size below 1.
        DataError: an empty split, or no batch left because of `drop_last`.

    >>> from bigmodel_core.data.split import Split
    >>> [batch.tolist() for batch in batches(Split(np.zeros((5, 1))), 2)]
    [[0, 1], [2, 3], [4]]
    """
    count = _batch_count(split, batch_size, drop_last)
    return _batches(len(split), batch_size, shuffle_seed, epoch, range(start, count))


def _batches(
    n: int, batch_size: int, shuffle_seed: int | None, epoch: int, numbers: range
) -> Iterator[np.ndarray]:
    order = np.arange(n) if shuffle_seed is None else permutation(n, int(shuffle_seed), "shuffle", int(epoch))
    for number in numbers:
        yield order[number * batch_size : (number + 1) * batch_size]


def _batch_count(split: Split, batch_size: int, drop_last: bool) -> int:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ConfigError(
            f"the batch size is {batch_size!r}, expected an integer of at least 1.",
            fix="pass a positive batch size, such as 64.",
        )
    n = len(split)
    if n == 0:
        raise DataError(
            "there are no samples to make a batch of.", fix="pass a split with at least one sample."
        )
    if drop_last and n < batch_size:
        raise DataError(
            f"{n} samples do not fill a batch of {batch_size}.",
            fix="use a smaller batch size, or drop_last=False.",
        )
    return n // batch_size if drop_last else -(-n // batch_size)


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
            they are classes, and how many.

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
        _batch_count(self.split, self.batch_size, self.drop_last)
        object.__setattr__(self, "_changes", make_list("augmentation", self.augment))
        object.__setattr__(self, "_classes", _classes_of(self.split) if mixes(self._changes) else None)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return _batch_count(self.split, self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.epoch(0)

    def epoch(
        self, epoch: int = 0, *, start: int = 0, out: tuple[np.ndarray, Any] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """The batches (x, y) of one epoch, or (x, y, weight) if the split has weights; y is None if it has no
        targets, and a tuple or a dict if it has several.

        Args:
            epoch: number of the epoch; keys the order.
            start: number of the first batch to give.
            out: arrays (x, y) of `batch_size` rows and the dtypes of the split. Each batch is written there
                and given as a view of the first rows, good until the next batch. None: fresh arrays.

        Raises:
            ShapeError: arrays in `out` that do not fit the split.
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
        count = 1 + len(leaves(y))
        arrays = [x, *leaves(y).values(), *leaves(weight).values()]
        buffers = self._buffers(out) + [None] * (len(arrays) - count)
        found = self._arrays(arrays, order, epoch, buffers)
        pairs = ((batch[0], filled(y, batch[1:count]), batch[count:]) for batch in found)
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
            has_target="" in leaves(self.split.y),
            classes=self._classes,
        )
        return ([_kept(*pair) for pair in zip(batch, buffers, strict=True)] for batch in found)

    def _buffers(self, out: tuple[np.ndarray, Any] | None) -> list[np.ndarray | None]:
        """What x and each of the targets are written to.

        Raises:
            ShapeError: they do not fit.
        """
        targets = leaves(self.split.y)
        if out is None:
            return [None] * (1 + len(targets))
        x, given = out[0], leaves(out[1])
        _check_buffer("x", x, self.split.x, self.batch_size)
        for path, array in targets.items():
            _check_buffer(f"y '{path[1:]}'" if path else "y", given.get(path), array, self.batch_size)
        return [x, *(given[path] for path in targets)]


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
    expected = (batch_size, *source.shape[1:])
    if buffer is None or buffer.shape != expected or buffer.dtype != source.dtype:
        found = "None" if buffer is None else f"{buffer.dtype} {buffer.shape}"
        raise ShapeError(
            f"the buffer for {name} is {found}, expected {source.dtype} {expected}.", where="Loader"
        )
