"""Beam search: the most probable texts, several of which are followed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

import bigmodel_core as bm
from bigmodel_strategies.ranking import best


@dataclass(frozen=True)
class Beam(bm.Strategy):
    """Follows the `width` most probable texts at once, and answers with the best that has ended (Graves,
    2012; Sutskever et al., 2014).

    A text's score is the sum of its tokens' log-probabilities, the token of its end included, divided by
    their number ** `length_penalty`. It does not depend on the prompt's length or on other prompts.

    Args:
        width: how many texts are followed for each prompt.
        length_penalty: above 0 longer texts gain, at 0 the sum alone counts.
    """

    width: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        bm.check_number(self, "width", whole=True, at_least=1)
        bm.check_number(self, "length_penalty")

    def begin(self, limits: Sequence[int], ends: Callable[[int, Sequence[int]], bool]) -> bm.Search:
        return BeamSearch(self, limits, ends)


@dataclass
class _Prompt:
    """The texts of one prompt.

    Args:
        scores: of those that are followed, the sums of their log-probabilities; the best first.
        texts: these.
        ended: texts that have ended, with their scores; the best first.
    """

    scores: np.ndarray
    texts: list[list[int]]
    ended: list[tuple[float, list[int]]] = field(default_factory=list)


class BeamSearch(bm.Search):
    """The texts that a beam search follows; `score(prompt)` is that of the best."""

    def __init__(
        self, strategy: Beam, limits: Sequence[int], ends: Callable[[int, Sequence[int]], bool]
    ) -> None:
        super().__init__(strategy, limits, ends)
        self.rows, self.penalty = strategy.width, strategy.length_penalty
        first = np.full(self.rows, -np.inf)
        first[0] = 0.0  # at first all rows of a prompt are the same text
        self._prompts = [_Prompt(first, [[] for _ in range(self.rows)]) for _ in limits]

    def is_open(self, row: int) -> bool:
        scores = self._prompts[row // self.rows].scores
        return super().is_open(row) and bool(scores[row % self.rows] > -np.inf)

    def advance(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self._step += 1
        logs = _log_softmax(scores)
        tokens = np.full(len(scores), -1)
        parents = np.arange(len(scores))
        for number, is_open in enumerate(self._open):
            if is_open:
                rows = slice(number * self.rows, (number + 1) * self.rows)
                chosen, origins = self._advanced(number, logs[rows])
                parents[rows] = number * self.rows + origins
                tokens[rows] = chosen if self._open[number] else -1
        return tokens, parents

    def _advanced(self, number: int, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The texts of a prompt with one token more: tokens, and which row each continues."""
        prompt, last = self._prompts[number], self._step >= self.limits[number]
        length = float(self._step) ** self.penalty
        going: list[tuple[float, list[int], int]] = []
        for rank, (total, row, token) in enumerate(_best_first(prompt.scores[:, None] + logs, 2 * self.rows)):
            if len(going) == self.rows or (last and rank == self.rows):
                break
            text = [*prompt.texts[row], token]
            if last or self.ends(number, text):
                if rank < self.rows:
                    prompt.ended.append((total / length, text))
            else:
                going.append((total, text, row))
        prompt.ended = sorted(prompt.ended, key=lambda item: -item[0])[: self.rows]
        is_full = len(prompt.ended) == self.rows
        if not going or (is_full and going[0][0] / length <= prompt.ended[-1][0]):
            self._open[number] = False
            return np.zeros(self.rows, np.int64), np.arange(self.rows)
        # Fewer texts may go on than are followed: none can win by what fills their rows.
        going += [(-np.inf, going[0][1], going[0][2])] * (self.rows - len(going))
        prompt.scores = np.array([total for total, _, _ in going])
        prompt.texts = [text for _, text, _ in going]
        return np.array([text[-1] for text in prompt.texts]), np.array([row for _, _, row in going])

    def so_far(self, row: int) -> list[int]:
        return self._prompts[row // self.rows].texts[row % self.rows]

    def answer(self, prompt: int) -> list[int]:
        ended = self._prompts[prompt].ended
        return [] if self._open[prompt] or not ended else ended[0][1]

    def score(self, prompt: int) -> float:
        """The score of the best text of a prompt, once it is done."""
        return self._prompts[prompt].ended[0][0]


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores.astype(np.float64) - scores.max(-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def _best_first(sums: np.ndarray, count: int) -> Iterator[tuple[float, int, int]]:
    """The sums (rows, vocabulary) that are not -inf, each with its row and token: the highest first, of equal
    ones the first. `count` of them are likely to be asked for."""
    flat, given = sums.ravel(), 0
    while given < len(flat):
        for place in best(flat, count)[given:].tolist():
            if flat[place] == -np.inf:
                return
            yield float(flat[place]), *divmod(place, sums.shape[1])
        given, count = count, 8 * count
