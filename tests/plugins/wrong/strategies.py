"""Strategies with one fault each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import bigmodel_core as bm
from tests.plugins.wrong.table import fault, sound


def greedy(scores: np.ndarray, step: int) -> np.ndarray:
    chosen: np.ndarray = scores.argmax(-1)
    return chosen


@sound(None, greedy)
class MostProbable(bm.Strategy):
    """The most probable token."""

    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        return greedy(scores, step)


@fault("a strategy that takes the least probable token", "reference", "step 0: ", None, greedy)
class Least(bm.Strategy):
    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        return np.where(np.isfinite(scores), scores, np.inf).argmin(-1)


@fault("a strategy that gives a column of tokens", "writes tokens", r"choose gave int64 \(5, 1\)")
class Column(bm.Strategy):
    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        return greedy(scores, step)[:, None]


@fault("a strategy that writes to the scores", "writes tokens", "wrote to the scores")
class OverScores(bm.Strategy):
    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        scores -= scores.max(-1, keepdims=True)
        return greedy(scores, step)


@fault("a strategy that never ends", "writes tokens", "not done after")
class Endless(bm.Strategy):
    def begin(self, limits: Sequence[int], ends: Callable[[int, Sequence[int]], bool]) -> bm.Search:
        return bm.Search(self, [limit + 1 for limit in limits], ends)

    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        return greedy(scores, step)


@fault("a strategy that draws what is not allowed", "only what is allowed", "whose score is -inf")
class Uniform(bm.Strategy):
    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        return np.random.default_rng(step).integers(0, scores.shape[1], len(scores))


@fault("a strategy that draws without a seed", "the same again", "gave other texts")
class Unseeded(bm.Strategy):
    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        return greedy(scores + np.random.default_rng().gumbel(size=scores.shape), step)


@fault("a strategy that adds up all prompts", "prompts do not matter to each other", "other prompts")
class Together(bm.Strategy):
    def choose(self, scores: np.ndarray, step: int) -> Any:
        return greedy(np.broadcast_to(scores.sum(0), scores.shape), step)
