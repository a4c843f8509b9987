"""Data sets of texts: what rows, columns and folders become, and what is said of rows that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError

REVIEWS = [
    ("a fine film", "good"),
    ("a dull film", "bad"),
    ("the best of all", "good"),
    ("so cold", "bad"),
] * 5


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def texts_of(data: bm.Data, split: bm.Split | None = None) -> list[str]:
    assert data.tokenizer is not None
    return [data.tokenizer.decode(row) for row in np.asarray((split or data.train).inputs[0])]


def csv_of(rows: Any = REVIEWS, header: str = "text,label") -> str:
    return "\n".join([header, *(f'"{text}",{label}' for text, label in rows)])


# Classification ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "folder"])
def test_every_form_holds_the_same_texts(kind: str, tmp_path: Path) -> None:
    if kind == "csv":
        written(tmp_path / "a.csv", csv_of())
    elif kind == "tsv":
        written(tmp_path / "a.tsv", "\n".join(["label\ttext", *(f"{b}\t{a}" for a, b in REVIEWS)]))
    elif kind == "jsonl":
        lines = [json.dumps({"id": 3, "label": b, "text": a}) for a, b in REVIEWS]
        written(tmp_path / "a.jsonl", "\n".join(lines))
    else:
        for number, (text, label) in enumerate(REVIEWS):
            written(tmp_path / label / f"{number}.txt", text)
    data = bm.datasets.load("text-classification", tmp_path, tokenizer="words")
    found = [
        (text, data.labels[label])
        for split in data.splits().values()
        for text, label in zip(texts_of(data, split), split.y, strict=True)
    ]
    assert sorted(found) == sorted(REVIEWS) and data.labels == ("bad", "good")


def test_a_frame_of_special_tokens_is_put_around_word_pieces(tmp_path: Path) -> None:
    data = bm.datasets.load("text-classification", written(tmp_path / "a.csv", csv_of()))
    tokenizer = data.tokenizer
    for row in np.asarray(data.train.x):
        own = row[row >= 0]
        assert own[0] == tokenizer.special("class") and own[-1] == tokenizer.special("separator")


def test_pairs_have_segments(tmp_path: Path) -> None:
    rows = "\n".join(["text\tsecond\tlabel", *(f"{a}\twhat {b}\t{b}" for a, b in REVIEWS)])
    data = bm.datasets.load("text-classification", written(tmp_path / "a.tsv", rows), second="second")
    tokens, segments = (np.asarray(item) for item in data.train.x)
    separator = data.tokenizer.special("separator")
    for row, own in zip(tokens, segments, strict=True):
        first, second = np.flatnonzero(row == separator)
        assert (own[: first + 1] == 0).all() and (own[first + 1 : second + 1] == 1).all()
        assert (own[second + 1 :] == -1).all() and (row[second + 1 :] == -1).all()


@pytest.mark.parametrize("pair", [False, True])
def test_long_texts_are_cut_and_counted(pair: bool, tmp_path: Path) -> None:
    rows = [f"{'word ' * n}\t{'other ' * (20 - n)}\t{n % 2}" for n in range(1, 20)]
    table = written(tmp_path / "a.tsv", "\n".join(["text\tsecond\tlabel", *rows]))
    options = {"second": "second"} if pair else {}
    data = bm.datasets.load("text-classification", table, length=12, **options)
    longest = max(int((np.asarray(split.inputs[0]) >= 0).sum(1).max()) for split in data.splits().values())
    assert longest == 12
    assert data.notes == (f"{19 if pair else 9} texts of more than 12 tokens were cut (length).",)


def test_files_named_so_are_the_splits(tmp_path: Path) -> None:
    for part, rows in (("train", REVIEWS), ("test", REVIEWS[:3]), ("valid", REVIEWS[:2])):
        written(tmp_path / f"{part}.csv", csv_of(rows))
    data = bm.datasets.load("text-classification", tmp_path)
    assert {part: len(split) for part, split in data.splits().items()} == {
        "train": 20,
        "test": 3,
        "validation": 2,
    }


def test_each_class_keeps_its_share_of_the_test_split(tmp_path: Path) -> None:
    rows = [(f"text {n}", "rare" if n < 20 else "usual") for n in range(200)]
    data = bm.datasets.load("text-classification", written(tmp_path / "a.csv", csv_of(rows)))
    assert np.bincount(data.test.y).tolist() == [2, 18]


def test_like_takes_the_tokenizer_and_the_classes_of_the_model(tmp_path: Path) -> None:
    first = bm.datasets.load("text-classification", written(tmp_path / "a.csv", csv_of()))
    other = written(
        tmp_path / "b.csv", csv_of([("such news", "good"), ("such a fine dull film", "good")] * 4)
    )
    again = bm.datasets.load("text-classification", other, like=first)
    assert again.tokenizer == first.tokenizer and set(again.train.y) == {1}


def test_a_tokenizer_of_a_file_is_taken_and_its_path_forgotten(tmp_path: Path) -> None:
    tokenizer = bm.Tokenizer.train(["a fine dull film the best of all so cold"], kind="words")
    tokenizer.save(tmp_path / "mine")
    table = written(tmp_path / "a.csv", csv_of())
    data = bm.datasets.load("text-classification", table, tokenizer=str(tmp_path / "mine"))
    assert data.tokenizer == tokenizer
    assert str(tmp_path) not in json.dumps(data.encoding.to_dict())


# Tags -------------------------------------------------------------------------------------------------------

SENTENCES = [
    (["The", "unbelievable", "dog", "barks", "."], ["DET", "ADJ", "NOUN", "VERB", "PUNCT"]),
    (["Dogs", "bark"], ["NOUN", "VERB"]),
    (["中文", "unbelievable", "!"], ["NOUN", "ADJ", "PUNCT"]),
] * 8


def conll(sentences: Any = SENTENCES, between: str = " ") -> str:
    return "\n\n".join(
        "\n".join(between.join((word, "x", tag)) for word, tag in zip(*pair, strict=True))
        for pair in sentences
    )


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "characters", "words"])
def test_the_tag_is_at_the_first_token_of_its_word(kind: str, tmp_path: Path) -> None:
    table = written(tmp_path / "a.conll", conll())
    data = bm.datasets.load("token-tags", table, tokenizer=kind)
    known = {word: tag for words, tags in SENTENCES for word, tag in zip(words, tags, strict=True)}
    for x, y in zip(np.asarray(data.train.x), np.asarray(data.train.y), strict=True):
        starts = np.flatnonzero(y >= 0)
        ends = [*starts[1:], (x >= 0).sum() - (kind == "wordpiece")]
        for start, end in zip(starts, ends, strict=True):
            word = data.tokenizer.decode(x[start:end]).strip().replace("中 文", "中文")
            assert known[word] == data.labels[y[start]]


@pytest.mark.parametrize("form", ["tabs", "table", "json"])
def test_columns_and_tables_hold_the_same_sentences(form: str, tmp_path: Path) -> None:
    wanted = bm.datasets.load("token-tags", written(tmp_path / "a.conll", conll()))
    if form == "tabs":
        path = written(tmp_path / "b.txt", "-DOCSTART- x O\n\n" + conll(between="\t"))
    elif form == "table":
        lines = [f"{' '.join(words)}\t{' '.join(tags)}" for words, tags in SENTENCES]
        path = written(tmp_path / "b.tsv", "\n".join(["words\ttags", *lines]))
    else:
        lines = [json.dumps({"words": words, "tags": tags}) for words, tags in SENTENCES]
        path = written(tmp_path / "b.jsonl", "\n".join(lines))
    found = bm.datasets.load("token-tags", path)
    np.testing.assert_array_equal(np.asarray(found.train.x), np.asarray(wanted.train.x))
    np.testing.assert_array_equal(np.asarray(found.train.y), np.asarray(wanted.train.y))


def test_quotes_in_a_tsv_file_are_words(tmp_path: Path) -> None:
    lines = ['" no "\t`` D ``', "yes\tD"] * 10
    data = bm.datasets.load("token-tags", written(tmp_path / "a.tsv", "\n".join(["words\ttags", *lines])))
    assert data.labels == ("D", "``")


def test_spans_of_tags_point_into_the_text(tmp_path: Path) -> None:
    data = bm.datasets.load("token-tags", written(tmp_path / "a.conll", conll()))
    texts = ["Unbelievable   dogs, bark!", "中文"]
    made = data.encoding.made_by()
    x = np.asarray(made.of_texts(texts, data.encoding))
    scores = np.zeros((2, x.shape[1], len(data.labels)), "float32")
    scores[..., 2] = 1
    found = made.spans(texts, scores, data.encoding)
    assert [span["text"] for span in found[0]] == ["Unbelievable", "dogs", ",", "bark", "!"]
    for text, spans in zip(texts, found, strict=True):
        for span in spans:
            assert text[span["start"] : span["end"]] == span["text"] and span["label"] == data.labels[2]


# Pairs ------------------------------------------------------------------------------------------------------

PHONEMES = [("abc", "EY1 B IY0"), ("dé", "D EY1"), ("aé", "EY1 EY1"), ("bad", "B AE1 D")] * 6


def tsv(rows: Any = PHONEMES, header: str = "word\tphonemes") -> str:
    return "\n".join([header, *("\t".join(row) for row in rows)])


def test_a_target_is_shifted_by_one_and_framed(tmp_path: Path) -> None:
    table = written(tmp_path / "a.tsv", tsv())
    data = bm.datasets.load("text-pairs", table, tokenizer="characters", target_tokenizer="words")
    other = data.target_tokenizer
    source, given = (np.asarray(item) for item in data.train.x)
    for a, b, y in zip(source, given, np.asarray(data.train.y), strict=True):
        length = int((y >= 0).sum())
        assert b[0] == other.special("start") and y[length - 1] == other.special("end")
        np.testing.assert_array_equal(b[1:length], y[: length - 1])
        assert (data.tokenizer.decode(a), other.decode(y)) in PHONEMES


def test_both_texts_share_a_tokenizer_unless_targets_have_their_own(tmp_path: Path) -> None:
    data = bm.datasets.load("text-pairs", written(tmp_path / "a.tsv", tsv()))
    assert data.tokenizer == data.target_tokenizer and data.classes == data.tokenizer.size


def test_all_targets_of_a_source_are_in_one_split(tmp_path: Path) -> None:
    rows = [(f"w{n % 40}", f"p{n}") for n in range(200)]
    data = bm.datasets.load("text-pairs", written(tmp_path / "a.tsv", tsv(rows)), test_fraction=0.25)
    assert not set(texts_of(data)) & set(texts_of(data, data.test))


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    table = written(tmp_path / "a.tsv", tsv([(*row, "z") for row in PHONEMES], "a\tb\tc"))
    data = bm.datasets.load("text-pairs", table, source="b", target="c", tokenizer="words")
    assert set(texts_of(data)) <= {row[1] for row in PHONEMES}


def test_pairs_that_are_too_long_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*PHONEMES, ("a" * 50, "EY1"), ("b", "EY1 " * 50)]
    table = written(tmp_path / "a.tsv", tsv(rows))
    data = bm.datasets.load("text-pairs", table, tokenizer="characters", target_tokenizer="words", length=20)
    assert len(data.train) + len(data.test) == len(PHONEMES)
    assert data.notes == ("2 pairs with a text of 20 tokens or more were left out (length).",)


# Mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "text", "options", "match"),
    [
        ("text-classification", "a.csv", csv_of([("ok", "a"), (" ", "b")]), {}, "a.csv, line 3: the text"),
        ("text-classification", "a.csv", csv_of([("ok", "a")] * 3), {}, "all rows are of the class 'a'"),
        ("text-classification", "a.csv", csv_of(header="review,label"), {}, "no column is called 'text'"),
        ("text-classification", "a.csv", "text,label\n", {}, "a.csv: the file has no rows"),
        ("text-classification", "a.jsonl", '{"text": "a"}', {}, "a.jsonl, line 1: it has no 'label'; there"),
        ("text-classification", "a.jsonl", '{"text"', {}, "a.jsonl, line 1: it is no JSON"),
        ("text-classification", "a.jsonl", '["a"]', {}, "line 1: it is a list, expected an object"),
        ("text-classification", "a.tsv", "text\tlabel\na\tb\tc", {}, "a.tsv, line 2: 3 cells, expected 2"),
        ("text-classification", "a.csv", csv_of(), {"tokenizer": "letters"}, "neither one of bpe"),
        ("text-classification", "a.csv", csv_of(), {"vocabulary": 900}, "fewer than the vocabulary of 900"),
        ("text-classification", "a.csv", csv_of(), {"length": 0}, "length is 0"),
        ("token-tags", "a.conll", "a x\nb\n", {}, "a.conll, line 2: 'b' has too few columns"),
        ("token-tags", "a.conll", "\n\n", {}, "a.conll: the file has no sentences"),
        ("token-tags", "a.tsv", "words\ttags\na b\tx", {}, "a.tsv, line 2: 2 words and 1 tags"),
        ("text-pairs", "a.tsv", "a\tb\nx\t\n", {}, "a.tsv, line 2: the target is empty"),
        ("text-pairs", "a.tsv", tsv(), {"length": 1}, "all pairs have a text of 1 tokens or more"),
        ("text-pairs", "a.tsv", tsv(), {"target": "sound"}, "no column is called 'sound'"),
        ("masked-text", "a.txt", "One sentence.", {}, "passages of 62 tokens, expected three or more"),
        ("masked-text", "a.txt", " \n", {}, "a.txt: the text is empty"),
        ("text", "a.txt", "a b\nc\nd e\n", {"tokenizer": "bpe"}, "too few for samples of 64"),
        ("text", "a.txt", "a b c", {"vocabulary": 90}, "vocabulary is for tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(
    name: str, file: str, text: str, options: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises((DataError, ConfigError), match=match):
        bm.datasets.load(name, written(tmp_path / file, text), **options)


@pytest.mark.parametrize(
    ("name", "file", "first", "second", "match"),
    [
        ("text-classification", "a.csv", csv_of(), csv_of([("a", "ugly")]), "line 2: the class 'ugly'"),
        ("token-tags", "a.conll", conll(), "a x NEW\n\nb x DET", "a.conll, line 1: the class 'NEW'"),
    ],
)  # fmt: skip
def test_a_class_that_the_model_does_not_know_is_named(
    name: str, file: str, first: str, second: str, match: str, tmp_path: Path
) -> None:
    known = bm.datasets.load(name, written(tmp_path / file, first))
    with pytest.raises(DataError, match=match):
        bm.datasets.load(name, written(tmp_path / file, second), like=known)


@pytest.mark.parametrize("name", ["text-classification", "token-tags", "text-pairs", "masked-text"])
def test_a_place_is_needed(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} needs a"):
        bm.datasets.load(name)
