"""Folds: each sample is held out once, and trained on otherwise (cross-validation)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.sampling import permutation
from bigmodel_core.errors import ConfigError, DataError


def folds(data: Data, count: int = 5, seed: int = 0, *, groups: str | None = None) -> list[Data]:
    """The data `count` times, each time with another part of the training samples as validation split.

    Classes are held out in proportion, within one sample; with `groups`, samples that share the cell of a
    column are all in one part, and parts are as equal in size as groups allow. A validation split that the
    data have takes no part, nor do test samples. What was fitted to the training samples, such as the scaling
    of numbers, stays as it is.

    Args:
        data: what to train on.
        count: how many parts, at least 2.
        seed: key of the choice.
        groups: a column of `data.train.columns`.

    Raises:
        ConfigError: the count makes no sense, or there is no such column.
        DataError: too few samples or groups, or samples in an order, as those of a time series.

    >>> import bigmodel_core as bm
    >>> digits = bm.datasets.load("digits")
    >>> [len(fold.validation) for fold in folds(digits, 4)], len(digits.train)
    ([360, 360, 359, 359], 1438)
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 2:
        raise ConfigError(
            f"there are to be {count!r} folds, expected a whole number of at least 2.", where="folds"
        )
    train = data.train
    if train.reach is not None:
        raise DataError(
            "its samples follow each other, and folds would be predicted from what comes after them.",
            where=data.name,
            fix="hold the end out: fit(data, validation=0.2).",
            shell="hold the end out with --validation 0.2.",
        )
    if groups is not None:
        dealt = _groups_dealt(data, int(count), int(seed), groups)
    else:
        y = train.y
        are_classes = isinstance(y, np.ndarray) and y.ndim == 1 and data.task != "regression"
        dealt = _dealt(len(train), int(count), int(seed), y if are_classes else None)
    if len(np.unique(dealt)) < count:
        raise DataError(
            f"{len(train)} samples are too few for {count} folds.", where=data.name, fix="use fewer folds."
        )
    return [
        replace(
            data,
            train=train.take(np.flatnonzero(dealt != number)),
            validation=train.take(np.flatnonzero(dealt == number)),
        )
        for number in range(count)
    ]


def _dealt(n: int, count: int, seed: int, classes: np.ndarray | None) -> np.ndarray:
    """The part of each sample: dealt one by one, class after class."""
    order = permutation(n, seed, "folds")
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    found = np.empty(n, np.int64)
    found[order] = np.arange(n) % count
    return found


def _groups_dealt(data: Data, count: int, seed: int, column: str) -> np.ndarray:
    """The same of groups: the largest first, each to the part that is smallest then."""
    cells = data.train.columns.get(column)
    if cells is None:
        known = ", ".join(data.train.columns) or "none"
        raise ConfigError(
            f"{data.name} has no column '{column}' that tells groups apart; there are: {known}.",
            where="groups",
            fix="name one of them.",
        )
    _, numbers, sizes = np.unique(np.asarray(cells), return_inverse=True, return_counts=True)
    if len(sizes) < count:
        raise DataError(
            f"the column '{column}' has {len(sizes)} groups, too few for {count} folds.",
            where=data.name,
            fix="use fewer folds.",
        )
    order = permutation(len(sizes), seed, "folds")
    part_of, held = np.empty(len(sizes), np.int64), np.zeros(count, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        part_of[group] = part = int(held.argmin())
        held[part] += sizes[group]
    return part_of[numbers.reshape(-1)]
