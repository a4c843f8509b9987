"""Shapley values: what features add, on average over all orders in which they may come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import UsageError

MOST_FEATURES = 1024
TOGETHER = 256
"""Coalitions times samples that are computed at once."""


@dataclass(frozen=True)
class Shapley(bm.Explainer):
    """What each feature, or each token, adds to the score on average over all orders in which features
    replace those of the baseline (Shapley, 1953): values that add up to what the sample's score is above the
    baseline's. All features that a column of a table became come together; a category replaces "unknown".

    Few features are counted out; of more, orders are drawn in pairs, one the reverse of the other (Castro et
    al., 2009; Mitchell et al., 2022). `deviations` are then the standard errors of the values, which one
    pair of orders does not tell.

    Args:
        pairs: of orders that are drawn.
        seed: of the orders.
        exact: up to so many features all 2 ** features of their sets are computed.
    """

    is_additive: ClassVar[bool] = True
    pairs: int = 25
    seed: int = 0
    exact: int = 10

    def __post_init__(self) -> None:
        bm.check_number(self, "pairs", whole=True, at_least=1)
        bm.check_number(self, "seed", whole=True, at_least=0)
        bm.check_number(self, "exact", whole=True, at_least=0, at_most=20)

    def explain(self, question: bm.Question) -> bm.Attribution:
        shapes, owners, names = _players(question)
        sizes = [math.prod(shape) for shape in shapes]
        count = sum(sizes)
        if count > MOST_FEATURES:
            raise UsageError(
                f"a sample has {count:,} features, more than {MOST_FEATURES:,}.",
                where="shapley",
                fix="use integrated-gradients or occlusion.",
            )
        errors: np.ndarray | None = None
        if count <= self.exact:
            found = self._counted_out(question, owners, count)
        else:
            found, errors = self._drawn(question, owners, count)
        ends = np.cumsum(sizes)[:-1]
        values = [
            part.reshape(len(question), *shape)
            for part, shape in zip(np.split(found, ends, 1), shapes, strict=True)
        ]
        facts: dict[str, Any] = {} if errors is None else {"deviations": errors}
        facts |= {"columns": names} if names else {}
        if question.has_columns or any(question.is_coded):
            return question.answer_by_input(self, values, has_baseline=True, features=count, **facts)
        return question.answer(self, values, has_baseline=True, features=count, **facts)

    def _counted_out(self, question: bm.Question, owners: Sequence[np.ndarray], count: int) -> np.ndarray:
        """(N, features) from the scores of all sets of features."""
        sets = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
        scores = _scores(question, owners, sets)
        sizes = sets.sum(1)
        found = np.zeros((len(question), count))
        for feature in range(count):
            without = np.flatnonzero(~sets[:, feature])
            shares = [
                math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                for size in sizes[without].tolist()
            ]
            found[:, feature] = shares @ (scores[without + 2**feature] - scores[without])
        return found

    def _drawn(
        self, question: bm.Question, owners: Sequence[np.ndarray], count: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(N, features) by some orders, and the standard errors; None for those of one pair."""
        draw = np.random.default_rng(self.seed)
        sums, squares = np.zeros((2, len(question), count))
        for _ in range(self.pairs):
            order = draw.permutation(count)
            pair = np.zeros((len(question), count))
            for way in (order, order[::-1]):
                ranks = np.empty(count, np.int64)
                ranks[way] = np.arange(count)
                sets = ranks < np.arange(count + 1)[:, None]  # the first so many features of the order
                steps = np.diff(_scores(question, owners, sets), axis=0)
                pair[:, way] += steps.T / 2
            sums += pair
            squares += pair**2
        mean = sums / self.pairs
        if self.pairs == 1:
            return mean, None
        spread = np.maximum(squares / self.pairs - mean**2, 0)
        return mean, np.sqrt(spread / (self.pairs - 1))


def _players(question: bm.Question) -> tuple[list[tuple[int, ...]], list[np.ndarray], list[str]]:
    """What comes and goes as one: features, tokens, or all that a column of a table became.

    Returns:
        Of each point, or of each input where there are columns of codes, the shape of its players, and which
        of all players each of its features is; the names of the columns, if players are columns.
    """
    if not question.has_columns and not any(question.is_coded):
        points = zip(question.points, question.is_embedded, strict=True)
        shapes = [array.shape[1:-1] if embedded else array.shape[1:] for array, embedded in points]
        starts = np.cumsum([0, *map(math.prod, shapes)])
        owners = [
            start + np.arange(math.prod(shape)).reshape(shape)
            for start, shape in zip(starts[:-1], shapes, strict=True)
        ]
        return shapes, owners, []
    names: list[str] = []
    shapes, owners = [], []
    for number in range(len(question.inputs)):
        columns, place = question.columns_of(number)
        owners.append(len(names) + place)
        shapes.append((len(columns),))
        names += columns
    return shapes, owners, names if question.has_columns else []


def _scores(question: bm.Question, owners: Sequence[np.ndarray], sets: np.ndarray) -> np.ndarray:
    """(sets, N) the scores where only some players are those of the sample.

    Args:
        question: what is asked.
        owners: of each point, which player each feature is.
        sets: (sets, players) which are.
    """
    samples = np.arange(len(question))
    size = max(1, TOGETHER // len(samples))
    by_input = question.has_columns or any(question.is_coded)
    given = (
        (question.inputs, question.baseline_inputs, (False,) * len(question.inputs))
        if by_input
        else (question.points, question.baselines, question.is_embedded)
    )
    found = []
    for start in range(0, len(sets), size):
        some = sets[start : start + size]
        mixed = []
        for own, base, embedded, of in zip(*given, owners, strict=True):
            is_own = some[:, np.newaxis][..., of]
            both = np.where(is_own[..., None] if embedded else is_own, own, base)
            mixed.append(both.reshape(-1, *own.shape[1:]))
        rows = np.tile(samples, len(some))
        scores = question.scores_of(mixed, rows) if by_input else question.scores(mixed, rows)
        found.append(scores.reshape(len(some), -1))
    return np.concatenate(found)
