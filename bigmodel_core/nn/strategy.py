"""The contract of strategies: how generation chooses tokens by their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from bigmodel_core.errors import ConfigError
from bigmodel_core.registry.contracts import undefined

Ends: TypeAlias = Callable[[int, Sequence[int]], bool]
"""Of a prompt, by its number, and the tokens after it: whether the last of these ends them."""


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

    def begin(self, limits: Sequence[int], ends: Ends) -> Search:
        """What keeps the texts of one generation.

        Args:
            limits: for each prompt, how many tokens may be written at most.
            ends: `ends(prompt, tokens)` says whether a text has ended with its last token, which is kept.
        """
        return Search(self, limits, ends)


class Search:
    """The texts of one generation as they grow: `rows` of them for each prompt, one token at a step.

    Args:
        strategy: chooses.
        limits: for each prompt, how many tokens may be written at most.
        ends: whether a text has ended with its last token.

    Attributes:
        rows: how many texts are kept for each prompt.
    """

    rows = 1

    def __init__(self, strategy: Strategy, limits: Sequence[int], ends: Ends) -> None:
        self.strategy, self.limits, self.ends = strategy, list(limits), ends
        self._open = [limit > 0 for limit in limits]
        self._texts: list[list[int]] = [[] for _ in limits]
        self._step = 0

    @property
    def is_done(self) -> bool:
        """Whether all texts have ended."""
        return not any(self._open)

    def is_open(self, row: int) -> bool:
        """Whether the text of a row goes on, so that its scores matter."""
        return self._open[row // self.rows]

    def advance(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """One token more.

        Args:
            scores: (prompts * rows, vocabulary).

        Returns:
            The token that goes on in each row, -1 where its text has ended; and the rows that they continue,
            None if each continues its own.
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
            if self._open[row]:
                text = self._texts[row]
                text.append(token)
                self._open[row] = len(text) < self.limits[row] and not self.ends(row, text)
        return np.where(self._open, chosen, -1), None

    def so_far(self, row: int) -> list[int]:
        """The tokens of a row."""
        return self._texts[row]

    def answer(self, prompt: int) -> list[int]:
        """What is certain of the tokens after a prompt, with those that end it; all once it has ended."""
        return self._texts[prompt]
