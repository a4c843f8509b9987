"""The text of tokens that come one by one."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bigmodel_core.data.tokenizer import Tokenizer


class TextStream:
    """The text of tokens that come one by one, without half characters.

    Args:
        tokenizer: what the tokens are of.
        keep_special: whether special tokens are written out.

    >>> import bigmodel_core as bm
    >>> stream = bm.Tokenizer.train(["ab"], kind="characters").stream()
    >>> stream.add(0), stream.add(1), stream.end()
    ('a', 'b', '')
    """

    def __init__(self, tokenizer: Tokenizer, keep_special: bool = False) -> None:
        self._tokenizer, self._keep = tokenizer, keep_special
        self._ids: list[int] = []
        self._said = ""
        decoder = tokenizer._document.get("decoder") or {}
        self._cleans = bool(decoder.get("cleanup", False))
        self._bytes = _ByteReader() if tokenizer._is_bytes else None

    def add(self, token: int) -> str:
        """What is new in the text with one more token; "" while a character is not whole."""
        found = self._tokenizer._checked([token])
        if not found:
            return ""
        if self._bytes is not None:
            name = self._tokenizer.tokens[found[0]]
            is_special = name in self._tokenizer.specials
            return "" if is_special and not self._keep else self._bytes.read(name)
        self._ids += found
        text = self._tokenizer.decode(self._ids, keep_special=self._keep)
        if self._cleans:  # what follows may move the blanks before the last words
            text = " ".join(text.split(" ")[:-2])
        elif text.endswith("\ufffd"):
            text = text.rstrip("\ufffd")
        return self._new(text)

    def end(self) -> str:
        """What was held back."""
        if self._bytes is not None:
            return self._bytes.end()
        return self._new(self._tokenizer.decode(self._ids, keep_special=self._keep))

    def _new(self, text: str) -> str:
        if not text.startswith(self._said):
            return ""
        found, self._said = text[len(self._said) :], text
        return found


class _ByteReader:
    """Characters from the tokens of a byte-level vocabulary, where a printable sign stands for each byte."""

    def __init__(self) -> None:
        plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
        rest = [byte for byte in range(256) if byte not in plain]
        self._byte_of = {chr(byte): byte for byte in plain}
        self._byte_of |= {chr(256 + number): byte for number, byte in enumerate(rest)}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, token: str) -> str:
        known = self._byte_of
        is_bytes = all(sign in known for sign in token)
        return self._decoder.decode(bytes(known[sign] for sign in token) if is_bytes else token.encode())

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)
