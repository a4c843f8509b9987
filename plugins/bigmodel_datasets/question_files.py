"""Questions about passages as files hold them: tables, and SQuAD's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bigmodel_core.errors import DataError
from bigmodel_datasets.text_tables import read_text, read_texts


@dataclass(frozen=True)
class Question:
    """A question about a passage.

    Args:
        where: file and line.
        question: its text.
        passage: what it is asked about.
        answer: a part of the passage; empty if it holds no answer.
        start: the character at which that begins.
    """

    where: str
    question: str
    passage: str
    answer: str
    start: int


def questions_of(path: Path, columns: Mapping[str, int | str], header: bool | None) -> Iterator[Question]:
    """The questions of a file: SQuAD's JSON, or a table.

    Args:
        path: the file.
        columns: of a table: those of "question", "passage" and "answer", perhaps of "start".
        header: whether the first row of a table names the columns; if None, unless they are numbers.

    Raises:
        DataError: an answer is no part of its passage, or a file or row cannot be read; names it.
    """
    found = _of_squad(path) if path.suffix.lower() == ".json" else _of_table(path, columns, header)
    for item in found:
        there = item.passage[item.start : item.start + len(item.answer)] if item.start >= 0 else None
        if there != item.answer:
            says = "" if there is None else f" at character {item.start}, where {there[:40]!r} stands"
            raise DataError(
                f"the answer {item.answer[:40]!r} is not in the passage{says}.",
                where=item.where,
                fix="copy the answer from the passage; leave it empty if there is none.",
            )
        yield item


def _of_table(path: Path, columns: Mapping[str, int | str], header: bool | None) -> Iterator[Question]:
    rows = read_texts(path, columns, header, may_be_empty=("answer", "start"))
    for row in range(len(rows)):
        question, passage, answer = (rows.columns[name][row] for name in ("question", "passage", "answer"))
        start = 0 if not answer else passage.find(answer)
        if answer and "start" in columns:
            start = _whole(rows.columns["start"][row], rows.where(row))
        yield Question(rows.where(row), question, passage, answer, start)


def _whole(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(
            f"start is {text!r}, expected the number of a character.", where=where, fix="count from 0."
        ) from None


def _of_squad(path: Path) -> Iterator[Question]:
    """The questions of a file in SQuAD's JSON, of version 1 or 2; of several answers the first counts."""
    try:
        articles = json.loads(read_text(path))["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for item in paragraph["qas"]:
                    answers = [] if item.get("is_impossible") else item["answers"]
                    text, start = (answers[0]["text"], answers[0]["answer_start"]) if answers else ("", 0)
                    where = f"{path}, question {item.get('id', item['question'][:40])}"
                    yield Question(where, item["question"], paragraph["context"], text, int(start))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"it is not as SQuAD's files are: {type(error).__name__} {error}.",
            where=str(path),
            fix='expected {"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}.',
        ) from None
