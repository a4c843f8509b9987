"""One generation, from its arguments to its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, UsageError
from bigmodel_core.generating.allowed import Allowed, Choice
from bigmodel_core.generating.stop import Stop
from bigmodel_core.generating.telling import Telling
from bigmodel_core.generating.writer import Writer
from bigmodel_core.nn.strategy import Search, Strategy


def written(
    writer: Writer,
    strategy: Strategy | None = None,
    max_tokens: int = 100,
    stop: Sequence[int | str] | int | str | None = None,
    allowed: Allowed | Any = None,
    stream: bool = False,
) -> Any:
    """What `bm.generate` gives."""
    generation = Generation.of(writer, strategy, max_tokens, stop, allowed)
    if stream:
        return generation.pieces()
    for _ in generation.steps():
        pass
    found = [
        telling.whole(generation.search.answer(number)) for number, telling in enumerate(generation.tellings)
    ]
    return found[0] if generation.writer.prompts.is_single else found


@dataclass(eq=False)
class Generation:
    """One generation, before its first token.

    Args:
        writer: the model and what it reads first.
        search: keeps what is written.
        choice: which tokens may be chosen.
        tellings: what is told after each prompt.
    """

    writer: Writer
    search: Search
    choice: Choice
    tellings: list[Telling]

    @classmethod
    def of(
        cls,
        writer: Writer,
        strategy: Strategy | None,
        max_tokens: int,
        stop: Sequence[int | str] | int | str | None,
        allowed: Any,
    ) -> Generation:
        """That of the arguments of `generate`, which are checked."""
        if strategy is None:
            from bigmodel_core.registry import get

            strategy = get("strategy", "greedy")()
        if not isinstance(strategy, Strategy):
            raise ConfigError(
                f"the strategy is {strategy!r}.", fix="pass one, as in strategy=bm.strategies.Greedy()."
            )
        if not isinstance(max_tokens, (int, np.integer)) or max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens!r}, expected an integer of 1 or more.")
        known, size = writer.tokenizer, writer.size
        ends = Stop.of(stop, known, size)
        choice = Choice(allowed, size, size if known is None else known.size)
        tokens, are_texts = writer.prompts.tokens, writer.prompts.are_texts
        tellings = [Telling(ends, known, row if are_texts else None) for row in tokens]
        search = strategy.begin(
            writer.limits(int(max_tokens)), lambda number, written: tellings[number].has_ended(written)
        )
        return cls(writer, search, choice, tellings)

    def steps(self) -> Iterator[None]:
        """Write token by token; a step for each."""
        search = self.search
        reader = self.writer.begin(search.rows, max(search.limits))
        scores = reader.scores
        while not search.is_done:
            tokens, parents = search.advance(self.choice.restricted(scores, search))
            yield
            if not search.is_done:
                if parents is not None:
                    reader.reorder(parents)
                scores = reader.step(tokens)
        reader.leave()

    def pieces(self) -> Iterator[Any]:
        """What is written after a single prompt, piece by piece.

        Raises:
            UsageError: there are several.
        """
        if not self.writer.prompts.is_single:
            raise UsageError("stream=True is for a single prompt.", fix="pass one text, or tokens (T,).")
        return self._pieces()

    def _pieces(self) -> Iterator[Any]:
        search, (telling,) = self.search, self.tellings
        for _ in self.steps():
            piece = telling.piece(search.answer(0), search.is_done)
            if len(piece):
                yield piece
