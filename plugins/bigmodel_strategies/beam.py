"""Beam search: the most probable texts, several of which are followed at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

import bigmodel_core as bm


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

    def begin(self, prompts: int, stop: Collection[int], most: int) -> bm.Search:
        return BeamSearch(self, prompts, stop, most)


@dataclass
class _Prompt:
    """The texts of one prompt.

    Args:
        scores: of those that are followed, the sums of their log-probabilities; the best first.
        texts: these.
        ended: texts that have ended, with their scores; the best first.
        is_done: whether none that is followed can become better.
    """

    scores: np.ndarray
    texts: list[list[int]]
    ended: list[tuple[float, list[int]]] = field(default_factory=list)
    is_done: bool = False


class BeamSearch(bm.Search):
    """The texts that a beam search follows; `score(prompt)` is that of the best."""

    def __init__(self, strategy: Beam, prompts: int, stop: Collection[int], most: int) -> None:
        super().__init__(strategy, prompts, stop, most)
        self.rows, self.penalty = strategy.width, strategy.length_penalty
        first = np.full(self.rows, -np.inf)
        first[0] = 0.0  # at first all rows of a prompt are the same text
        self._prompts = [_Prompt(first, [[] for _ in range(self.rows)]) for _ in range(prompts)]

    def advance(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self._step += 1
        logs = _log_softmax(scores)
        tokens = np.zeros(len(scores), np.int64)
        parents = np.arange(len(scores))
        for number, prompt in enumerate(self._prompts):
            if not prompt.is_done:
                rows = slice(number * self.rows, (number + 1) * self.rows)
                chosen, origins = self._advanced(prompt, logs[rows])
                tokens[rows], parents[rows] = chosen, number * self.rows + origins
        self.is_done = all(prompt.is_done for prompt in self._prompts)
        return tokens, parents

    def _advanced(self, prompt: _Prompt, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The texts of a prompt with one token more: tokens, and which row each continues."""
        sums = (prompt.scores[:, None] + logs).ravel()
        size = logs.shape[1]
        candidates = self.rows * max(2, 1 + len(self.stop))  # so many that enough go on if all may end
        best = _best(sums, candidates)
        length, last = float(self._step) ** self.penalty, self._step >= self.most
        going: list[int] = []
        for rank, place in enumerate(best.tolist()):
            if sums[place] == -np.inf:
                break
            row, token = divmod(place, size)
            ends = token in self.stop
            if (ends or last) and rank < self.rows:
                text = prompt.texts[row] if ends else [*prompt.texts[row], token]
                prompt.ended.append((float(sums[place]) / length, text))
            elif not ends and not last and len(going) < self.rows:
                going.append(place)
        prompt.ended = sorted(prompt.ended, key=lambda item: -item[0])[: self.rows]
        if last or not going:
            prompt.is_done = True
            return np.zeros(self.rows, np.int64), np.arange(self.rows)
        origins, tokens = np.divmod(np.array(going), size)
        prompt.texts = [
            [*prompt.texts[row], token] for row, token in zip(origins.tolist(), tokens.tolist(), strict=True)
        ]
        prompt.scores = sums[going]
        missing = self.rows - len(going)
        if missing:  # fewer tokens are allowed than texts are followed
            prompt.texts += [[] for _ in range(missing)]
            prompt.scores = np.concatenate([prompt.scores, np.full(missing, -np.inf)])
            origins, tokens = (
                np.concatenate([part, np.zeros(missing, np.int64)]) for part in (origins, tokens)
            )
        is_full = len(prompt.ended) == self.rows
        prompt.is_done = is_full and prompt.scores[0] / length <= prompt.ended[-1][0]
        return tokens, origins

    def so_far(self, row: int) -> list[int]:
        return self._prompts[row // self.rows].texts[row % self.rows]

    def answer(self, prompt: int) -> list[int]:
        found = self._prompts[prompt]
        return found.ended[0][1] if found.is_done and found.ended else []

    def score(self, prompt: int) -> float:
        """The score of the best text of a prompt, once it is done."""
        return self._prompts[prompt].ended[0][0]


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores.astype(np.float64) - scores.max(-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def _best(sums: np.ndarray, count: int) -> np.ndarray:
    """The places of the highest sums, the best first, of equal ones the first."""
    if count < len(sums):
        limit = np.partition(sums, len(sums) - count)[len(sums) - count]
        places = np.flatnonzero(sums >= limit)
    else:
        places = np.arange(len(sums))
    return places[np.argsort(-sums[places], kind="stable")][:count]
