"""What ends a text: tokens, and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import ConfigError, UsageError
from bigmodel_core.generating.prompts import check_tokens


@dataclass(frozen=True)
class Stop:
    """What ends a text and is no part of it.

    Args:
        tokens: the one that comes last.
        texts: those that end it wherever they begin, inside of a token, too.
    """

    tokens: frozenset[int] = frozenset()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, stop: Sequence[int | str] | int | str | None, tokenizer: Tokenizer | None, size: int) -> Stop:
        """What a user gives, with the tokenizer's token for the end; an empty list stands for nothing.

        Raises:
            ConfigError: a text is empty.
            DataError: a token is none of the model's.
            UsageError: there is a text, and no tokenizer.
        """
        items = [stop] if isinstance(stop, (str, int, np.integer)) else stop
        tokens, texts = set[int](), []
        if tokenizer is not None and tokenizer.has("end") and (items is None or len(items)):
            tokens.add(tokenizer.special("end"))
        for item in () if items is None else items:
            if not isinstance(item, str):
                tokens.add(int(item))
                continue
            if not item:
                raise ConfigError("stop has an empty text.", fix="leave it out.")
            if tokenizer is None:
                raise UsageError(
                    f"stop is the text {item!r}, but the model has no tokenizer.", fix="pass tokens."
                )
            if item in tokenizer.specials:
                tokens.add(tokenizer.specials[item])
            else:
                texts.append(item)
        check_tokens(np.array([*tokens], np.int64), size, "stop")
        return cls(frozenset(tokens), tuple(texts))

    def place(self, text: str) -> int | None:
        """Where the first stop text in a text begins; None if there is none."""
        return min((at for stop in self.texts if (at := text.find(stop)) >= 0), default=None)

    def certain(self, text: str) -> int:
        """How many characters of a text that may go on are before all stop texts: its end may begin one."""
        if (place := self.place(text)) is not None:
            return place
        held = (count for stop in self.texts for count in range(1, len(stop)) if text.endswith(stop[:count]))
        return len(text) - max(held, default=0)
