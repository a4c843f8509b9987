"""Sentences with a tag for each word: CoNLL columns, and tables of words and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.text_tables import TABLES, check_options, files_of, read_text, read_texts
from bigmodel_datasets.text_tokens import cut_note, frame_of, parts_of, ragged, remembered, tokenizer_for

COLUMNS = (".conll", ".conllu", ".iob", ".bio", ".txt")
WORD = re.compile(r"\w+(?:[-'\u2019.]\w+)*|([^\w\s])\1*")
"""What counts as a word in a text that is to be tagged, where no blank says more."""

Sentence = tuple[str, list[str], list[str]]
"""Where it is, its words, their tags."""


@dataclass(frozen=True)
class TokenTags(bm.Dataset):
    """Sentences as tokens, and the tag of each word at the first of its tokens.

    `data_dir` is a file in CoNLL columns, a word and its tag on a line, separated by blanks or tabs, with a
    blank line behind each sentence (`.conll`, `.txt`, ...); or a table (TSV without quotes, CSV, JSON lines)
    with a column of words and one of tags, each separated by blanks; or a folder with files `train` and
    `test` (and `validation`).

    x is tokens (n, T), with [CLS] and [SEP] around them where the tokenizer has those. y is (n, T) labels:
    -1, which counts nothing, at further tokens of a word, at special tokens, and where a sentence has ended.

    Args:
        words: the column of words, by name or number; in CoNLL columns by number, the first if it is a name.
        tags: the column of tags; in CoNLL columns the last if it is a name.
        header: whether the first row of a table names the columns; if None, unless they are numbers.
        length: the most tokens of a sentence; longer ones are cut.
        tokenizer: "wordpiece", "bpe", "characters" or "words", trained on the training sentences; or the path
            of a `tokenizer.json`.
        vocabulary: how many tokens one that is trained has; at most 8192 if None.
        lowercase: whether words are made lower case.
        test_fraction: share of the sentences that is the test split, unless a file is.
        seed: which sentences these are.
    """

    name: ClassVar[str] = "token-tags"
    words: int | str = "words"
    tags: int | str = "tags"
    header: bool | None = None
    length: int = 128
    tokenizer: str = "wordpiece"
    vocabulary: int | None = None
    lowercase: bool = False
    test_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self, "length", "vocabulary")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data.

        Raises:
            DataError: a sentence cannot be used, or a tag is unknown to the model; names file and line.
        """
        files = files_of(self.name, data_dir, (*COLUMNS, *TABLES))
        found = {part: [item for path in paths for item in self._read(path)] for part, paths in files.items()}
        sentences = [item for items in found.values() for item in items]
        parts = parts_of(
            {part: len(items) for part, items in found.items()}, len(sentences), self.test_fraction, self.seed
        )
        known = like.labels if like is not None else None
        labels = tuple(sorted({tag for _, _, tags in sentences for tag in tags})) if known is None else known
        tokenizer = tokenizer_for(
            self.tokenizer,
            (" ".join(sentences[row][1]) for row in parts["train"]),
            known=None if like is None else like.tokenizer,
            vocabulary=self.vocabulary,
            lowercase=self.lowercase,
            specials=("<unk>",),
        )
        x, starts, cut = self._tokens([words for _, words, _ in sentences], tokenizer)
        whole = bm.Split(x, _labels(sentences, starts, x.lengths(), labels))
        splits: dict[str, Any] = {part: whole.take(own) for part, own in parts.items()}
        names = sorted({path.name for paths in files.values() for path in paths})
        return bm.Data(
            name=self.name,
            **splits,
            labels=labels,
            input_meaning=f"a sentence of up to {self.length} tokens of {tokenizer.size:,}",
            source=f"{len(sentences):,} sentences of {', '.join(names[:3])}",
            notes=cut_note(cut, self.length, "sentences"),
            tokenizer=tokenizer,
            ignore=-1,
            made_by=remembered(self, tokenizer=tokenizer),
        )

    def of_texts(self, texts: Sequence[str], encoding: bm.Encoding) -> Any:
        """Sentences to predict as samples."""
        assert encoding.tokenizer is not None
        return self._tokens([_words(text) for text in texts], encoding.tokenizer)[0]

    def spans(
        self, texts: Sequence[str], scores: np.ndarray, encoding: bm.Encoding
    ) -> list[list[dict[str, Any]]]:
        """The words of texts with their places and tags.

        Args:
            texts: what was predicted.
            scores: (n, T, tags).
            encoding: of the training data.
        """
        assert encoding.tokenizer is not None and encoding.labels is not None
        _, starts, _ = self._tokens([_words(text) for text in texts], encoding.tokenizer)
        chances = bm.probabilities.softmax(scores)
        found = []
        for row, text in enumerate(texts):
            places = [match.span() for match in WORD.finditer(text)]
            found.append(
                [
                    {
                        "text": text[start:end],
                        "start": start,
                        "end": end,
                        "label": encoding.labels[int(chances[row, place].argmax())],
                        "probability": float(chances[row, place].max()),
                    }
                    for (start, end), place in zip(places, starts[row], strict=False)
                    if place >= 0
                ]
            )
        return found

    def _read(self, path: Path) -> Iterable[Sentence]:
        if path.suffix.lower() in TABLES:
            return self._read_table(path)
        return self._read_columns(path)

    def _read_table(self, path: Path) -> list[Sentence]:
        rows = read_texts(path, {"words": self.words, "tags": self.tags}, self.header)
        found = []
        for row in range(len(rows)):
            words, tags = rows.columns["words"][row].split(), rows.columns["tags"][row].split()
            if len(words) != len(tags):
                raise DataError(
                    f"{len(words)} words and {len(tags)} tags.",
                    where=rows.where(row),
                    fix="give each word a tag, separated by single blanks.",
                )
            found.append((rows.where(row), words, tags))
        return found

    def _read_columns(self, path: Path) -> list[Sentence]:
        word = self.words if isinstance(self.words, int) else 0
        tag = self.tags if isinstance(self.tags, int) else -1
        found: list[Sentence] = []
        current: Sentence | None = None
        for line, text in enumerate(read_text(path).splitlines(), 1):
            cells = text.split("\t") if "\t" in text else text.split()
            if not text.strip() or cells[0] == "-DOCSTART-":
                current = None
                continue
            if text.startswith("# "):  # a remark, as CoNLL-U has them
                continue
            try:
                if len(cells) < 2:
                    raise IndexError
                item = cells[word].strip(), cells[tag].strip()
            except IndexError:
                raise DataError(
                    f"{text[:40]!r} has too few columns ({len(cells)}), expected a word and a tag.",
                    where=f"{path}, line {line}",
                    fix="separate them by a blank or tab; set words and tags to the numbers of the columns.",
                ) from None
            if current is None:
                current = (f"{path}, line {line}", [], [])
                found.append(current)
            current[1].append(item[0])
            current[2].append(item[1])
        if not found:
            raise DataError("the file has no sentences.", where=str(path), fix="name another file.")
        return found

    def _tokens(
        self, sentences: Sequence[Sequence[str]], tokenizer: bm.Tokenizer
    ) -> tuple[bm.Ragged, list[np.ndarray], int]:
        """x of sentences; for each the place of the first token of each word, -1 for a word without one; and
        how many were cut."""
        before, behind = frame_of(tokenizer)
        room, cut = self.length - len(before) - len(behind), 0
        found, starts = [], []
        for words, (ids, owners) in zip(sentences, tokenizer.encode_words(sentences), strict=True):
            cut += len(ids) > room
            found.append([*before, *ids[:room], *behind])
            first = np.full(len(words), -1)
            places = np.flatnonzero(np.diff(owners[:room], prepend=-1))
            first[owners[places]] = places + len(before)
            starts.append(first)
        return ragged(found), starts, cut

    @classmethod
    def example(cls, folder: Path) -> None:
        """A file of 60 sentences in CoNLL columns."""
        words = {
            "DET": ("the", "a"),
            "NOUN": ("dog", "cat", "house", "tree"),
            "VERB": ("sees", "likes", "has"),
        }
        lines = []
        for number in range(60):
            for place, tag in enumerate(("DET", "NOUN", "VERB", "DET", "NOUN")):
                lines.append(f"{words[tag][(number * (place + 3) // 2 + place) % len(words[tag])]}\t{tag}")
            lines += [f"{number}\tNUM", ""]
        (folder / "example.conll").write_text("\n".join(lines), "utf-8")


def _labels(
    sentences: Sequence[Sentence], starts: Sequence[np.ndarray], lengths: np.ndarray, labels: tuple[str, ...]
) -> bm.Ragged:
    """The labels of tokens.

    Raises:
        DataError: a tag is none of the labels; names its place.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    found = []
    for (where, _, tags), places, length in zip(sentences, starts, lengths, strict=True):
        own = np.full(length, -1, np.int32)
        try:
            own[places[places >= 0]] = np.array([numbers[tag] for tag in tags], np.int32)[places >= 0]
        except KeyError as error:
            raise bm.conforming.unknown_label([str(error.args[0])], labels, where) from None
        found.append(own)
    return ragged(found)


def _words(text: str) -> list[str]:
    return [match.group() for match in WORD.finditer(text)]
