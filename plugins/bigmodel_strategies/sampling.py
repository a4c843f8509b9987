"""One token after the other: the most probable one, or one drawn by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bigmodel_core as bm
from bigmodel_strategies.ranking import best

FIRST = 64
"""So many of the most probable tokens are looked at first."""


@dataclass(frozen=True)
class Greedy(bm.Strategy):
    """The token with the highest score; of equal ones the first.

    >>> import numpy as np
    >>> Greedy().choose(np.array([[0.0, 2.0, 1.0]]), 0)
    array([1])
    """

    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        chosen: np.ndarray = scores.argmax(-1)
        return chosen


@dataclass(frozen=True)
class Sample(bm.Strategy):
    """A token drawn by its probability; the same seed draws the same.

    What a prompt gets depends on its place in the batch, not on the other prompts.

    Args:
        temperature: the scores are divided by it: below 1 probable tokens become more so; 0 takes the most
            probable one.
        top_k: only so many of the most probable tokens count; all if None.
        top_p: of the most probable tokens only as many count as are needed for their probabilities to sum up
            to this (nucleus sampling; Holtzman et al., 2020).
        seed: of the draws.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        bm.check_number(self, "temperature", at_least=0)
        if self.top_k is not None:
            bm.check_number(self, "top_k", whole=True, at_least=1)
        bm.check_number(self, "top_p", at_least=0, at_most=1)
        bm.check_number(self, "seed", whole=True, at_least=0)

    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        if not self.temperature:
            return Greedy().choose(scores, step)
        return np.array([self._drawn(row, step, number) for number, row in enumerate(scores)])

    def probabilities(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that may be drawn, the most probable first, and their probabilities.

        Args:
            scores: (vocabulary,).
        """
        tokens, shares = self._most_probable(scores, self.top_p if self.top_p < 1 else np.inf)
        before = np.cumsum(shares) - shares
        kept = before < self.top_p
        kept[0] = True
        return tokens[kept], shares[kept] / shares[kept].sum()

    def _most_probable(self, scores: np.ndarray, enough: float) -> tuple[np.ndarray, np.ndarray]:
        """Of the tokens that count the most probable ones, so many that their probabilities sum up to more
        than `enough`: few of a large vocabulary are ranked."""
        numbers = scores.astype(np.float64)
        highest, most = numbers.max(), min(self.top_k or len(numbers), len(numbers))
        count = most if self.top_k is not None else min(FIRST, most)
        with np.errstate(over="ignore"):  # of tiny temperatures: -inf has the probability 0
            total = np.exp((numbers - highest) / self.temperature).sum()
            while True:
                order = best(numbers, count)
                shares = np.exp((numbers[order] - highest) / self.temperature)
                shares /= shares.sum() if count == most else total
                if count == most or shares.sum() > enough:
                    return order[shares > 0], shares[shares > 0]
                count = min(8 * count, most)

    def _drawn(self, scores: np.ndarray, step: int, row: int) -> int:
        chance = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, row, step])).random()
        if self.top_p < 1:
            tokens, shares = self.probabilities(scores)
        else:
            tokens, shares = self._most_probable(scores, chance)
        place = int(np.searchsorted(np.cumsum(shares), chance, side="right"))
        return int(tokens[min(place, len(tokens) - 1)])
