"""Which samples, in what order: keyed permutations, held-out samples and batches.

Every choice is a pure function of its key (seed, purpose, epoch), so it is the same on every machine, in a
resumed run and for any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from bigmodel_core.data.split import Split
from bigmodel_core.errors import ConfigError, DataError, ShapeError


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
    count = batch_count(split, batch_size, drop_last)
    return _batches(len(split), batch_size, shuffle_seed, epoch, range(start, count))


def _batches(
    n: int, batch_size: int, shuffle_seed: int | None, epoch: int, numbers: range
) -> Iterator[np.ndarray]:
    order = np.arange(n) if shuffle_seed is None else permutation(n, int(shuffle_seed), "shuffle", int(epoch))
    for number in numbers:
        yield order[number * batch_size : (number + 1) * batch_size]


def batch_count(split: Split, batch_size: int, drop_last: bool) -> int:
    """How many batches an epoch has.

    Raises:
        ConfigError, DataError: as `batches`.
    """
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
