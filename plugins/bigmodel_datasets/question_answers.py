"""Questions, passages that answer them, and where in the passage the answer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.question_files import Question, questions_of
from bigmodel_datasets.text_tables import TABLES, check_options, files_of
from bigmodel_datasets.text_tokens import (
    groups_of,
    left_note,
    pairs_of,
    parts_of,
    ragged,
    remembered,
    tokenizer_for,
)


@dataclass(frozen=True)
class QuestionAnswers(bm.Dataset):
    """Questions about passages, and the first and last token of each answer (Rajpurkar et al., 2016).

    `data_dir` is a file in SQuAD's JSON (`.json`); or a table (CSV, TSV without quotes, JSON lines) with
    columns of questions, passages and answers; or a folder with files `train` and `test` (and `validation`),
    or some of one kind, which are read together. An answer is a part of its passage, or empty if there is
    none.

    x is (tokens, segments), both (n, T): [CLS] question [SEP] passage [SEP], and 0 or 1. y is {"start": (n,)
    the place of the answer's first token, "end": (n,) that of its last}; both are 0, the place of [CLS], if
    there is no answer.

    Args:
        question: the column of questions, by name or number.
        passage: the column of passages.
        answer: the column of answers.
        start: the column of the character at which the answer begins, counted from 0; if None, it is where
            the answer occurs first.
        header: whether the first row names the columns; if None, unless they are numbers.
        length: the most tokens of a sample; longer ones are left out.
        tokenizer: "wordpiece", trained on the training texts; or the path of a `tokenizer.json` with the
            special tokens [CLS] and [SEP], or what stands for them.
        vocabulary: how many tokens one that is trained has; at most 8192 if None.
        lowercase: whether texts are made lower case.
        test_fraction: share of the passages whose questions are the test split, unless a file is.
        seed: which passages these are.
    """

    name: ClassVar[str] = "question-answers"
    question: int | str = "question"
    passage: int | str = "passage"
    answer: int | str = "answer"
    start: int | str | None = None
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
            DataError: a file or row cannot be used, or an answer is no part of its passage; names it.
        """
        files = files_of(self.name, data_dir, (".json", *TABLES))
        columns = {"question": self.question, "passage": self.passage, "answer": self.answer}
        if self.start is not None:
            columns["start"] = self.start
        found = {
            part: [item for path in paths for item in questions_of(path, columns, self.header)]
            for part, paths in files.items()
        }
        questions = [item for items in found.values() for item in items]
        # All questions about a passage are in one split.
        parts = parts_of(
            {part: len(items) for part, items in found.items()},
            len(questions),
            self.test_fraction,
            self.seed,
            groups=groups_of([item.passage for item in questions]),
        )
        tokenizer = tokenizer_for(
            self.tokenizer,
            (text for row in parts["train"] for text in (questions[row].question, questions[row].passage)),
            known=None if like is None else like.tokenizer,
            vocabulary=self.vocabulary,
            lowercase=self.lowercase,
        )
        frames = _Frames(tokenizer)
        samples = [frames.sample(item.question, item.passage) for item in questions]
        is_kept = np.array([len(tokens) <= self.length for tokens, _ in samples])
        if not is_kept.any():
            raise DataError(
                f"all questions have more than {self.length} tokens with their passages.",
                where=questions[0].where,
                fix="use a greater length.",
            )
        splits: dict[str, Any] = {}
        for part, members in parts.items():
            chosen = members[is_kept[members]]
            places = np.array([frames.places(questions[row]) for row in chosen], np.int64).reshape(-1, 2)
            splits[part] = bm.Split(
                tuple(ragged(samples[row][side] for row in chosen) for side in (0, 1)),
                {"start": places[:, 0], "end": places[:, 1]},
            )
        names = sorted({path.name for paths in files.values() for path in paths})
        return bm.Data(
            name=self.name,
            **splits,
            input_meaning=f"a question and a passage, up to {self.length} tokens of {tokenizer.size:,}",
            source=f"{len(questions):,} questions of {', '.join(names[:3])}",
            notes=left_note(int((~is_kept).sum()), f"questions of more than {self.length} tokens"),
            tokenizer=tokenizer,
            made_by=remembered(self, tokenizer=tokenizer),
        )

    def of_texts(self, texts: Sequence[str], encoding: bm.Encoding) -> Any:
        """Questions to answer as samples: a tab stands between a question and its passage.

        Raises:
            DataError: there is no tab in a text, or it is too long.
        """
        assert encoding.tokenizer is not None
        frames, samples = _Frames(encoding.tokenizer), []
        for question, passage in pairs_of(texts):
            tokens, segments = frames.sample(question, passage)
            if len(tokens) > self.length:
                raise DataError(
                    f"{question[:40]!r} and its passage have {len(tokens):,} tokens, at most"
                    f" {self.length:,} fit (length).",
                    fix="ask about a part of the passage.",
                )
            samples.append((tokens, segments))
        return tuple(ragged(part) for part in zip(*samples, strict=True))

    def spans(
        self, texts: Sequence[str], scores: Mapping[str, np.ndarray], encoding: bm.Encoding
    ) -> list[list[dict[str, Any]]]:
        """The answer to each question, and where it stands in the text; an empty list if there is none: the
        most probable span is not in the passage.

        Args:
            texts: what was predicted.
            scores: "start" and "end", (n, T) each; or, of a file that gives answers, the places of the first
                and the last token, (n,) each, and their "probability".
            encoding: of the training data.
        """
        assert encoding.tokenizer is not None
        frames, found = _Frames(encoding.tokenizer), list[list[dict[str, Any]]]()
        spans = (
            (scores["start"], scores["end"], scores["probability"])
            if "probability" in scores
            else bm.probabilities.most_probable_spans(scores["start"], scores["end"])
        )
        for (question, passage), first, last, probability in zip(pairs_of(texts), *spans, strict=True):
            offsets, before = frames.encoded(passage).offsets, frames.before(question)
            if not before <= first <= last < before + len(offsets):
                found.append([])
                continue
            start, end = int(offsets[first - before][0]), int(offsets[last - before][1])
            place = len(question) + 1
            found.append(
                [
                    {
                        "text": passage[start:end],
                        "start": place + start,
                        "end": place + end,
                        "probability": float(probability),
                    }
                ]
            )
        return found

    @classmethod
    def example(cls, folder: Path) -> None:
        """A table of 60 questions, of which a few have no answer."""
        who, where = ("The dog", "A cat", "My aunt", "Nobody"), ("at home", "in a tree", "by the sea")
        rows = ["question,passage,answer"]
        for number in range(60):
            name, place = who[number % 4], where[number // 4 % 3]
            asked, answer = (("Where", place), ("Who", name), ("When", ""))[number % 5 % 3]
            rows.append(f"{asked} is it in story {number}?,{name} sits {place} in story {number}.,{answer}")
        (folder / "example.csv").write_text("\n".join(rows), "utf-8")


class _Frames:
    """Questions and passages between special tokens; a passage that occurs again is encoded once."""

    def __init__(self, tokenizer: bm.Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.start, self.end = tokenizer.special("class"), tokenizer.special("separator")
        self.known: dict[str, bm.Tokens] = {}

    def encoded(self, text: str) -> bm.Tokens:
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text)
        return self.known[text]

    def sample(self, question: str, passage: str) -> tuple[list[int], list[int]]:
        """Tokens and segments."""
        left = [self.start, *self.encoded(question).ids, self.end]
        right = [*self.encoded(passage).ids, self.end]
        return [*left, *right], [0] * len(left) + [1] * len(right)

    def before(self, question: str) -> int:
        """The place of the passage's first token."""
        return len(self.encoded(question).ids) + 2

    def places(self, item: Question) -> tuple[int, int]:
        """The places of the first and last token of the answer.

        Raises:
            DataError: no token holds it.
        """
        if not item.answer:
            return 0, 0
        starts, ends = self.encoded(item.passage).offsets.T
        own = np.flatnonzero((ends > item.start) & (starts < item.start + len(item.answer)))
        if not len(own):
            raise DataError(
                f"the answer {item.answer[:40]!r} has no tokens.", where=item.where, fix="give it a word."
            )
        before = self.before(item.question)
        return before + int(own[0]), before + int(own[-1])
