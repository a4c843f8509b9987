"""Which samples, in what order: keyed permutations, held-out samples and batches.

Every choice is a pure function of its key (seed, purpose, epoch), so it is the same on every machine, in a
resumed run and for any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Sized

import numpy as np

from bigmodel_core.data.ragged import Widths
from bigmodel_core.data.source import Source, all_in_epoch, blocks_of
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import leaves
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
    return np.argsort(_words(n, *key), kind="stable").astype(np.int64, copy=False)


def _words(n: int, *key: int | str) -> np.ndarray:
    """n random words of 64 bits that depend on `key` alone."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    words = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), "<u8")
    return np.asarray(np.random.Philox(key=words.astype(np.uint64)).random_raw(n))


def shuffled(n: int, seed: int, epoch: int, blocks: tuple[np.ndarray, int] | None = None) -> np.ndarray:
    """The numbers 0 to n - 1 in the order of (seed, epoch), in which few blocks are in use at a time.

    The blocks take turns in an order of their own. Each sample comes when its block does, or up to as many
    turns later as there are blocks at hand; the samples of the first turns and of the last wait until that
    many blocks are mixed. If all blocks are at hand, the order is the same as without any.

    Args:
        n: how many samples there are.
        seed, epoch: key of the order.
        blocks: the block of each sample and how many are at hand; see `Source.blocks`.

    >>> order = shuffled(12, 0, 0, (np.arange(12) // 3, 1))
    >>> [sorted(part) for part in order.reshape(4, 3).tolist()]
    [[0, 1, 2], [6, 7, 8], [9, 10, 11], [3, 4, 5]]
    """
    words = _words(n, seed, "shuffle", epoch)
    if blocks is not None and n:
        numbers, held = blocks
        is_used = np.bincount(numbers) > 0
        count = int(is_used.sum())
        if held < count:
            turns = np.zeros(len(is_used), np.uint64)
            turns[is_used] = permutation(count, seed, "blocks", epoch) + 1
            words = _times(turns[numbers], words, held, count)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


def _times(turns: np.ndarray, words: np.ndarray, held: int, count: int) -> np.ndarray:
    """When samples come, in units of 2^-32 turns, so that the order is one of integers: the upper half of a
    word is the delay after the turn of the block, the lower orders those that wait for each other."""
    half = np.uint64(32)
    times = (turns << half) + (words >> half) * np.uint64(held)
    words &= np.uint64(2**32 - 1)
    is_early, is_late = times < np.uint64(held << 32), times >= np.uint64(count << 32)
    times[is_early] = words[is_early] + np.uint64((held - 1) << 32)
    times[is_late] = words[is_late] + np.uint64(count << 32)
    return times


def poisson_sample(n: int, rate: float, *key: int | str) -> np.ndarray:
    """Each of the numbers 0 to n - 1 with the same probability, whatever the others do; maybe none.

    Args:
        n: how many there are.
        rate: the probability, from 0 to 1.
        key: decides the choice.

    >>> poisson_sample(10, 0.25, 7).tolist(), poisson_sample(10, 0.0, 7).tolist()
    ([0, 4], [])
    """
    if rate >= 1:
        return np.arange(n)
    return np.flatnonzero(_words(n, *key) < np.uint64(int(rate * 2**64)))


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


def split_groups(groups: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits the numbers of samples in two: those kept and about a `fraction` held out, each in ascending
    order, so that samples of one group are all on one side.

    Args:
        groups: (n,) what group each sample is of, at least 2 groups.
        fraction: share of the samples to hold out; as many groups, in an order of the seed, as come nearest.
        seed: key of the choice.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: there is only one group.

    >>> kept, held_out = split_groups(np.array(["a", "b", "a", "c", "b", "a"]), 0.3, seed=0)
    >>> held_out.tolist()
    [3]
    """
    if not 0.0 < fraction < 1.0:
        raise ConfigError(f"the fraction to hold out is {fraction}, expected more than 0 and less than 1.")
    _, numbers, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    numbers = numbers.reshape(-1)
    if len(sizes) < 2:
        raise DataError("there is one group alone, and two parts need two.", fix="split without groups.")
    order = permutation(len(sizes), int(seed), "split")
    after = np.cumsum(sizes[order])[:-1]
    count = int(np.abs(after - fraction * len(numbers)).argmin()) + 1
    is_out = np.isin(numbers, order[:count])
    return np.flatnonzero(~is_out), np.flatnonzero(is_out)


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
        shuffle_seed: None keeps the order of the split; else each (seed, epoch) has its own order. Samples
            that are read in blocks are mixed some blocks at a time (`Source.blocks`). Those of unequal length
            (`Source.lengths`) are put into batches of about one length.
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
    samples = [*split.inputs, *leaves(split.y).values(), *leaves(split.weight).values()]
    if shuffle_seed is not None:
        samples = all_in_epoch(samples, int(shuffle_seed), int(epoch))
    order = epoch_order(samples, shuffle_seed, epoch, batch_size)
    return order_batches(order, batch_size, range(start, count))


POOL = 64
"""Batches whose samples are put together by length."""


def epoch_order(
    samples: Sequence[np.ndarray | Source], shuffle_seed: int | None, epoch: int, batch_size: int
) -> np.ndarray:
    """The order of an epoch of samples and all that belongs to them, arrays or sources of one length.

    Samples that differ in length are shuffled first; of each `POOL` batches that follow each other then, the
    samples are sorted by length, and the batches so made are shuffled. What does not fill a batch is the end
    of the first order, so that it is nobody's turn more often.
    """
    n = len(samples[0])
    if shuffle_seed is None:
        return np.arange(n)
    seed, epoch = int(shuffle_seed), int(epoch)
    order, widths = shuffled(n, seed, epoch, blocks_of(samples)), Widths(samples)
    full = n - n % batch_size
    if not widths.by_axis or full == 0:
        return order
    size = POOL * batch_size
    pools = [widths.by_length(order[start : min(start + size, full)]) for start in range(0, full, size)]
    made = np.concatenate(pools).reshape(-1, batch_size)
    return np.concatenate([made[permutation(len(made), seed, "lengths", epoch)].ravel(), order[full:]])


def order_batches(order: np.ndarray, batch_size: int, numbers: range) -> Iterator[np.ndarray]:
    """The batches of some numbers of an order."""
    for number in numbers:
        yield order[number * batch_size : (number + 1) * batch_size]


def without_single(batch_size: int, samples: int) -> int:
    """A batch size that leaves no last batch of one sample, which has no variance to normalise by.

    Args:
        batch_size: what was asked for; it is made larger where that is needed.
        samples: how many there are.

    >>> without_single(32, 64), without_single(32, 65), without_single(32, 5)
    (32, 33, 32)
    """
    size = batch_size
    while 1 < size < samples and samples % size == 1:
        size += 1
    return size


def batch_count(split: Sized, batch_size: int, drop_last: bool) -> int:
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
