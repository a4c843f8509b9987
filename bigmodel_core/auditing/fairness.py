"""Whom a classifier treats otherwise: rates by group, and how far apart they are; `bm.fairness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import DataError

FEW = 30
"""Samples below which the rates of a group say little."""
_BINS = 10
_NUMBERS = "biuf"


@dataclass(frozen=True)
class Group:
    """What a classifier does to the samples of a group; rates that nothing is known of are None.

    Args:
        name: of the group; "" for all samples.
        samples: how many there are.
        favourable: the share of them whose true class is the favourable one.
        selection: the share of them that is given it.
        true_positive: the share that is given it, of those whose true class it is.
        false_positive: the share that is given it, of the others.
        accuracy: the share whose class is right.
        probability: the mean probability of the favourable class.
        calibration: how far probabilities are from what came true: the mean distance, over ten ranges of the
            probability, each counting by its samples (expected calibration error).
        is_small: whether there are fewer than 30 samples, so that the rates say little.
    """

    name: str
    samples: int
    favourable: float
    selection: float
    true_positive: float | None
    false_positive: float | None
    accuracy: float
    probability: float | None
    calibration: float | None
    is_small: bool


@dataclass(frozen=True)
class Fairness:
    """Rates of the groups, and how far apart they are: differences between the largest and the smallest,
    ratios of the smallest to the largest. Groups of which a rate is not known do not count in it.

    Args:
        groups: by size, the largest first.
        overall: the same of all samples.
        demographic_parity_difference, demographic_parity_ratio: of the shares that are given the favourable
            class; demographic parity is a difference of 0 and a ratio of 1.
        equal_opportunity_difference: of the true positive rates.
        equalised_odds_difference, equalised_odds_ratio: the worse one of true and false positive rates;
            equalised odds (Hardt et al., 2016) are a difference of 0 and a ratio of 1.
    """

    groups: tuple[Group, ...]
    overall: Group
    demographic_parity_difference: float
    demographic_parity_ratio: float
    equal_opportunity_difference: float
    equalised_odds_difference: float
    equalised_odds_ratio: float

    def to_dict(self) -> dict[str, Any]:
        """The same as values that JSON can hold."""
        return asdict(self)


def report(
    true: Any,
    predicted: Any,
    groups: Any,
    favourable: Any = 1,
    probability: Any = None,
) -> Fairness:
    """What a classifier does to groups of samples.

    Args:
        true, predicted: (n,) the class of each sample, as numbers or words.
        groups: (n,) the group of each sample, likewise.
        favourable: the class that is good for those who are given it.
        probability: (n,) its predicted probability, if there are any.

    Raises:
        DataError: the arrays differ in length, there is one group alone, or no sample; nobody has the
            favourable class or is given it; classes are words here and numbers there; a probability is not
            between 0 and 1.

    >>> import bigmodel_core as bm
    >>> found = bm.fairness.report([1, 1, 0, 0], [1, 0, 0, 0], ["a", "a", "b", "b"])
    >>> found.demographic_parity_difference, [group.selection for group in found.groups]
    (0.5, [0.5, 0.0])
    """
    true, predicted, names = np.asarray(true), np.asarray(predicted), np.asarray(groups)
    is_good, is_given, is_right = true == favourable, predicted == favourable, true == predicted
    chances = None if probability is None else np.asarray(probability, np.float64)
    arrays = [is_good, is_given, names, *([] if chances is None else [chances])]
    if any(array.shape != is_good.shape or array.ndim != 1 for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise DataError(
            f"true classes, predicted ones, groups and probabilities have the shapes {shapes}.",
            where="fairness",
            fix="pass one of each for every sample.",
        )
    texts = names.astype(str)
    found = np.unique(texts).tolist()
    if len(found) < 2:
        raise DataError(
            f"there is {'one group' if found else 'no sample'}, and groups are compared.",
            where="fairness",
            fix="name a column that tells samples apart.",
        )
    first, other = (array.tolist()[0] for array in (true, predicted))
    said = f"the first true class is {first!r}, the first predicted one {other!r}"
    if (true.dtype.kind in _NUMBERS) != (predicted.dtype.kind in _NUMBERS):
        raise DataError(
            f"classes are numbers here and words there: {said}.",
            where="fairness",
            fix="pass both as numbers, or both as words.",
        )
    if not (is_good | is_given).any():
        raise DataError(
            f"no sample has the favourable class {favourable!r}, and none is given it: {said}.",
            where="fairness",
            fix="pass favourable=... as the classes name it.",
        )
    if chances is not None and not ((chances >= 0) & (chances <= 1)).all():
        raise DataError(
            "a probability is not between 0 and 1.",
            where="fairness",
            fix="pass the probability of the favourable class, as predict_proba gives it; it is no score.",
        )

    def group(name: str, where: np.ndarray) -> Group:
        good, given = is_good[where], is_given[where]
        own = None if chances is None else chances[where]
        return Group(
            name,
            len(good),
            float(good.mean()),
            float(given.mean()),
            _mean(given[good]),
            _mean(given[~good]),
            float(is_right[where].mean()),
            None if own is None else float(own.mean()),
            None if own is None else _calibration(own, good),
            len(good) < FEW,
        )

    made = sorted((group(name, texts == name) for name in found), key=lambda item: -item.samples)
    selected = [item.selection for item in made]
    rights = [item.true_positive for item in made if item.true_positive is not None]
    wrongs = [item.false_positive for item in made if item.false_positive is not None]
    return Fairness(
        tuple(made),
        group("", np.ones(len(texts), bool)),
        _difference(selected),
        _ratio(selected),
        _difference(rights),
        max(_difference(rights), _difference(wrongs)),
        min(_ratio(rights), _ratio(wrongs)),
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _difference(rates: Sequence[float]) -> float:
    return max(rates) - min(rates) if rates else 0.0


def _ratio(rates: Sequence[float]) -> float:
    """The smallest by the largest rate; 1 if all are 0."""
    return min(rates) / max(rates) if rates and max(rates) > 0 else 1.0


def _calibration(chances: np.ndarray, good: np.ndarray) -> float:
    bins = np.minimum((chances * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    apart = np.bincount(bins, chances, _BINS) - np.bincount(bins, good, _BINS)
    return float(np.abs(apart).sum() / counts.sum())


__all__ = ["FEW", "Fairness", "Group", "report"]
