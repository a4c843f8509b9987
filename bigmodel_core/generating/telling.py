"""What is told of the tokens after a prompt: up to what ends them, as tokens or as a text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.generating.stop import Stop

BEFORE = 4
"""So many tokens of the prompt are decoded with what follows, which may begin with a blank between words."""


class Telling:
    """What is told of the tokens after one prompt.

    Args:
        stop: what ends them.
        tokenizer: makes texts of tokens, if there is one.
        prompt: the tokens of a prompt that was a text: what is told is a text, too; None else.
    """

    def __init__(self, stop: Stop, tokenizer: Tokenizer | None, prompt: np.ndarray | None = None) -> None:
        self.stop, self._tokenizer, self._is_text = stop, tokenizer, prompt is not None
        self._before: list[int] = [] if prompt is None else prompt[-BEFORE:].tolist()
        self._start = "" if tokenizer is None else tokenizer.decode(self._before)
        self._stream = None if tokenizer is None or prompt is None else tokenizer.stream()
        self._streamed = "" if self._stream is None else "".join(map(self._stream.add, self._before))
        self._read = self._told = 0

    def has_ended(self, tokens: Sequence[int]) -> bool:
        """Whether the last token ends what is written."""
        if tokens[-1] in self.stop.tokens:
            return True
        return bool(self.stop.texts) and self.stop.place(self._text(tokens)) is not None

    def whole(self, tokens: Sequence[int]) -> Any:
        """All that is told: a text, or (n,) int64."""
        if tokens and tokens[-1] in self.stop.tokens:
            tokens = tokens[:-1]
        if self._is_text:
            text = self._text(tokens)
            return text[: self.stop.place(text)]
        if self.stop.texts and (place := self.stop.place(self._text(tokens))) is not None:
            tokens = tokens[: self._within(tokens, place)]
        return np.array(tokens, np.int64)

    def piece(self, tokens: Sequence[int], is_all: bool) -> Any:
        """What is new, and certain to stay, of the tokens up to now; at the end all that was not yet told."""
        if is_all:
            found = self.whole(tokens)
        elif self._stream is not None:
            self._streamed += "".join(map(self._stream.add, tokens[self._read :]))
            self._read = len(tokens)
            text = self._after_prompt(self._streamed) if len(self._streamed) >= len(self._start) else ""
            found = text[: self.stop.certain(text)]
        else:
            count = len(tokens)
            if self.stop.texts:
                text = self._text(tokens)
                half = len(text.rstrip("\ufffd"))  # what ends in half a character is not certain
                count = self._within(tokens, min(self.stop.certain(text), half))
            found = np.array(tokens[:count], np.int64)
        new = found[self._told :]
        self._told = max(self._told, len(found))
        return new

    def _text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, as it goes on from the prompt's."""
        assert self._tokenizer is not None
        return self._after_prompt(self._tokenizer.decode([*self._before, *tokens]))

    def _after_prompt(self, text: str) -> str:
        pairs = enumerate(zip(self._start, text, strict=False))
        return text[next((at for at, (own, other) in pairs if own != other), len(self._start)) :]

    def _within(self, tokens: Sequence[int], length: int) -> int:
        """How many tokens have a text of so many characters at most."""
        return bisect_right(range(len(tokens)), length, key=lambda at: len(self._text(tokens[: at + 1])))
