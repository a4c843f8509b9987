"""Questions about passages: what rows and SQuAD's files become, and how answers are found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError

HEADER = "question\tpassage\tanswer\tstart"
PASSAGE = "The old dog sat by the sea, and the cat sat in a tree."
HEROES = ["dog", "cat", "tree", "sea", "tea"]
PASSAGES = [f"{PASSAGE} It is a story of the {hero}." for hero in HEROES]
ROWS = [
    row
    for passage in PASSAGES
    for row in (
        ("Who sat by the sea?", passage, "The old dog", 0),
        ("Who sat in a tree?", passage, "the cat", passage.index("the cat")),
        ("What did the cat do?", passage, "sat", passage.rindex("sat")),
        ("Who sang?", passage, "", ""),
    )
]


def table(folder: Path, rows: Any = ROWS) -> Path:
    path = folder / "a.tsv"
    path.write_text("\n".join([HEADER, *("\t".join(map(str, row)) for row in rows)]), "utf-8")
    return path


def squad(folder: Path, rows: Any = ROWS) -> Path:
    asked: dict[str, list[Any]] = {}
    for number, (question, passage, answer, start) in enumerate(rows):
        item = {
            "id": str(number),
            "question": question,
            "answers": [{"text": answer, "answer_start": start}] if answer else [],
            "is_impossible": not answer,
        }
        asked.setdefault(passage, []).append(item)
    paragraphs = [{"context": passage, "qas": items} for passage, items in asked.items()]
    path = folder / "train-v2.0.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), "utf-8")
    return path


def told(data: bm.Data) -> list[tuple[str, str, int]]:
    """Question, answer and the place of its first token, of all samples."""
    found = []
    tokenizer = data.tokenizer
    assert tokenizer is not None
    for split in data.splits().values():
        tokens, segments = (np.asarray(item) for item in split.x)
        for row, own, first, last in zip(tokens, segments, split.y["start"], split.y["end"], strict=True):
            question = tokenizer.decode(row[own == 0])
            answer = tokenizer.decode(row[first : last + 1]) if first else ""
            assert (first == last == 0) or own[first] == own[last] == 1
            found.append((question, answer, int(first)))
    return sorted(found)


@pytest.mark.parametrize("form", [table, squad], ids=["table", "squad"])
def test_the_places_are_those_of_the_answers(form: Any, tmp_path: Path) -> None:
    options = {} if form is squad else {"start": "start"}
    data = bm.datasets.load("question-answers", form(tmp_path), **options)
    found = told(data)
    assert len(found) == len(ROWS)
    wanted = sorted((question.lower(), answer.lower()) for question, _, answer, _ in ROWS)
    assert [(question.replace(" ?", "?"), answer) for question, answer, _ in found] == wanted


def test_without_a_start_the_first_occurrence_counts(tmp_path: Path) -> None:
    first = told(bm.datasets.load("question-answers", table(tmp_path)))
    exact = told(bm.datasets.load("question-answers", table(tmp_path), start="start"))
    assert [(q, a) for q, a, _ in first] == [(q, a) for q, a, _ in exact]
    assert first != exact


def test_questions_about_a_passage_are_in_one_split(tmp_path: Path) -> None:
    data = bm.datasets.load("question-answers", table(tmp_path), test_fraction=0.4)
    stories = [
        {data.tokenizer.decode(row).split("story of the")[1].split()[0] for row in np.asarray(split.x[0])}
        for split in (data.train, data.test)
    ]
    assert len(stories[0]) == 3 and stories[0] | stories[1] == set(HEROES)
    assert len(data.test) == 8


def test_long_passages_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*ROWS, ("Who?", PASSAGE * 20, "cat", PASSAGE.index("cat"))]
    data = bm.datasets.load("question-answers", table(tmp_path, rows), length=40)
    assert sum(map(len, data.splits().values())) == len(ROWS)
    assert data.notes == ("1 questions of more than 40 tokens were left out (length).",)


def test_files_of_squad_are_known_by_their_names(tmp_path: Path) -> None:
    squad(tmp_path).rename(tmp_path / "dev-v2.0.json")
    squad(tmp_path)
    (tmp_path / "model.tokenizer.json").write_text("{}")
    data = bm.datasets.load("question-answers", tmp_path)
    assert {part: len(split) for part, split in data.splits().items()} == {
        "train": 16,
        "test": 4,
        "validation": 20,
    }


def test_the_most_probable_answer_is_found_in_the_text(tmp_path: Path) -> None:
    data = bm.datasets.load("question-answers", table(tmp_path), start="start")
    made = data.encoding.made_by()
    question, _, answer, start = ROWS[2]
    (first, last) = next(
        (int(first), int(last))
        for split in data.splits().values()
        for tokens, first, last in zip(np.asarray(split.x[0]), split.y["start"], split.y["end"], strict=True)
        if "what" in data.tokenizer.decode(tokens)
    )
    asked = [f"{question}\t{PASSAGES[0]}"]
    length = int(made.of_texts(asked, data.encoding)[0].lengths()[0])
    scores = {name: np.zeros((1, length), np.float32) for name in ("start", "end")}
    scores["start"][0, first] = scores["end"][0, last] = 9
    scores["end"][0, first - 1] = 12  # an end before its beginning is no answer
    ((found,),) = made.spans(asked, scores, data.encoding)
    assert (found["text"], found["start"]) == (answer, len(question) + 1 + int(start))
    both = [np.exp(part[0].astype(float)) / np.exp(part[0].astype(float)).sum() for part in scores.values()]
    assert found["probability"] == pytest.approx(both[0][first] * both[1][last], rel=1e-5)
    places = {"start": np.array([first]), "end": np.array([last]), "probability": np.array([0.5])}
    ((of_file,),) = made.spans(asked, places, data.encoding)
    assert of_file == {**found, "probability": 0.5}
    scores["start"][0, 1] = scores["end"][0, 2] = 20
    assert made.spans(asked, scores, data.encoding) == [[]], "in the question there is no answer"
    scores["start"][0, 0] = scores["end"][0, 0] = 40
    assert made.spans(asked, scores, data.encoding) == [[]]


@pytest.mark.parametrize(
    ("rows", "options", "match"),
    [
        ([*ROWS, ("Who?", PASSAGE, "a bird", 0)], {}, "a.tsv, line 22: the answer 'a bird' is not in"),
        (
            [*ROWS, ("Who?", PASSAGE, "the cat", 3)],
            {"start": "start"},
            "line 22: the answer 'the cat' is not in the passage at character 3, where ' old do' stands",
        ),
        ([*ROWS, ("Who?", PASSAGE, "the cat", "x")], {"start": "start"}, "line 22: start is 'x'"),
        ([*ROWS, ("", PASSAGE, "the cat", 3)], {}, "line 22: the question is empty"),
        (ROWS[:4], {}, "all rows have one passage or source, so that none can be held out to test"),
        (ROWS, {"length": 8}, "a.tsv, line 2: all questions have more than 8 tokens"),
    ],
)
def test_rows_that_cannot_be_used_are_named(rows: Any, options: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=match):
        bm.datasets.load("question-answers", table(tmp_path, rows), **options)


@pytest.mark.parametrize("text", ['{"version": 1}', "[1]", "{", '{"data": [{"paragraphs": 3}]}'])
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: it is not as SQuAD's files are"):
        bm.datasets.load("question-answers", tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("no tab", "the model takes pairs of texts, and 'no tab' is none"),
        ("Who?\t ", "is none"),
        (f"Who?\t{PASSAGE * 20}", "'Who[?]' and its passage have .* at most 128 fit"),
    ],
)
def test_texts_that_cannot_be_asked_are_refused(text: str, match: str, tmp_path: Path) -> None:
    data = bm.datasets.load("question-answers", table(tmp_path))
    with pytest.raises(DataError, match=match):
        data.encoding.made_by().of_texts([text], data.encoding)
