"""Texts, or pairs of texts, each of a class: tables and folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.class_folders import PARTS
from bigmodel_datasets.text_tables import (
    TABLES,
    Texts,
    check_options,
    files_of,
    joined,
    read_text,
    read_texts,
)
from bigmodel_datasets.text_tokens import (
    cut_note,
    frame_of,
    pairs_of,
    parts_of,
    ragged,
    remembered,
    tokenizer_for,
)


@dataclass(frozen=True)
class TextClassification(bm.Dataset):
    """Texts and the class of each, as tokens of unequal length; or pairs of texts.

    `data_dir` is a table (CSV, TSV without quotes, JSON lines) with a column of texts and one of labels; a
    folder with tables `train` and `test` (and `validation`), or some of one kind, which are read together; or
    a folder of one folder per class with a text in each file, which may be in `train` and `test`.

    x is tokens (n, T), with [CLS] and [SEP] around them where the tokenizer has those; of pairs it is the
    tokens of both and their segments, 0 and 1. y is (n,) labels.

    Args:
        text: the column of texts, by name or number.
        label: the column of labels.
        second: the column of second texts; None for single texts.
        header: whether the first row names the columns; if None, unless they are numbers.
        length: the most tokens of a sample; longer ones are cut.
        tokenizer: "wordpiece", "bpe", "characters" or "words", trained on the training texts; or the path of
            a `tokenizer.json`.
        vocabulary: how many tokens one that is trained has; at most 8192 if None.
        lowercase: whether texts are made lower case.
        test_fraction: share of the rows that is the test split, unless a file is.
        seed: which rows these are.
    """

    name: ClassVar[str] = "text-classification"
    text: int | str = "text"
    label: int | str = "label"
    second: int | str | None = None
    header: bool | None = None
    length: int = 128
    tokenizer: str = "wordpiece"
    vocabulary: int | None = None
    lowercase: bool = True
    test_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self, "length", "vocabulary")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data.

        Raises:
            DataError: a file or row cannot be used, or a class is unknown to the model; names it.
        """
        tables = self._tables(data_dir)
        rows = joined(list(tables.values()))
        labels, y = _labelled(rows, like)
        sizes = {part: len(table) for part, table in tables.items()}
        parts = parts_of(sizes, len(rows), self.test_fraction, self.seed, y)
        texts = [rows.columns[name] for name in ("text", "second") if name in rows.columns]
        tokenizer = tokenizer_for(
            self.tokenizer,
            (column[row] for row in parts["train"] for column in texts),
            known=None if like is None else like.tokenizer,
            vocabulary=self.vocabulary,
            lowercase=self.lowercase,
            specials=("<unk>",),
        )
        x, cut = self._samples(texts, tokenizer)
        whole = bm.Split(x, y)
        splits: dict[str, Any] = {part: whole.take(own) for part, own in parts.items()}
        what = "text" if self.second is None else "pair of texts"
        return bm.Data(
            name=self.name,
            **splits,
            labels=labels,
            input_meaning=f"a {what} of up to {self.length} tokens of {tokenizer.size:,}",
            source=f"{len(rows):,} rows of {', '.join(sorted({path.name for path, _ in rows.places})[:3])}",
            notes=cut_note(cut, self.length),
            tokenizer=tokenizer,
            made_by=remembered(self, tokenizer=tokenizer),
        )

    def of_texts(self, texts: Sequence[str], encoding: bm.Encoding) -> Any:
        """Texts to predict as samples; of a pair, a tab stands between the two.

        Raises:
            DataError: a text is empty, or no pair where the model takes pairs.
        """
        assert encoding.tokenizer is not None
        if self.second is None:
            return self._samples([list(texts)], encoding.tokenizer)[0]
        return self._samples(list(zip(*pairs_of(texts), strict=True)), encoding.tokenizer)[0]

    def _tables(self, data_dir: Path | None) -> dict[str, Texts]:
        """The rows of each split."""
        folders = _class_folders(data_dir, self.name)
        if folders is not None:
            return {part: _of_folder(folder) for part, folder in folders.items()}
        wanted: dict[str, int | str] = {"text": self.text, "label": self.label}
        if self.second is not None:
            wanted["second"] = self.second
        found = files_of(self.name, data_dir, TABLES)
        return {
            part: joined([read_texts(path, wanted, self.header) for path in paths])
            for part, paths in found.items()
        }

    def _samples(self, texts: Sequence[Sequence[str]], tokenizer: bm.Tokenizer) -> tuple[Any, int]:
        """x of some texts, or of pairs; and how many were cut."""
        before, behind = frame_of(tokenizer)
        cut = 0
        if len(texts) == 1:
            room = self.length - len(before) - len(behind)
            found = []
            for ids in tokenizer.encode_all(texts[0]):
                cut += len(ids) > room
                found.append([*before, *ids[:room], *behind])
            return ragged(found), cut
        end = [tokenizer.special("separator")]
        room = self.length - len(before) - 2
        tokens, segments = [], []
        for first, second in zip(*map(tokenizer.encode_all, texts), strict=True):
            cut += len(first) + len(second) > room
            own = max(room - len(second), min(len(first), (room + 1) // 2))
            left = [*before, *first[:own], *end]
            right = [*second[: room - min(own, len(first))], *end]
            tokens.append([*left, *right])
            segments.append([0] * len(left) + [1] * len(right))
        return (ragged(tokens), ragged(segments)), cut

    @classmethod
    def example(cls, folder: Path) -> None:
        """A table of 60 texts of two classes."""
        words = {"good": ("a fine", "the best", "such a warm"), "bad": ("a dull", "the worst", "such a cold")}
        rows = [
            f'"{start} film, number {number} of {kind[0]}",{kind}\n'
            for number in range(10)
            for kind, starts in words.items()
            for start in starts
        ]
        (folder / "example.csv").write_text("".join(["text,label\n", *rows]), "utf-8")


def _labelled(rows: Texts, like: bm.Encoding | None) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, and the number of each row's.

    Raises:
        DataError: there is one class, or one that the model does not know; names its line.
    """
    found = [label.strip() for label in rows.columns["label"]]
    known = like.labels if like is not None else None
    labels = tuple(sorted(set(found))) if known is None else known
    if len(labels) < 2:
        raise DataError(
            f"all rows are of the class {labels[0]!r}, expected two or more.",
            where=str(rows.places[0][0]),
            fix="name the column of labels with label.",
        )
    numbers = {label: number for number, label in enumerate(labels)}
    odd = next((row for row, label in enumerate(found) if label not in numbers), None)
    if odd is not None:
        raise bm.conforming.unknown_label([found[odd]], labels, rows.where(odd))
    return labels, np.array([numbers[label] for label in found], np.int64)


def _class_folders(data_dir: Path | None, name: str) -> dict[str, Path] | None:
    """The folder of each split, if texts are in folders of classes."""
    places = [Path(data_dir)] if data_dir is not None else bm.files.environment_folders(name)
    if not places or not places[0].is_dir():
        return None
    place = places[0]
    parts = {part: place / part for part in PARTS if (place / part).is_dir()}
    if "train" in parts:
        return parts
    return {"train": place} if any(item.is_dir() for item in place.iterdir()) else None


def _of_folder(folder: Path) -> Texts:
    """The texts in folders of classes, one a file.

    Raises:
        DataError: there is none, or a text is empty.
    """
    found = Texts([], {"text": [], "label": []})
    for place in sorted(item for item in folder.iterdir() if item.is_dir() and item.name[0] not in "._"):
        for path in sorted(place.glob("*.txt")):
            text = read_text(path)
            if not text.strip():
                raise DataError("the text is empty.", where=str(path), fix="fill it, or remove the file.")
            found.places.append((path, 1))
            found.columns["text"].append(text)
            found.columns["label"].append(place.name)
    if not found.places:
        raise DataError(
            "there is no .txt file in its folders.", where=str(folder), fix="name another folder."
        )
    return found
