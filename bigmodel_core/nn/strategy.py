"""The contract of strategies: how generation chooses tokens by their scores."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from bigmodel_core.errors import ConfigError
from bigmodel_core.registry.contracts import undefined


class Strategy:
    """How generation chooses the next tokens by their scores; a frozen dataclass.

    Most define `choose`. One that keeps several texts for each prompt, as beam search does, defines `begin`
    instead, and returns a `Search` of its own.
    """

    def choose(self, scores: np.ndarray, step: int) -> np.ndarray:
        """The next token of each text.

        Args:
            scores: (N, vocabulary) floats, -inf where a token is not allowed; each row has a finite one.
            step: how many tokens were chosen before.

        Returns:
            (N,) integers. A row's may depend on the scores of the row alone, on its number and the step.
        """
        raise undefined(self, "strategy", "choose")

    def begin(self, prompts: int, stop: Collection[int], most: int) -> Search:
        """What keeps the texts of one generation.

        Args:
            prompts: how many prompts there are.
            stop: the tokens that end a text; they are no part of it.
            most: tokens at most.
        """
        return Search(self, prompts, stop, most)


class Search:
    """The texts of one generation as they grow: `rows` of them for each prompt, one token at a step.

    Args:
        strategy: chooses.
        prompts: how many prompts there are.
        stop: the tokens that end a text.
        most: tokens at most.

    Attributes:
        rows: how many texts are kept for each prompt.
        is_done: whether all have ended.
    """

    rows = 1

    def __init__(self, strategy: Strategy, prompts: int, stop: Collection[int], most: int) -> None:
        self.strategy, self.stop, self.most = strategy, frozenset(stop), most
        self.is_done = most < 1
        self._texts: list[list[int]] = [[] for _ in range(prompts)]
        self._open = [True] * prompts
        self._step = 0

    def advance(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """One token more.

        Args:
            scores: (prompts * rows, vocabulary).

        Returns:
            The token of each row, and the rows that they continue; None if each continues its own.
        """
        chosen = np.asarray(self.strategy.choose(scores, self._step))
        if chosen.shape != (len(scores),) or chosen.dtype.kind not in "iu":
            raise ConfigError(
                f"choose gave {chosen.dtype} {chosen.shape}, expected integers ({len(scores)},).",
                where=type(self.strategy).__name__,
                fix="return a token for each row of the scores.",
            )
        self._step += 1
        for row, token in enumerate(chosen.tolist()):
            if not self._open[row]:
                continue
            if token in self.stop:
                self._open[row] = False
            else:
                self._texts[row].append(token)
        self.is_done = self._step >= self.most or not any(self._open)
        return chosen, None

    def so_far(self, row: int) -> list[int]:
        """The tokens of a row."""
        return self._texts[row]

    def answer(self, prompt: int) -> list[int]:
        """What is certain of the text after a prompt; all of it once `is_done`."""
        return self._texts[prompt]
