"""Texts with tokens to be guessed, and passages that follow each other or not: what BERT learns from."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.text_files import documents
from bigmodel_datasets.text_tables import check_options
from bigmodel_datasets.text_tokens import remembered, tokenizer_for

SENTENCE = re.compile(r"(?<=[.!?][\"'\u201d\u2019)\]])\s+|(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n\s*\n")
MASKED, RANDOM = 0.8, 0.1
"""Of the tokens to be guessed, the share that [MASK] replaces, and that any token does; the rest stay."""


@dataclass(frozen=True)
class MaskedText(bm.Dataset):
    """Passages in which 15 % of the tokens are to be guessed, and whether the second follows the first
    (Devlin et al., 2019).

    `data_dir` is a text file, or a folder of `.txt` files; each is a document. A sample begins with a passage
    of whole sentences; with a chance of a half the second is the passage that follows, else any other. Of the
    tokens to be guessed, 80 % are [MASK], 10 % any token and 10 % as they were. All of this is drawn anew in
    each epoch, by seed, epoch and sample; test and validation samples stay the same.

    x is (tokens, segments), both (n, T): [CLS] first [SEP] second [SEP], and 0 or 1. y is {"masked": (n, T)
    the tokens to be guessed, -1 elsewhere; "next": (n,) 0 if the second follows, else 1}. Without pairs x is
    the tokens of one passage, and y those to be guessed.

    Args:
        length: the most tokens of a sample.
        pairs: whether there are second passages.
        masked: the share of tokens to be guessed.
        tokenizer: "wordpiece", trained on the training text, or the path of a `tokenizer.json` with the
            special tokens [CLS], [SEP] and [MASK], or what stands for them.
        vocabulary: how many tokens one that is trained has; at most 8192 if None.
        lowercase: whether the text is made lower case.
        test_fraction: share of each document, at its end, that is the test split.
    """

    name: ClassVar[str] = "masked-text"
    length: int = 128
    pairs: bool = True
    masked: float = 0.15
    tokenizer: str = "wordpiece"
    vocabulary: int | None = None
    lowercase: bool = True
    test_fraction: float = 0.1

    def __post_init__(self) -> None:
        check_options(self, "vocabulary")
        bm.check_number(self, "length", whole=True, at_least=8)
        bm.check_number(self, "masked", above=0, below=1)

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data.

        Raises:
            DataError: a file cannot be read, or there is too little text.
        """
        texts = documents(self.name, data_dir)
        cuts = [(text, _cut(text, self.test_fraction)) for _, text in texts]
        train, test = [text[:cut] for text, cut in cuts], [text[cut:] for text, cut in cuts]
        tokenizer = tokenizer_for(
            self.tokenizer,
            (line for text in train for line in text.splitlines()),
            known=None if like is None else like.tokenizer,
            vocabulary=self.vocabulary,
            lowercase=self.lowercase,
        )
        splits: dict[str, Any] = {
            part: self._split(own, tokenizer, part) for part, own in (("train", train), ("test", test))
        }
        size = sum(map(len, train)) + sum(map(len, test))
        what = "two passages" if self.pairs else "a passage"
        return bm.Data(
            name=self.name,
            **splits,
            input_meaning=f"{what} of up to {self.length} tokens of {tokenizer.size:,}, some masked",
            source=f"{size:,} characters of {', '.join(path.name for path, _ in texts[:3])}",
            tokenizer=tokenizer,
            target_tokenizer=tokenizer,
            ignore=-1,
            made_by=remembered(self, tokenizer=tokenizer),
        )

    def _split(self, texts: Sequence[str], tokenizer: bm.Tokenizer, part: str) -> bm.Split:
        frame = 3 if self.pairs else 2
        room = (self.length - frame) // (2 if self.pairs else 1)
        passages, owners = [], []
        for number, text in enumerate(texts):
            sentences = [sentence for sentence in SENTENCE.split(text) if sentence and sentence.strip()]
            found = list(_packed(tokenizer.encode_all(sentences), room))
            passages += found
            owners += [number] * len(found)
        if len(passages) < 3:
            raise DataError(
                f"the {part} split has {len(passages)} passages of {room} tokens, expected three or more.",
                where=self.name,
                fix="use a longer text, a smaller length, or another test_fraction.",
            )
        chosen = np.arange(len(passages))
        if self.pairs:  # those that another of the same document follows
            chosen = np.flatnonzero(np.diff(owners, append=-1) == 0)
        drawn = _Drawn(passages, chosen, tokenizer, self.masked, self.pairs, self.length)
        if not self.pairs:
            return bm.Split(_Part(drawn, "tokens"), _Part(drawn, "masked"))
        return bm.Split(
            (_Part(drawn, "tokens"), _Part(drawn, "segments")),
            {"masked": _Part(drawn, "masked"), "next": _Part(drawn, "next")},
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """A text of 400 sentences."""
        who, what = ("The dog", "A cat", "My aunt", "Nobody"), ("sees", "likes", "finds", "forgets")
        whom = ("the house", "a tree", "the old road", "its own shadow", "the sea")
        lines = [f"{who[n % 4]} {what[n // 4 % 4]} {whom[n // 3 % 5]} {n % 10} times." for n in range(400)]
        (folder / "example.txt").write_text("\n".join(lines), "utf-8")


def _cut(text: str, fraction: float) -> int:
    """Where a document is cut in two: at the sentence that ends last before a share of it."""
    wanted = round(len(text) * (1 - fraction))
    ends = [match.end() for match in SENTENCE.finditer(text, 0, wanted)]
    return ends[-1] if ends else wanted


def _packed(sentences: Sequence[np.ndarray], room: int) -> Iterator[np.ndarray]:
    """Sentences put together while they have room; longer ones are cut in pieces."""
    held: list[np.ndarray] = []
    size = 0
    for sentence in sentences:
        for start in range(0, len(sentence), room):
            piece = sentence[start : start + room]
            if held and size + len(piece) > room:
                yield np.concatenate(held)
                held, size = [], 0
            held.append(piece)
            size += len(piece)
    if held:
        yield np.concatenate(held)


class _Drawn:
    """Samples as they are drawn in an epoch: all parts of a batch are made together.

    Args:
        passages: the tokens of each.
        chosen: with which of them samples begin.
        tokenizer: what they are tokens of.
        masked: the share to be guessed.
        pairs: whether a second passage follows.
        length: the most tokens of a sample.
        key: seed and epoch.
    """

    def __init__(
        self,
        passages: Sequence[np.ndarray],
        chosen: np.ndarray,
        tokenizer: bm.Tokenizer,
        masked: float,
        pairs: bool,
        length: int,
        key: tuple[int, int] = (0, 0),
    ) -> None:
        self.own = (passages, chosen, tokenizer, masked, pairs, length)
        self.passages, self.chosen, self.masked, self.pairs, self.length = (
            passages, chosen, masked, pairs, length,
        )  # fmt: skip
        self.key = key
        self.start, self.end = tokenizer.special("class"), tokenizer.special("separator")
        self.mask = tokenizer.special("mask")
        self.plain = np.array(sorted(set(range(tokenizer.size)) - set(tokenizer.specials.values())))
        sizes = np.array([len(passage) for passage in passages])
        self.second, self.follows = self._second()
        self.lengths = sizes[chosen] + (2 if not pairs else 3 + sizes[self.second])
        self._made: dict[bytes, dict[str, np.ndarray]] = {}
        self._lock = threading.Lock()
        self._later: _Drawn | None = None

    def at(self, seed: int, epoch: int) -> _Drawn:
        """The same samples in an epoch."""
        with self._lock:
            if self._later is None or self._later.key != (seed, epoch):
                self._later = _Drawn(*self.own, key=(seed, epoch))
            return self._later

    def _second(self) -> tuple[np.ndarray, np.ndarray]:
        """The second passage of each sample, and whether it is the one that follows."""
        draws = bm.Draws(np.arange(len(self.chosen)), *self.key, stream=1)
        follows = draws.uniform() < 0.5
        other = draws.integers(len(self.passages) - 1)
        other = other + (other >= self.chosen + 1)  # any but the one that follows
        return np.where(follows, self.chosen + 1, other), follows

    def batch(self, indices: np.ndarray, width: int) -> dict[str, np.ndarray]:
        """All parts of some samples; those of one batch are asked for one after the other."""
        name = indices.tobytes() + width.to_bytes(8, "little")
        with self._lock:
            if name in self._made:
                return self._made[name]
        made = self._make(indices, width)
        with self._lock:
            self._made[name] = made
            while len(self._made) > 8:
                del self._made[next(iter(self._made))]
        return made

    def _make(self, indices: np.ndarray, width: int) -> dict[str, np.ndarray]:
        tokens = np.full((len(indices), width), -1)
        segments, is_text = np.full(tokens.shape, -1), np.zeros(tokens.shape, bool)
        for row, index in enumerate(indices):
            first = self.passages[self.chosen[index]]
            split = len(first) + 2
            tokens[row, :split] = self.start, *first, self.end
            segments[row, :split] = 0
            is_text[row, 1 : split - 1] = True
            if self.pairs:
                second = self.passages[self.second[index]]
                stop = split + len(second) + 1
                tokens[row, split:stop] = *second, self.end
                segments[row, split:stop] = 1
                is_text[row, split : stop - 1] = True
        draws = bm.Draws(indices, *self.key, stream=2)
        # As many numbers as the longest sample takes, so that they do not depend on the others of the batch.
        which, how, what = (draws.uniform(self.length)[:, :width] for _ in range(3))
        is_masked = is_text & (which < self.masked)
        replaced = np.where(how < MASKED, self.mask, self.plain[(what * len(self.plain)).astype(np.int64)])
        return {
            "tokens": np.where(is_masked & (how < MASKED + RANDOM), replaced, tokens),
            "segments": segments,
            "masked": np.where(is_masked, tokens, -1),
            "next": 1 - self.follows[indices].astype(np.int64),
        }


class _Part(bm.Source):
    """One of the parts of samples."""

    def __init__(self, drawn: _Drawn, part: str) -> None:
        self.drawn, self.part, self.dtype = drawn, part, np.dtype(np.int64)
        count = len(drawn.chosen)
        self.shape = (count,) if part == "next" else (count, drawn.length)

    def lengths(self) -> np.ndarray | None:
        return None if self.part == "next" else self.drawn.lengths

    def in_epoch(self, seed: int, epoch: int) -> bm.Source:
        return _Part(self.drawn.at(seed, epoch), self.part)

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        width = self.drawn.length if self.part == "next" else out.shape[1]
        out[...] = self.drawn.batch(indices, width)[self.part]
