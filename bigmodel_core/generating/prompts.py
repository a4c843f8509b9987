"""The tokens of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.graph.spec import format_shape


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts as tokens.

    Args:
        tokens: of each, (n,) int64.
        are_texts: whether texts were given, so that the answer is one, too.
        is_single: whether one was given, not a list.
    """

    tokens: list[np.ndarray]
    are_texts: bool
    is_single: bool

    @classmethod
    def of(cls, prompt: Any, tokenizer: Tokenizer | None, is_framed: bool = False) -> Prompts:
        """What a user gives: a text, or tokens (T,), of which -1 is none, or a list of either.

        Args:
            prompt: as the user gives it.
            tokenizer: makes tokens of texts.
            is_framed: whether texts begin with what the tokenizer itself puts in front of them.

        Raises:
            DataError: a prompt is neither, or is empty.
            UsageError: it is a text, and there is no tokenizer.
        """
        is_single = isinstance(prompt, str)
        items = [prompt] if is_single or not isinstance(prompt, (list, tuple, np.ndarray)) else list(prompt)
        if not items:
            raise DataError("the prompt is empty.", fix="pass a token at least.")
        if are_texts := all(isinstance(item, str) for item in items):
            if tokenizer is None:
                raise UsageError(
                    "the prompt is a text, but the model has no tokenizer.",
                    fix="pass tokenizer=..., or tokens.",
                )
            rows = [_of_text(text, tokenizer, is_framed) for text in items]
        else:
            is_single = all(np.ndim(item) == 0 for item in items)
            rows = [_of_numbers(row) for row in ([items] if is_single else items)]
        for number, row in enumerate(rows, 1):
            if not len(row):
                name = "the prompt" if len(rows) == 1 else f"prompt {number}"
                raise DataError(f"{name} is empty.", fix="pass a text or tokens, one token at least.")
        return cls(rows, are_texts, is_single)

    def check(self, size: int) -> None:
        """Raise unless all tokens are of a vocabulary.

        Raises:
            DataError: one is none.
        """
        for number, row in enumerate(self.tokens, 1):
            check_tokens(row, size, "the prompt" if len(self.tokens) == 1 else f"prompt {number}")


def _of_text(text: str, tokenizer: Tokenizer, is_framed: bool) -> np.ndarray:
    """The tokens of a text. A frame that has an end, too, is not one of texts that go on."""
    plain = tokenizer.encode(text).ids
    framed = tokenizer.encode(text, add_special=True).ids if is_framed else plain
    return framed if np.array_equal(framed[len(framed) - len(plain) :], plain) else plain


def _of_numbers(row: Any) -> np.ndarray:
    """The tokens among numbers."""
    found = np.asarray(row)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise DataError(
            f"a prompt is {found.dtype} {format_shape(found.shape)}, expected a text or integers (T,).",
            fix="pass texts, or the numbers of tokens.",
        )
    return found[found != -1].astype(np.int64)


def check_tokens(tokens: np.ndarray, size: int, name: str) -> None:
    """Raise unless tokens are of a vocabulary.

    Raises:
        DataError: one is none.
    """
    wrong = tokens[(tokens < 0) | (tokens >= size)]
    if wrong.size:
        raise DataError(
            f"{name} has the token {wrong[0]}, but the model knows 0 to {size - 1}.",
            fix="use the tokenizer that the model was trained with.",
        )


def padded(rows: Sequence[np.ndarray], length: int | None = None, *, in_front: bool = False) -> np.ndarray:
    """Rows of tokens in one array of a length, that of the longest if None; with -1 behind others, or in
    front."""
    found = np.full((len(rows), length or max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        start = found.shape[1] - len(row) if in_front else 0
        found[place, start : start + len(row)] = row
    return found
