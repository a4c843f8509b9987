"""What metrics of sequences compare: tokens, words of texts, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError, ShapeError

NO_TOKEN = -1


def tokens_of(prediction: Any, target: Any, where: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Predicted and true tokens of each sample, without what counts nothing.

    Args:
        prediction: (n, T, V) scores, of whose tokens those count that have a target; or (n, S) tokens, which
            -1 follows where a text has ended.
        target: (n, T) tokens, and -1 for what counts nothing.
        where: name of the metric, for messages.

    Raises:
        ShapeError: they have other shapes.
    """
    found, true = np.asarray(prediction), np.asarray(target)
    is_scores = found.ndim == 3 and found.dtype.kind == "f"
    if true.ndim != 2 or len(found) != len(true) or not (is_scores or found.ndim == 2):
        raise ShapeError(
            f"the prediction is {found.shape} and the target {true.shape}, expected (n, T, V) scores or"
            " (n, T) tokens, and (n, T) tokens.",
            where=where,
        )
    if is_scores and found.shape[:2] != true.shape:
        raise ShapeError(f"scores are {found.shape} and tokens {true.shape}.", where=where)
    counts = true != NO_TOKEN
    own = found.argmax(-1) if is_scores else found
    kept = counts if is_scores else own != NO_TOKEN
    return (
        [row[keep] for row, keep in zip(own, kept, strict=True)],
        [row[keep] for row, keep in zip(true, counts, strict=True)],
    )


def texts_of(
    prediction: Any, target: Any, tokenizer: bm.Tokenizer | None, where: str
) -> list[tuple[str, str]]:
    """Predicted and true texts of each sample.

    Args:
        prediction, target: as for `tokens_of`, or lists of strings.
        tokenizer: what tokens are of; without one the numbers of tokens are the words.
        where: name of the metric, for messages.

    Raises:
        ShapeError: they have other shapes, or there are more of one.
    """
    if _are_texts(prediction) and _are_texts(target):
        if len(prediction) != len(target):
            raise ShapeError(f"{len(prediction)} texts and {len(target)} true ones.", where=where)
        return list(zip(map(str, prediction), map(str, target), strict=True))
    pairs = zip(*tokens_of(prediction, target, where), strict=True)
    if tokenizer is None:
        return [(" ".join(map(str, found)), " ".join(map(str, true))) for found, true in pairs]
    return [(tokenizer.decode(found), tokenizer.decode(true)) for found, true in pairs]


def _are_texts(items: Any) -> bool:
    return isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items)


def added(a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
    """The sums of two states."""
    return {key: a[key] + b[key] for key in a}


def no_samples(where: str) -> DataError:
    """The error about a metric of nothing."""
    return DataError("there are no samples to compute the metric from.", where=where)


def edits(found: Sequence[Any] | np.ndarray, true: Sequence[Any] | np.ndarray) -> int:
    """How many items have to be put in, left out or replaced (Levenshtein, 1966).

    >>> edits("kitten", "sitting")
    3
    """
    left, right = np.asarray(list(found)), np.asarray(list(true))
    places = np.arange(len(right) + 1)
    row = places.copy()
    for number, item in enumerate(left, 1):
        best = np.empty_like(row)
        best[0] = number
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (right != item))
        # What is put in comes from the left: the running minimum, each step to the right costing one.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def common(found: Sequence[str], true: Sequence[str]) -> int:
    """The length of the longest sequence that is in both, in its order, with gaps."""
    right = np.asarray(true)
    row = np.zeros(len(right) + 1, np.int64)
    for item in found:
        best = row.copy()
        best[1:] = np.maximum(row[1:], row[:-1] + (right == item))
        row = np.maximum.accumulate(best)
    return int(row[-1])


def runs(items: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    """All runs of a length."""
    return zip(*(items[start:] for start in range(length)), strict=False)
