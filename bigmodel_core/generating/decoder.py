"""What reads prompts, then token by token: sessions of a model, or a function of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from bigmodel_core.generating.prompts import padded
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.session import Session

ROOM = 64
"""The least number of steps for which sessions take memory; more are powers of 2 times this."""


ROUND = 16
"""Prompts are padded so that the steps before the last are a multiple of this: few lengths need few plans."""


class Reader(Protocol):
    """What reads prompts, then token by token.

    Attributes:
        scores: (prompts * rows, vocabulary), of what follows.
    """

    scores: np.ndarray

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """The scores after a token more of each row; -1 is no token, where a text has ended."""
        ...

    def reorder(self, parents: np.ndarray) -> None:
        """Let each row go on from another of its prompt."""
        ...

    def leave(self) -> None:
        """Leave what the next generation can use."""
        ...


class Decoder:
    """Sessions of a model, which read each token once.

    Prompts of unequal length share a session, with -1 in front, where the model remembers which steps hold
    tokens; else there is one for each length. A prompt is read once, whatever the texts that go on from it.

    Args:
        network: the model.
        size: how many tokens it scores.
        prompts: their tokens.
        rows: texts for each prompt.
        most: tokens that may follow.
        memory: what an encoder made of the source of each prompt.
    """

    def __init__(
        self,
        network: Network,
        size: int,
        prompts: Sequence[np.ndarray],
        rows: int,
        most: int,
        memory: Sequence[np.ndarray] = (),
    ) -> None:
        programs = network.session_programs(fixed=len(memory))
        self._network, self._grows = network, bool(programs.growing)
        self._knows_none = any(programs.states[path].dtype == "bool" for path in programs.growing)
        self._idle: dict[tuple[int, int | None], Session] = network.made_once("idle session", dict)
        self._parts: list[tuple[np.ndarray, Session]] = []
        self.scores = np.empty((len(prompts) * rows, size), network.dtype)
        longest = max(map(len, prompts))
        for length in {longest} if self._knows_none else sorted({len(prompt) for prompt in prompts}):
            numbers = [n for n, row in enumerate(prompts) if self._knows_none or len(row) == length]
            tokens = padded([prompts[n] for n in numbers], self._rounded(length), in_front=True)
            session = self._session(
                len(numbers), tokens.shape[1] + most, [array[numbers] for array in memory]
            )
            if length > 1:
                session.read(tokens[:, :-1])
            if rows > 1:
                session = session.copy(np.repeat(np.arange(len(numbers)), rows))
            own = (np.array(numbers)[:, None] * rows + np.arange(rows)).ravel()
            self.scores[own] = session(np.repeat(tokens[:, -1:], rows, 0))[:, -1]
            self._parts.append((own, session))

    def _rounded(self, length: int) -> int:
        """The length that prompts are padded to."""
        return 1 + -(-(length - 1) // ROUND) * ROUND if self._knows_none else length

    def _session(self, batch: int, steps: int, memory: list[np.ndarray]) -> Session:
        """A session that has read nothing: that of the last generation, if it is a like one."""
        capacity = _room_for(steps) if self._grows else None
        session = None if memory else self._idle.pop((batch, capacity), None)
        if session is None:
            return self._network.session(batch, capacity, memory)
        session.reset()
        return session

    def step(self, tokens: np.ndarray) -> np.ndarray:
        for own, session in self._parts:
            column = tokens[own].reshape(-1, 1)
            if (column < 0).all():
                continue
            if not self._knows_none:
                column = np.maximum(column, 0)
            self.scores[own] = session(column)[:, -1]
        return self.scores

    def reorder(self, parents: np.ndarray) -> None:
        for own, session in self._parts:
            session.reorder(np.searchsorted(own, parents[own]))

    def leave(self) -> None:
        # The last session needs no new plans for a generation like this one.
        _, session = self._parts[-1]
        if not session.fixed:
            assert session.batch_size is not None
            self._idle.clear()
            self._idle[session.batch_size, session.capacity] = session


class Rereading:
    """A function of sources and targets so far that carries nothing: it reads both anew for each token.

    Args:
        run: from sources (N, S) and targets (N, T) to scores (N, T, vocabulary).
        sources: what targets are written for.
        starts: what targets begin with.
        rows: texts for each source.
    """

    def __init__(
        self, run: Callable[..., Any], sources: np.ndarray, starts: Sequence[np.ndarray], rows: int
    ) -> None:
        self._run, self._sources = run, np.repeat(sources, rows, 0)
        self._written = np.repeat(padded(starts), rows, 0)
        self.scores: np.ndarray = run(self._sources, self._written)[:, -1]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self._written = np.concatenate([self._written, tokens[:, None]], 1)
        self.scores = self._run(self._sources, self._written)[:, -1]
        return self.scores

    def reorder(self, parents: np.ndarray) -> None:
        self._written = self._written[parents]

    def leave(self) -> None:
        pass


def _room_for(steps: int) -> int:
    room = ROOM
    while room < steps:
        room *= 2
    return room
