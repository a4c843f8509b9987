"""Tokenizers: from text to numbers and back, over the library `tokenizers`, kept as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from bigmodel_core.data.text_stream import TextStream
from bigmodel_core.data.tokenizer_files import FILE, document_in, text_of
from bigmodel_core.data.tokenizer_training import trained
from bigmodel_core.errors import BigmodelError, ConfigError, DataError

ROLES: dict[str, tuple[str, ...]] = {
    "unknown": ("[UNK]", "<unk>", "<|unk|>"),
    "start": ("<s>", "[CLS]", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"),
    "end": ("</s>", "[SEP]", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "class": ("[CLS]", "<s>"),
    "separator": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}
"""What special tokens are for, and what they are called in the tokenizers of known models."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """A text as tokens.

    Args:
        ids: (n,) int64, the numbers of the tokens.
        offsets: (n, 2) int64, where in the text each begins and ends, in characters.
    """

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """What makes tokens of texts, and texts of tokens: byte-level BPE, WordPiece, characters, words, or
    whatever a `tokenizer.json` describes.

    It is data: a JSON document that a run, a checkpoint and an exported file keep. `train` learns one from
    texts, `load` reads the file of a pretrained model. Special tokens have roles: "unknown", "start", "end",
    "class", "separator", "mask".

    Raises:
        DataError: the document describes no tokenizer.

    >>> tokenizer = Tokenizer.train(["low lower lowest"], kind="characters")
    >>> tokenizer.encode("slow").ids.tolist(), tokenizer.decode([2, 3, 7])
    ([5, 2, 3, 7], 'low')
    """

    def __init__(self, text: str | Mapping[str, Any]) -> None:
        try:
            document = json.loads(text) if isinstance(text, (str, bytes)) else dict(text)
        except ValueError as error:
            raise DataError(f"it is no JSON: {error}.", where="Tokenizer") from None
        model = document.get("model") if isinstance(document, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), (dict, list)):
            raise DataError(
                "the document describes no tokenizer: it has no model with a vocabulary.",
                where="Tokenizer",
                fix=f"pass the content of a {FILE}.",
            )
        # Cut or padded texts would be somebody else's choice of lengths.
        self._document = {**document, "truncation": None, "padding": None}

    # Made and kept ---------------------------------------------------------------------------------------

    @classmethod
    def train(
        cls,
        texts: Iterable[str] | Path | Sequence[Path],
        kind: str = "bpe",
        vocabulary: int | None = None,
        specials: Sequence[str] | None = None,
        lowercase: bool = False,
    ) -> Self:
        """A tokenizer for some texts; the same texts give the same bytes.

        Args:
            texts: strings, or the `Path` of a text file or several; of a folder all `.txt` in it.
            kind: "bpe", of bytes, which any text survives (Sennrich et al., 2016; Radford et al., 2019);
                "wordpiece" (Schuster and Nakajima, 2012), as BERT has it; "characters"; "words", which blanks
                separate.
            vocabulary: how many tokens; 8192 for the first two, else all that occur. Of characters and words
                the most frequent are kept.
            specials: special tokens, which get the first numbers; <s> and </s> for "bpe", [UNK], [CLS], [SEP]
                and [MASK] for "wordpiece", else none, by default. One that stands for "unknown" is what
                characters and words that were not met become.
            lowercase: whether texts are made lower case first.

        Raises:
            ConfigError: an option makes no sense.
            DataError: there is no text, or too little for the vocabulary.
        """
        unknown = next((name for name in specials or () if name in ROLES["unknown"]), None)
        return cls(trained(texts, kind, vocabulary, specials, lowercase, unknown))

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> Self:
        """That which `to_json` described; any document of the library `tokenizers`."""
        return cls(text)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """That of a file `tokenizer.json`, or of a folder with one in it, or with a vocabulary of older form:
        `vocab.txt`, or `vocab.json` and `merges.txt`.

        Raises:
            DataError: there is no such file, or it describes no tokenizer.
        """
        place = Path(path)
        try:
            return cls(document_in(place) if place.is_dir() else text_of(place))
        except DataError as error:
            error.where = str(place) if error.where in (None, "Tokenizer") else error.where
            raise

    def to_json(self) -> str:
        """The document, as the library `tokenizers` reads it; `from_json` reverses it."""
        return json.dumps(self._document, ensure_ascii=False, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return dict(self._document)

    def save(self, folder: str | Path) -> Path:
        """Write the document as `tokenizer.json` into a folder, and give its path."""
        path = Path(folder) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json(), "utf-8")
        return path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._document == other._document

    def __hash__(self) -> int:
        return hash((self.kind, self.size))

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"<Tokenizer: {self.kind}, {self.size:,} tokens>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._document,)

    # What is in it ---------------------------------------------------------------------------------------

    @cached_property
    def kind(self) -> str:
        """ "bpe", "wordpiece", "characters" or "words"; of other documents the type of their model."""
        model, before = self._document["model"], self._document.get("pre_tokenizer") or {}
        name = str(model.get("type", "")).lower()
        if name != "wordlevel":
            return name
        return "words" if before.get("type") == "WhitespaceSplit" else "characters"

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The tokens by number; "" for a number that none has."""
        found: dict[int, str] = {}
        vocabulary = self._document["model"]["vocab"]
        if isinstance(vocabulary, dict):
            found.update((number, token) for token, number in vocabulary.items())
        else:
            found.update((number, item[0]) for number, item in enumerate(vocabulary))
        found.update((item["id"], item["content"]) for item in self._document.get("added_tokens") or ())
        return tuple(found.get(number, "") for number in range(max(found, default=-1) + 1))

    @property
    def size(self) -> int:
        """How many numbers there are: what a model needs as its `vocabulary`."""
        return len(self.tokens)

    @cached_property
    def specials(self) -> dict[str, int]:
        """The special tokens and their numbers."""
        added = self._document.get("added_tokens") or ()
        return {item["content"]: item["id"] for item in added if item.get("special")}

    def special(self, role: str) -> int:
        """The number of a special token, by its role or as it is written.

        Raises:
            ConfigError: the tokenizer has none.
        """
        for name in (role, *ROLES.get(role, ())):
            if name in self.specials:
                return self.specials[name]
        there = ", ".join(self.specials) or "none"
        names = " or ".join(ROLES.get(role, (role,))[:2])
        raise ConfigError(
            f"the tokenizer has no special token for '{role}'; there are: {there}.",
            where="Tokenizer",
            fix=f"train it with specials=(..., {names!r}), or use one that has it.",
        )

    def has(self, role: str) -> bool:
        """Whether there is a special token of a role, or one that is so written."""
        return any(name in self.specials for name in (role, *ROLES.get(role, ())))

    # Texts to tokens -------------------------------------------------------------------------------------

    def encode(self, text: str, *, add_special: bool = False, read_special: bool = False) -> Tokens:
        """A text as tokens, with the place of each in it.

        Args:
            text: any string; a special token that is written out in it counts as text,
            read_special: unless this is set.
            add_special: whether the document's own frame is put around it, as [CLS] and [SEP].

        Raises:
            DataError: a character or word is not known to the tokenizer, or is half a character.
        """
        (found,) = self._encoded([text], read_special, add_special=add_special)
        return Tokens(np.array(found.ids, np.int64), np.array(found.offsets, np.int64).reshape(-1, 2))

    def encode_all(self, texts: Sequence[str], *, read_special: bool = False) -> list[np.ndarray]:
        """The numbers of the tokens of many texts, (n,) int64 each; faster than one after the other."""
        return [np.array(found.ids, np.int64) for found in self._encoded(texts, read_special)]

    def encode_words(self, texts: Sequence[Sequence[str]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Texts that are words already: the numbers of their tokens, and to which word each belongs.

        In a byte-level vocabulary, a word that another precedes begins with a blank, as it does in a text.
        """
        before = " " if self._is_bytes else ""
        spaced = [[(before if n else "") + word for n, word in enumerate(words)] for words in texts]
        # A word is the same tokens wherever it stands: each is encoded once.
        known = list(dict.fromkeys(word for words in spaced for word in words))
        try:
            encoded = self._encoded([[word] for word in known], False, is_pretokenized=True)
        except BigmodelError as error:
            raise self._unknown(texts, error.message) from None
        pieces = {word: found.ids for word, found in zip(known, encoded, strict=True)}
        made = []
        for words in spaced:
            parts = [pieces[word] for word in words]
            owners = [number for number, part in enumerate(parts) for _ in part]
            made.append((np.array(list(chain.from_iterable(parts)), np.int64), np.array(owners, np.int64)))
        return made

    def _encoded(
        self,
        texts: Sequence[Any],
        read_special: bool,
        *,
        add_special: bool = False,
        is_pretokenized: bool = False,
    ) -> list[Any]:
        library = self._reading if read_special else self._plain
        try:
            found: list[Any] = library.encode_batch(
                list(texts), is_pretokenized=is_pretokenized, add_special_tokens=add_special
            )
        except Exception as error:  # the library has no classes of its own
            raise self._unknown(texts, str(error)) from None
        return found

    def _unknown(self, texts: Sequence[Any], reason: str) -> BigmodelError:
        """The error about a text that the library refused."""
        for number, item in enumerate(texts):
            text = item if isinstance(item, str) else "".join(map(str, item))
            where = "Tokenizer" if len(texts) == 1 else f"Tokenizer: text {number + 1}"
            half = next((place for place, sign in enumerate(text) if "\ud800" <= sign <= "\udfff"), None)
            if half is not None:
                return DataError(
                    f"half a character, {text[half]!r}, at position {half}.",
                    where=where,
                    fix="decode the text's bytes as what they are, as in data.decode('utf-8').",
                )
            words = text.split() if isinstance(item, str) else item
            parts = words if self.kind == "words" else list(text)
            odd = next((part for part in parts if part not in self._numbers), None)
            if odd is not None and self.kind in ("characters", "words"):
                return DataError(
                    f"the {self.kind[:-1]} {odd!r} is not among the {self.size:,} that the tokenizer knows.",
                    where=where,
                    fix='leave it out, or train with an unknown token: specials=("<unk>",).',
                    shell="leave it out, or train with an unknown token, as in --data text:unknown=?.",
                )
        return DataError(f"cannot encode the text: {reason}.", where="Tokenizer")

    # Tokens to texts -------------------------------------------------------------------------------------

    def decode(self, ids: Any, *, keep_special: bool = False) -> str:
        """The text of tokens; -1, where a text has ended, stands for nothing.

        Args:
            ids: numbers.
            keep_special: whether special tokens are written out.

        Raises:
            DataError: a number is none of the vocabulary's.
        """
        found: str = self._plain.decode(self._checked(ids), skip_special_tokens=not keep_special)
        return found

    def stream(self, *, keep_special: bool = False) -> TextStream:
        """A text that grows token by token: `add(id)` gives what is new, `end()` what was held back."""
        return TextStream(self, keep_special)

    def _checked(self, ids: Any) -> list[int]:
        numbers = np.asarray(ids).reshape(-1)
        numbers = numbers[numbers != -1]
        wrong = numbers[(numbers < 0) | (numbers >= self.size)]
        if wrong.size:
            raise DataError(
                f"the token {wrong[0]} is none of the vocabulary, expected 0 to {self.size - 1}.",
                where="Tokenizer",
                fix="use the tokenizer that the model was trained with.",
            )
        return [int(number) for number in numbers]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _is_bytes(self) -> bool:
        return (self._document.get("decoder") or {}).get("type") == "ByteLevel"

    @cached_property
    def _plain(self) -> Any:
        """The library's tokenizer, for which special tokens in a text are text."""
        found = self._library()
        found.encode_special_tokens = True
        return found

    @cached_property
    def _reading(self) -> Any:
        return self._library()

    def _library(self) -> Any:
        import tokenizers

        try:
            return tokenizers.Tokenizer.from_str(self.to_json())
        except Exception as error:  # the library has no classes of its own
            raise DataError(f"the document describes no tokenizer: {error}.", where="Tokenizer") from None
