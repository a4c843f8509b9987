"""Batches that are prepared while the step before them runs: gathered, decoded and augmented by threads.

Each batch is a function of its key alone, and they come in order, so any number of threads gives the same.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bigmodel_core.data.ragged import Widths, gathered_together
from bigmodel_core.data.source import Source

if TYPE_CHECKING:
    from concurrent.futures import Future

    from bigmodel_core.data.augmentation import Augmentation

Result = TypeVar("Result")

DEFAULT_WORKERS = 1
"""Threads that prepare batches if nobody says otherwise: kernels use every core, and decoding competes."""


def ahead(tasks: Iterable[Callable[[], Result]], workers: int) -> Iterator[Result]:
    """The results of tasks in their order; threads work on those that come next.

    At most two tasks a thread are under way or wait to be taken. An error is raised where its result would
    have come. When the iterator is closed, or ends in any way, its threads end too.

    Args:
        tasks: functions without arguments, called one by one.
        workers: how many threads; with 0 the caller does each task itself.

    >>> list(ahead([lambda: 1, lambda: 2, lambda: 3], workers=2))
    [1, 2, 3]
    """
    if workers == 0:
        for task in tasks:
            yield task()
        return
    from concurrent.futures import ThreadPoolExecutor

    waiting = iter(tasks)
    begun: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="bigmodel-data")
    try:
        begun.extend(pool.submit(task) for task in islice(waiting, 2 * workers))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(task) for task in islice(waiting, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def need_preparing(samples: Iterable[np.ndarray | Source], augment: Sequence[Augmentation]) -> bool:
    """Whether batches are more than rows of arrays, so that preparing them ahead pays."""
    return bool(augment) or any(isinstance(item, Source) for item in samples)


def prepared_batches(
    samples: Sequence[np.ndarray | Source],
    order: Iterable[np.ndarray],
    augment: Sequence[Augmentation] = (),
    *,
    seed: int = 0,
    epoch: int = 0,
    workers: int = DEFAULT_WORKERS,
    has_target: bool = False,
    classes: int | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """For each batch of indices an array of each of some samples; those of unequal length are as long as the
    longest of the batch.

    Args:
        samples: what to take from; all of one length.
        order: the indices of each batch.
        augment: applied to the arrays of the first, in this order.
        seed, epoch: key their random numbers, together with the indices.
        workers: how many threads prepare batches; 0 for none.
        has_target: whether the second of the samples are the only targets of the first.
        classes: how many classes those have, if they are to be mixed.
    """

    widths = Widths(samples)

    def batch(indices: np.ndarray) -> tuple[np.ndarray, ...]:
        found = gathered_together(samples, widths, indices)
        if augment:
            from bigmodel_core.data.augmentation import augmented_pair

            y = found[1] if has_target else None
            found[0], target = augmented_pair(found[0], y, augment, seed, epoch, indices, classes)
            if target is not None:
                found[1] = target
        return tuple(found)

    return ahead((functools.partial(batch, indices) for indices in order), workers)
