"""Pairs of a source and a target text: translation, summaries, turns of a dialogue, pronunciations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.text_tables import TABLES, check_options, files_of, joined, read_texts
from bigmodel_datasets.text_tokens import groups_of, left_note, parts_of, ragged, remembered, tokenizer_for

SPECIALS = ("<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class TextPairs(bm.Dataset):
    """Source texts and the target texts that a model is to write: what it is given, and what comes next.

    `data_dir` is a table (CSV, TSV without quotes, JSON lines) with a column of sources and one of targets;
    or a folder with tables `train` and `test` (and `validation`), or with others, which are read together.

    x is (source, target so far): tokens (n, S), and (n, T) that begin with the special token for the start. y
    is (n, T), the target one token later, with the token for the end; -1 counts nothing.

    Args:
        source: the column of sources, by name or number.
        target: the column of targets.
        header: whether the first row names the columns.
        length: the most tokens of a text; pairs with a longer one are left out.
        tokenizer: "bpe", "wordpiece", "characters" or "words", trained on the training pairs; or the path of
            a `tokenizer.json`.
        target_tokenizer: that of targets; None for one of both.
        vocabulary: how many tokens each that is trained has; at most 8192 if None.
        lowercase: whether texts are made lower case.
        test_fraction: share of the sources whose pairs are the test split, unless a file is.
        seed: which sources these are.
    """

    name: ClassVar[str] = "text-pairs"
    source: int | str = 0
    target: int | str = 1
    header: bool = True
    length: int = 128
    tokenizer: str = "bpe"
    target_tokenizer: str | None = None
    vocabulary: int | None = None
    lowercase: bool = False
    test_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self, "length", "vocabulary")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data.

        Raises:
            DataError: a file or row cannot be used; names it.
        """
        wanted = {"source": self.source, "target": self.target}
        files = files_of(self.name, data_dir, TABLES)
        tables = {
            part: joined([read_texts(path, wanted, self.header) for path in paths])
            for part, paths in files.items()
        }
        rows = joined(list(tables.values()))
        sources, targets = rows.columns["source"], rows.columns["target"]
        # All targets of a source are in one split: a word with two pronunciations is met once.
        parts = parts_of(
            {part: len(table) for part, table in tables.items()},
            len(rows),
            self.test_fraction,
            self.seed,
            groups=groups_of(sources),
        )
        own, other = self._tokenizers(sources, targets, parts["train"], like)
        before = [self._ids(sources, own), self._ids(targets, other)]
        start, end = other.special("start"), other.special("end")
        is_kept = np.array([max(map(len, pair)) < self.length for pair in zip(*before, strict=True)])
        if not is_kept.any():
            raise DataError(
                f"all pairs have a text of {self.length} tokens or more.",
                where=rows.where(0),
                fix="use a greater length.",
            )
        left_out = int((~is_kept).sum())
        splits: dict[str, Any] = {}
        for part, members in parts.items():
            chosen = members[is_kept[members]]
            written = [before[1][row] for row in chosen]
            splits[part] = bm.Split(
                (
                    ragged((before[0][row] for row in chosen), "S"),
                    ragged([start, *ids] for ids in written),
                ),
                ragged([*ids, end] for ids in written),
            )
        names = sorted({path.name for path, _ in rows.places})
        return bm.Data(
            name=self.name,
            **splits,
            input_meaning=f"a text of up to {self.length} tokens of {own.size:,}, and the first tokens of"
            f" another, of {other.size:,}",
            source=f"{len(rows):,} pairs of {', '.join(names[:3])}",
            notes=left_note(left_out, f"pairs with a text of {self.length} tokens or more"),
            tokenizer=own,
            target_tokenizer=other,
            ignore=-1,
            made_by=remembered(self, tokenizer=own, target_tokenizer=other),
        )

    def of_texts(self, texts: Sequence[str], encoding: bm.Encoding) -> Any:
        """Sources as samples, with nothing written yet but the start."""
        assert encoding.tokenizer is not None and encoding.target_tokenizer is not None
        start = encoding.target_tokenizer.special("start")
        return ragged(self._ids(texts, encoding.tokenizer), "S"), ragged([[start]] * len(texts))

    def _ids(self, texts: Sequence[str], tokenizer: bm.Tokenizer) -> list[np.ndarray]:
        return tokenizer.encode_all(texts)

    def _tokenizers(
        self, sources: Sequence[str], targets: Sequence[str], train: np.ndarray, like: bm.Encoding | None
    ) -> tuple[bm.Tokenizer, bm.Tokenizer]:
        """That of sources, and that of targets."""
        known = (None, None) if like is None else (like.tokenizer, like.target_tokenizer)
        options: dict[str, Any] = {
            "vocabulary": self.vocabulary,
            "lowercase": self.lowercase,
            "specials": SPECIALS,
        }
        first = [sources[row] for row in train]
        second = [targets[row] for row in train]
        if self.target_tokenizer is None:
            own = tokenizer_for(self.tokenizer, [*first, *second], known=known[0], **options)
            return own, known[1] or own
        return (
            tokenizer_for(self.tokenizer, first, known=known[0], **options),
            tokenizer_for(self.target_tokenizer, second, known=known[1], **options),
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """A table of 60 numbers as digits and as words."""
        words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
        rows = [f"{n}\t{' '.join(words[int(digit)] for digit in str(n))}\n" for n in range(7, 667, 11)]
        (folder / "example.tsv").write_text("".join(["digits\twords\n", *rows]), "utf-8")
