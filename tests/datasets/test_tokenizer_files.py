"""Tokenizers of pretrained models from their older files: the numbers of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError

TEXTS = (
    "It was the best of times, it was the worst of times.",
    "Élan vital: naïve cafés; Straße",
    "模型 learns 中文 and English",
    "  two  blanks\nand a line, don't!",
    "",
)
PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] it was the best wor ##st of time ##s , . : ; ' ! nai ##ve cafe "
    "elan Élan vital 模 型 learn 中 文 and english English two blank line don t ##t"
)


def word_pieces(folder: Path, **config: Any) -> Path:
    """A folder with a vocabulary as of BERT."""
    (folder / "vocab.txt").write_text("\n".join(PIECES.split()) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def byte_pairs(folder: Path, specials: tuple[str, ...], **config: Any) -> Path:
    """A folder with a vocabulary as of GPT-2 or RoBERTa."""
    made = bm.Tokenizer.train(TEXTS * 3, "bpe", vocabulary=290, specials=specials).to_dict()["model"]
    (folder / "vocab.json").write_text(json.dumps(made["vocab"]), "utf-8")
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in made["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def same(folder: Path, kind: str, **options: Any) -> None:
    """The tokens of transformers, with and without the frame."""
    transformers = pytest.importorskip("transformers")
    theirs = getattr(transformers, f"{kind}Tokenizer").from_pretrained(folder, **options)
    ours = bm.Tokenizer.load(folder)
    for text in TEXTS:
        framed = ours.encode(text, add_special=True).ids.tolist()
        assert framed == theirs(text)["input_ids"], text
        assert ours.encode(text).ids.tolist() == theirs(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.torch
@pytest.mark.parametrize(
    "config",
    [{}, {"do_lower_case": False}, {"strip_accents": False, "tokenize_chinese_chars": False}],
    ids=("usual", "cased", "accents kept"),
)
def test_word_pieces_are_those_of_transformers(tmp_path: Path, config: dict[str, Any]) -> None:
    same(word_pieces(tmp_path, **config), "Bert")


@pytest.mark.torch
def test_byte_pairs_of_roberta_are_those_of_transformers(tmp_path: Path) -> None:
    same(byte_pairs(tmp_path, ("<s>", "<pad>", "</s>", "<unk>", "<mask>")), "Roberta")


@pytest.mark.torch
@pytest.mark.parametrize("spaced", (False, True))
def test_byte_pairs_of_gpt2_are_those_of_transformers(tmp_path: Path, spaced: bool) -> None:
    same(byte_pairs(tmp_path, ("<|endoftext|>",), add_prefix_space=spaced), "GPT2")


def test_special_tokens_have_their_roles(tmp_path: Path) -> None:
    tokenizer = bm.Tokenizer.load(word_pieces(tmp_path))
    assert [tokenizer.special(role) for role in ("unknown", "class", "separator", "mask")] == [1, 2, 3, 4]
    assert tokenizer.decode([2, 5, 6, 7, 9, 10, 3]) == "it was the worst"


def test_what_stands_beside_a_vocabulary_is_read(tmp_path: Path) -> None:
    word_pieces(tmp_path)
    text = (tmp_path / "vocab.txt").read_text("utf-8").replace("[CLS]", "<begin>")
    (tmp_path / "vocab.txt").write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"lacks \[CLS\]"):
        bm.Tokenizer.load(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text('{"cls_token": {"content": "<begin>"}}')
    (tmp_path / "added_tokens.json").write_text('{"<more>": 44}')
    tokenizer = bm.Tokenizer.load(tmp_path)
    assert tokenizer.encode("it", add_special=True).ids.tolist() == [2, 5, 3]
    assert "<begin>" in tokenizer.specials and tokenizer.tokens[-1] == "<more>"


@pytest.mark.parametrize("name", ("spiece.model", "tokenizer.model"))
def test_sentencepiece_alone_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(DataError, match=rf"(?s)SentencePiece \({name}\).*save_pretrained") as caught:
        bm.Tokenizer.load(tmp_path)
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "there is no tokenizer"),
        ({"vocab.json": "{}"}, "cannot read the tokenizer"),
        ({"vocab.json": '{"a": "b"}', "merges.txt": ""}, "its tokens have no numbers"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "x y\n"}, "do not fit each other"),
        ({"vocab.json": "[1]", "merges.txt": ""}, "no mapping"),
        ({"vocab.txt": "[UNK]\n[CLS]\n"}, r"lacks \[SEP\]"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, files: dict[str, str], text: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=text):
        bm.Tokenizer.load(tmp_path)
