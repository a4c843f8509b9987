"""Sessions of a model that read prompts, then token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.generating.prompts import padded
from bigmodel_core.nn.network import Network


class Decoder:
    """Sessions of a model that read prompts, then token by token.

    Prompts of unequal length share a session, with -1 in front, where the model remembers which steps hold
    tokens; else there is one for each length.

    Args:
        network: the model.
        prompts: their tokens.
        rows: texts for each prompt.
        most: tokens that may follow.
        memory: what an encoder made of the source of each prompt.

    Attributes:
        scores: (prompts * rows, vocabulary), of what follows.
    """

    def __init__(
        self,
        network: Network,
        prompts: Sequence[np.ndarray],
        rows: int,
        most: int,
        memory: Sequence[np.ndarray] = (),
    ) -> None:
        self._memory = [np.repeat(array, rows, 0) for array in memory]
        programs = network.session_programs()
        self._knows_none = any(programs.states[path].dtype == "bool" for path in programs.growing)
        longest = max(map(len, prompts))
        lengths = {longest} if self._knows_none else {len(prompt) for prompt in prompts}
        self._parts: list[tuple[np.ndarray, Any]] = []
        found: np.ndarray | None = None
        for length in sorted(lengths):
            numbers = [n for n, row in enumerate(prompts) if self._knows_none or len(row) == length]
            tokens = padded([prompts[number] for number in numbers], in_front=True)
            own = (np.array(numbers)[:, None] * rows + np.arange(rows)).ravel()
            session = network.session(len(own), capacity=length + most if programs.growing else None)
            last = session(np.repeat(tokens, rows, 0), *(array[own] for array in self._memory))[:, -1]
            found = np.empty((len(prompts) * rows, last.shape[1]), last.dtype) if found is None else found
            found[own] = last
            self._parts.append((own, session))
        assert found is not None
        self.scores = found

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """The scores after a token more of each row; -1 is no token, where a text has ended."""
        for own, session in self._parts:
            column = tokens[own].reshape(-1, 1)
            if (column < 0).all():
                continue
            if not self._knows_none:
                column = np.maximum(column, 0)
            self.scores[own] = session(column, *(array[own] for array in self._memory))[:, -1]
        return self.scores

    def reorder(self, parents: np.ndarray) -> None:
        """Let each row go on from another of its prompt."""
        for own, session in self._parts:
            session.reorder(np.searchsorted(own, parents[own]))
