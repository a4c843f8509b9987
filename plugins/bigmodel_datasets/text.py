"""Text as sequences of characters, each to be followed by the next: what language models learn from."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.one_file import one_file


@dataclass(frozen=True)
class Text(bm.Dataset):
    """The characters of a text; a sample is a run of characters, its target the character after each.

    Without a file it is "Persuasion" by Jane Austen (1818, public domain), which comes with the package:
    466,854 characters, 75 different ones. The last part of the text is the test split. Characters are
    numbered in the order of Unicode; the labels are the characters. A validation split is the end of the
    training text.

    Args:
        length: characters in a sample.
        step: characters from the beginning of one sample to that of the next; None for `length`, so that
            samples do not overlap.
        test_fraction: share of the text, at its end, that is the test split.
        unknown: a character that stands for every character the model was not trained on; it gets its own
            number. None rejects such characters.

    `data_dir` is a text file in UTF-8, or a folder with one `.txt` file in it.

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

    def __post_init__(self) -> None:
        bm.check_number(self, "length", whole=True, at_least=1)
        if self.step is not None:
            bm.check_number(self, "step", whole=True, at_least=1)
        bm.check_number(self, "test_fraction", above=0, below=1)
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
        if data_dir is None:
            text, source = _bundled(), '"Persuasion", Jane Austen, 1818, public domain'
        else:
            path = one_file(self.name, ".txt", data_dir)
            text, source = _read(path), f"the text {path.name}"
        vocabulary = like.labels if like is not None else None
        if vocabulary is None:
            vocabulary = tuple(sorted({*text, *(self.unknown or "")}))
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
        )

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


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8.", where=str(path), fix="save the text as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"cannot read it: {error.strerror or error}.", where=str(path)) from error
