"""Text as sequences of characters, each to be followed by the next: what language models learn from."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np

from bigmodel_core.dataset import Data, Dataset, Split
from bigmodel_core.errors import DataError
from bigmodel_core.field_limits import check_number
from bigmodel_datasets.one_file import one_file


@dataclass(frozen=True)
class Text(Dataset):
    """The characters of a text; a sample is a run of them, its target the character that follows each.

    Without a file it is "Persuasion" by Jane Austen (1818, public domain), which comes with the package:
    466,854 characters, 75 different ones. The last part of the text is the test split. Characters are
    numbered in the order of Unicode; the labels are the characters.

    Args:
        length: characters in a sample.
        step: characters from the beginning of one sample to that of the next; None for `length`, so that
            samples do not overlap.
        test_fraction: share of the text, at its end, that is the test split.

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

    def __post_init__(self) -> None:
        check_number(self, "length", whole=True, at_least=1)
        if self.step is not None:
            check_number(self, "step", whole=True, at_least=1)
        check_number(self, "test_fraction", above=0, below=1)

    def load(self, data_dir: Path | None = None) -> Data:
        """The data; x is (n, length) int64, y is (n, length) int64, the characters one later.

        Raises:
            DataError: no file, bytes that are not UTF-8, or a text too short for two splits.
        """
        if data_dir is None:
            text, source = _bundled(), '"Persuasion", Jane Austen, 1818, public domain'
        else:
            path = one_file(self.name, ".txt", data_dir)
            text, source = _read(path), f"the text {path.name}"
        points = np.frombuffer(text.encode("utf-32-le"), "<u4")
        vocabulary, numbers = np.unique(points, return_inverse=True)
        cut = round(len(text) * (1 - self.test_fraction))
        parts = numbers.astype(np.int64)[:cut], numbers.astype(np.int64)[cut:]
        if min(map(len, parts)) <= self.length:
            raise DataError(
                f"it has {len(text):,} characters, too few for samples of {self.length} in two splits.",
                where=source,
                fix="use a longer text, a smaller length, or another test_fraction.",
            )
        train, test = (self._cut(part) for part in parts)
        return Data(
            name=self.name,
            train=train,
            test=test,
            labels=tuple(map(chr, vocabulary.tolist())),
            task="classification",
            input_meaning=f"{self.length} successive characters, each by its number among the "
            f"{len(vocabulary)} of the text",
            source=source,
        )

    def _cut(self, numbers: np.ndarray) -> Split:
        runs = np.lib.stride_tricks.sliding_window_view(numbers, self.length + 1)[:: self.step or self.length]
        return Split(runs[:, :-1], runs[:, 1:])


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
