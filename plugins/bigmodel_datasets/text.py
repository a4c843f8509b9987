"""Text as sequences of characters or tokens, each to be followed by the next: what language models learn."""

from __future__ import annotations

import lzma
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.text_files import Windows, documents, lines_of, text_files, token_stream
from bigmodel_datasets.text_tokens import remembered, tokenizer_for

LEARNED_FROM = 1 << 26
"""Bytes of text that a tokenizer is trained on, at most."""
BUNDLED = '"Persuasion", Jane Austen, 1818, public domain'


@dataclass(frozen=True)
class Text(bm.Dataset):
    """The characters or tokens of a text; a sample is a run of them, its target what comes after each.

    Without a file it is "Persuasion" by Jane Austen (1818, public domain), which comes with the package:
    466,854 characters, 75 different ones. The last part of the text is the test split. Characters are
    numbered in the order of Unicode; the labels are the characters. A validation split is the end of the
    training text.

    With `tokenizer` set, samples are runs of tokens. The texts of several files follow each other, with the
    token for the end between them; a sample may hold the end of one and the beginning of the next. Tokens of
    large files are kept in the user's cache and mapped into memory.

    Args:
        length: characters or tokens in a sample.
        step: characters or tokens from the beginning of one sample to that of the next; None for `length`, so
            that samples do not overlap.
        test_fraction: share of the text, at its end, that is the test split.
        unknown: a character that stands for every character the model was not trained on; it gets its own
            number. None rejects such characters.
        tokenizer: "characters"; "bpe", "wordpiece" or "words", trained on the training text (its first
            64 MB); or the path of a `tokenizer.json`.
        vocabulary: how many tokens one that is trained has; at most 8192 if None.

    `data_dir` is a text file in UTF-8, or a folder of `.txt` files; those called NOTE, README or LICENCE are
    left out.

    >>> data = Text().load()
    >>> data.train.x.shape, data.classes
    ((6565, 64), 75)
    >>> "".join(data.labels[number] for number in data.train.x[0, :10])
    'Persuasion'
    """

    name: ClassVar[str] = "text"
    length: int = 64
    step: int | None = None
    test_fraction: float = 0.1
    unknown: str | None = None
    tokenizer: str = "characters"
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        bm.check_number(self, "length", whole=True, at_least=1)
        if self.step is not None:
            bm.check_number(self, "step", whole=True, at_least=1)
        bm.check_number(self, "test_fraction", above=0, below=1)
        if self.vocabulary is not None:
            bm.check_number(self, "vocabulary", whole=True, at_least=1)
            if self.tokenizer == "characters":
                raise ConfigError(
                    "vocabulary is for tokens, and characters are all taken.",
                    where="text",
                    fix="choose a tokenizer, as in text:tokenizer=bpe,vocabulary=2000, or leave it out.",
                )
        if self.unknown is not None and len(self.unknown) != 1:
            raise ConfigError(
                f"unknown is {self.unknown!r}, expected one character.", where="text", fix="as in unknown=?"
            )

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; x is (n, length) int64, y is (n, length) int64, the characters one later.

        Raises:
            DataError: no file, bytes that are not UTF-8, a text too short for two splits, or a character that
                `like` does not know; names it and its line.
        """
        if self.tokenizer != "characters":
            return self._of_tokens(data_dir, like)
        if data_dir is None:
            text, source = _bundled(), BUNDLED
        else:
            found = documents(self.name, data_dir)
            text, source = "\n".join(text for _, text in found), _named([path for path, _ in found])
        vocabulary = like.labels if like is not None else None
        if vocabulary is None:
            vocabulary = tuple(sorted({*text, *(self.unknown or "")}))
        tokenizer = _of_characters(vocabulary, self.unknown) if like is None else like.tokenizer
        numbers = self._numbers(text, vocabulary, source)
        cut = round(len(text) * (1 - self.test_fraction))
        parts = numbers[:cut], numbers[cut:]
        if min(map(len, parts)) <= self.length:
            raise DataError(
                f"it has {len(text):,} characters, too few for samples of {self.length} in two splits.",
                where=source,
                fix="use a longer text, a smaller length, or another test_fraction.",
            )
        train, test = (self._cut(part) for part in parts)
        return bm.Data(
            name=self.name,
            train=train,
            test=test,
            labels=vocabulary,
            task="classification",
            input_meaning=f"{self.length} successive characters, each by its number among the "
            f"{len(vocabulary)} of the text",
            source=source,
            tokenizer=tokenizer,
            target_tokenizer=tokenizer,
        )

    def _of_tokens(self, data_dir: Path | None, like: bm.Encoding | None) -> bm.Data:
        """Runs of tokens.

        Raises:
            DataError: a file cannot be read, or there is too little text.
        """
        known = None if like is None else like.tokenizer
        with tempfile.TemporaryDirectory() as folder:
            if data_dir is None:
                (Path(folder) / "persuasion.txt").write_text(_bundled(), "utf-8")
            paths = text_files(self.name, Path(folder) if data_dir is None else data_dir)
            options: dict[str, Any] = {"known": known, "vocabulary": self.vocabulary}
            tokenizer = tokenizer_for(
                self.tokenizer, self._training_lines(paths), specials=("<unk>", "</s>"), **options
            )
            values = token_stream(paths, tokenizer)
            source = BUNDLED if data_dir is None else _named(paths)
        cut = round(len(values) * (1 - self.test_fraction))
        splits: dict[str, Any] = {}
        for part, own in (("train", values[:cut]), ("test", values[cut:])):
            step = self.step or self.length
            count = (len(own) - self.length - 1) // step + 1
            if count < 1:
                raise DataError(
                    f"it has {len(values):,} tokens, too few for samples of {self.length} in two splits.",
                    where=source,
                    fix="use a longer text, a smaller length, or another test_fraction.",
                )
            x, y = (Windows(own, self.length, step, shift, count) for shift in (0, 1))
            splits[part] = bm.Split(x, y, reach=self.length // step)
        return bm.Data(
            name=self.name,
            **splits,
            input_meaning=f"{self.length} successive tokens of {tokenizer.size:,}",
            source=source,
            tokenizer=tokenizer,
            target_tokenizer=tokenizer,
            made_by=remembered(self, tokenizer=tokenizer),
        )

    def _training_lines(self, paths: list[Path]) -> Iterator[str]:
        """What a tokenizer learns from: the lines before the share of the text that is held out, of large
        texts those at the beginning."""
        size = sum(path.stat().st_size for path in paths)
        left = min(round(size * (1 - self.test_fraction)), LEARNED_FROM)
        for line in lines_of(paths):
            left -= len(line.encode())
            if left < 0:
                return
            yield line

    def _numbers(self, text: str, vocabulary: tuple[str, ...], source: str) -> np.ndarray:
        """The number of each character in a vocabulary.

        Raises:
            DataError: one is not in it, and no other stands for those.
        """
        known = {character: number for number, character in enumerate(vocabulary)}
        points, places, numbers = np.unique(
            np.frombuffer(text.encode("utf-32-le"), "<u4"), return_index=True, return_inverse=True
        )
        characters = list(map(chr, points.tolist()))
        odd = [position for position, character in enumerate(characters) if character not in known]
        if odd and self.unknown not in known:
            first = min(places[position] for position in odd)
            count = len(odd)
            more = f" (and {count - 1} more, such as {characters[odd[-1]]!r})" if count > 1 else ""
            raise DataError(
                f"the character {text[first]!r}{more} is not among the {len(known)} known to the model.",
                where=f"{source}, line {text.count(chr(10), 0, first) + 1}",
                fix="replace it, choose a known character to stand for it, as in text:unknown=?, or train"
                " with text:unknown=? for a number of its own.",
            )
        table = np.array([known.get(character, known.get(self.unknown or "", 0)) for character in characters])
        return table[numbers].astype(np.int64)

    def _cut(self, numbers: np.ndarray) -> bm.Split:
        runs = np.lib.stride_tricks.sliding_window_view(numbers, self.length + 1)[:: self.step or self.length]
        return bm.Split(runs[:, :-1], runs[:, 1:], reach=self.length // (self.step or self.length))


def _of_characters(vocabulary: tuple[str, ...], unknown: str | None) -> bm.Tokenizer:
    """The numbers of characters as a tokenizer."""
    plain = bm.Tokenizer.train(["".join(vocabulary)], "characters").to_dict()
    numbers = {character: number for number, character in enumerate(vocabulary)}
    own = {"unk_token": unknown} if unknown in numbers else {}
    return bm.Tokenizer.from_json({**plain, "model": {**plain["model"], "vocab": numbers, **own}})


def _named(paths: list[Path]) -> str:
    if len(paths) == 1:
        return f"the text {paths[0].name}"
    return f"{len(paths)} texts: {', '.join(path.name for path in paths[:3])}{', ...' * (len(paths) > 3)}"


def _bundled() -> str:
    resource = files("bigmodel_datasets") / "data" / "persuasion.txt.xz"
    try:
        return lzma.decompress(resource.read_bytes()).decode("ascii")
    except (OSError, lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read it: {error}.",
            where="persuasion.txt.xz",
            fix="install bigmodel again; its data file is damaged.",
        ) from error
