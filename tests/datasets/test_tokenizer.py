"""Tokenizers: text survives, ids are the library's, offsets point into the text; models keep them as data."""

from __future__ import annotations

import json
import pickle
import random
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

import bigmodel_core as bm
from bigmodel_core.data.like import encoding_of
from bigmodel_core.errors import ConfigError, DataError

POINTS = [*range(0xD800), *range(0xE000, 0x110000)]
SCRIPTS = (
    "The quick. Ärger, naïve café; Ελλάδα Москва עִבְרִית العربية "
    "हिन्दी বাংলা ไทย 한국어 日本語 カタカナ 中文混合 text ქართული አማርኛ தமிழ்"
)
TEXTS = [f"{line} {n}, the lower the lowest {n % 7}" for n, line in enumerate(SCRIPTS.split() * 20)]


def random_texts(count: int) -> list[str]:
    """Strings of any characters that Unicode has room for, and of some that go together."""
    generator = random.Random(0)
    combining = "e\u0301n\u0303👩‍🔬🇩🇪a\u0308\r\n\t \u200b中文"
    return [
        "".join(
            chr(generator.choice(POINTS)) if generator.random() < 0.6 else generator.choice(combining)
            for _ in range(generator.randrange(30))
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def bpe() -> bm.Tokenizer:
    return bm.Tokenizer.train(TEXTS, vocabulary=400)


@pytest.fixture(scope="module")
def wordpiece() -> bm.Tokenizer:
    return bm.Tokenizer.train(TEXTS, kind="wordpiece", vocabulary=200, lowercase=True)


# Text survives ----------------------------------------------------------------------------------------------


def test_ten_thousand_random_strings_return_from_byte_level_bpe(bpe: bm.Tokenizer) -> None:
    texts = random_texts(10_000)
    assert [bpe.decode(ids) for ids in bpe.encode_all(texts)] == texts


def test_ten_thousand_random_strings_return_from_characters() -> None:
    texts = random_texts(10_000)
    tokenizer = bm.Tokenizer.train(texts, kind="characters")
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_all(texts)] == texts


def test_streamed_pieces_join_to_the_text_without_half_characters(bpe: bm.Tokenizer) -> None:
    for text in random_texts(500):
        stream = bpe.stream()
        pieces = [stream.add(token) for token in bpe.encode(text).ids] + [stream.end()]
        assert "".join(pieces) == text
        assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_streamed_pieces_of_any_tokens_join_to_what_decode_gives(bpe: bm.Tokenizer) -> None:
    generator = random.Random(1)
    for _ in range(200):
        ids = [generator.randrange(bpe.size) for _ in range(30)]
        stream = bpe.stream()
        assert "".join(stream.add(token) for token in ids) + stream.end() == bpe.decode(ids)


@pytest.mark.parametrize("cleanup", [False, True])
def test_streamed_word_pieces_join_to_what_decode_gives(wordpiece: bm.Tokenizer, cleanup: bool) -> None:
    document = wordpiece.to_dict()
    tokenizer = bm.Tokenizer({**document, "decoder": {**document["decoder"], "cleanup": cleanup}})
    for text in TEXTS[:40]:
        ids, stream = tokenizer.encode(f"{text} , the lower . the lowest !").ids, tokenizer.stream()
        assert "".join(stream.add(token) for token in ids) + stream.end() == tokenizer.decode(ids)


def test_a_streamed_text_grows_with_each_character(bpe: bm.Tokenizer) -> None:
    stream, said = bpe.stream(), []
    for token in bpe.encode("丂").ids:  # three bytes, none of which is a character
        said.append(stream.add(token))
    assert said == ["", "", "丂"]


def test_special_tokens_written_in_a_text_are_text(bpe: bm.Tokenizer) -> None:
    assert bpe.special("end") not in bpe.encode("a </s> b").ids
    assert bpe.decode(bpe.encode("a </s> b").ids) == "a </s> b"
    assert bpe.special("end") in bpe.encode("a </s> b", read_special=True).ids


def test_no_token_stands_for_nothing(bpe: bm.Tokenizer) -> None:
    assert bpe.decode([*bpe.encode("the lower").ids, -1, -1]) == "the lower"


# The same ids as the library --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_ids_are_those_of_the_library_from_the_same_file(kind: str, tmp_path: Path, request: Any) -> None:
    tokenizer: bm.Tokenizer = request.getfixturevalue(kind)
    library = tokenizers.Tokenizer.from_file(str(tokenizer.save(tmp_path)))
    lines = TEXTS + random_texts(2000)
    wanted = [library.encode(line, add_special_tokens=False).ids for line in lines]
    assert [ids.tolist() for ids in tokenizer.encode_all(lines)] == wanted
    assert [ids.tolist() for ids in bm.Tokenizer.load(tmp_path).encode_all(lines)] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_no_id_differs_on_a_hundred_thousand_lines_of_twenty_scripts(kind: str, request: Any) -> None:
    tokenizer: bm.Tokenizer = request.getfixturevalue(kind)
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    generator, words = (
        random.Random(0),
        [*SCRIPTS.split(), "café", "naïve", "I'll", "3.14", "👩‍🔬", "e\u0301"],
    )
    lines = [" ".join(generator.choices(words, k=generator.randrange(1, 9))) for _ in range(100_000)]
    found = tokenizer.encode_all(lines)
    wanted = library.encode_batch(lines, add_special_tokens=False)
    assert sum(ids.tolist() != other.ids for ids, other in zip(found, wanted, strict=True)) == 0


def test_a_frame_of_special_tokens_is_put_around_as_the_library_does(wordpiece: bm.Tokenizer) -> None:
    frame = tokenizers.processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    library = tokenizers.Tokenizer.from_str(wordpiece.to_json())
    library.post_processor = frame
    framed = bm.Tokenizer.from_json(library.to_str())
    assert framed.encode("the lower", add_special=True).ids.tolist() == library.encode("the lower").ids
    assert (
        framed.encode("the lower").ids.tolist() == library.encode("the lower", add_special_tokens=False).ids
    )


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "characters", "words"])
def test_training_twenty_times_gives_the_same_bytes(kind: str) -> None:
    size = {"bpe": 300, "wordpiece": 150}.get(kind)
    made = {bm.Tokenizer.train(TEXTS, kind=kind, vocabulary=size).to_json() for _ in range(20)}
    assert len(made) == 1


def test_lengths_that_a_file_prescribes_cut_no_text(bpe: bm.Tokenizer) -> None:
    library = tokenizers.Tokenizer.from_str(bpe.to_json())
    library.enable_truncation(3)
    library.enable_padding(length=50)
    found = bm.Tokenizer.from_json(library.to_str())
    assert (
        found.encode("the lower the lowest").ids.tolist() == bpe.encode("the lower the lowest").ids.tolist()
    )


# Offsets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_offsets_are_ordered_in_range_and_cover_what_is_kept(kind: str, request: Any) -> None:
    tokenizer: bm.Tokenizer = request.getfixturevalue(kind)
    for text in random_texts(1000):
        found = tokenizer.encode(text)
        starts, ends = found.offsets[:, 0], found.offsets[:, 1]
        assert (starts < ends).all() and (np.diff(starts) >= 0).all()
        assert len(found) == 0 or (starts[0] >= 0 and ends[-1] <= len(text))
        covered = np.zeros(len(text), bool)
        for start, end in found.offsets:
            covered[start:end] = True
        if kind == "bpe":  # all is kept
            assert covered.all()
        else:  # but for blanks, and what the normaliser of BERT removes
            left = {unicodedata.category(text[place])[0] for place in np.flatnonzero(~covered)}
            assert left <= {"Z", "C", "M"}


def test_offsets_point_at_the_words() -> None:
    tokenizer = bm.Tokenizer.train(["der Ärger 中文"], kind="words")
    text = "  中文 Ärger"
    assert [text[start:end] for start, end in tokenizer.encode(text).offsets] == ["中文", "Ärger"]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_words_know_their_pieces(kind: str, request: Any) -> None:
    tokenizer: bm.Tokenizer = request.getfixturevalue(kind)
    words = ["the", "lowest", "中文", "Ärger"]
    ((ids, owners),) = tokenizer.encode_words([words])
    pieces = [tokenizer.decode(ids[owners == number]).strip() for number in range(4)]
    assert pieces == (words if kind == "bpe" else ["the", "lowest", "中 文", "arger"])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_words_are_encoded_as_the_library_does(kind: str, request: Any) -> None:
    tokenizer: bm.Tokenizer = request.getfixturevalue(kind)
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    before = " " if kind == "bpe" else ""
    sentences = [line.split() for line in TEXTS]
    for words, (ids, owners) in zip(sentences, tokenizer.encode_words(sentences), strict=True):
        spaced = [before * (place > 0) + word for place, word in enumerate(words)]
        wanted = library.encode(spaced, is_pretokenized=True, add_special_tokens=False)
        assert (ids.tolist(), owners.tolist()) == (wanted.ids, wanted.word_ids)


def test_words_are_the_tokens_that_they_are_in_a_text(bpe: bm.Tokenizer) -> None:
    ((ids, _),) = bpe.encode_words([["the", "lower", "lowest"]])
    np.testing.assert_array_equal(ids, bpe.encode("the lower lowest").ids)


# What is in it ----------------------------------------------------------------------------------------------


def test_characters_are_numbered_in_the_order_of_unicode() -> None:
    assert bm.Tokenizer.train(["中ba\n"], kind="characters").tokens == ("\n", "a", "b", "中")


def test_words_are_numbered_by_how_often_they_come() -> None:
    tokenizer = bm.Tokenizer.train(["AH0 B AH0", "K AH0 B"], kind="words", specials=("<s>", "</s>"))
    assert tokenizer.tokens == ("<s>", "</s>", "AH0", "B", "K")


def test_unknown_characters_become_the_token_for_them() -> None:
    tokenizer = bm.Tokenizer.train(["ab"], kind="characters", specials=("<unk>",))
    assert tokenizer.encode("axb").ids.tolist() == [1, 0, 2]


def test_a_role_finds_the_token_whatever_it_is_called(bpe: bm.Tokenizer, wordpiece: bm.Tokenizer) -> None:
    assert (bpe.special("end"), wordpiece.special("end"), wordpiece.special("mask")) == (1, 2, 3)


def test_sizes_hold_all_numbers(bpe: bm.Tokenizer) -> None:
    library = tokenizers.Tokenizer.from_str(bpe.to_json())
    assert bpe.size == len(bpe) == library.get_vocab_size() == 400
    assert [library.id_to_token(number) for number in range(400)] == list(bpe.tokens)


def test_a_file_teaches_what_its_text_does(tmp_path: Path) -> None:
    text = "\n".join(TEXTS)
    (tmp_path / "a.txt").write_text(text, "utf-8")
    wanted = bm.Tokenizer.train([line + "\n" for line in TEXTS[:-1]] + TEXTS[-1:], vocabulary=300)
    assert bm.Tokenizer.train(tmp_path / "a.txt", vocabulary=300) == wanted
    assert bm.Tokenizer.train(tmp_path, vocabulary=300) == wanted


def test_copies_are_equal_and_others_are_not(bpe: bm.Tokenizer, wordpiece: bm.Tokenizer) -> None:
    assert pickle.loads(pickle.dumps(bpe)) == bm.Tokenizer.from_json(bpe.to_json()) == bpe
    assert bpe != wordpiece and hash(bpe) == hash(bm.Tokenizer.from_json(bpe.to_dict()))


# Kept with the model ----------------------------------------------------------------------------------------


def test_an_encoding_keeps_tokenizers_and_the_ignored_label(
    bpe: bm.Tokenizer, wordpiece: bm.Tokenizer
) -> None:
    for target in (bpe, wordpiece, None):
        encoding = bm.Encoding("texts", tokenizer=bpe, target_tokenizer=target, ignore=-1)
        assert bm.Encoding.from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding


def test_one_tokenizer_for_both_is_written_once(bpe: bm.Tokenizer) -> None:
    one, two = (bm.Encoding(tokenizer=bpe, target_tokenizer=target).to_dict() for target in (None, bpe))
    assert len(json.dumps(two)) < len(json.dumps(one)) + 100


def language(tokenizer: bm.Tokenizer) -> bm.Data:
    ids = tokenizer.encode(" ".join(TEXTS)).ids[:2000].reshape(100, 20)
    split = bm.Split(ids[:, :-1], ids[:, 1:])
    return bm.Data("novel", split, split, tokenizer=tokenizer, target_tokenizer=tokenizer, ignore=-1)


@pytest.mark.parametrize("to", ["run", "model.safetensors", "model.onnx"])
def test_runs_checkpoints_and_exported_files_keep_the_tokenizer(
    to: str, bpe: bm.Tokenizer, tmp_path: Path
) -> None:
    data = language(bpe)
    model = bm.models.build("char-rnn", units=8).fitted(data)
    trainer = bm.Trainer(model, out=tmp_path / "run")
    trainer.fit(data, verbose=False)
    if to == "model.safetensors":
        bm.save(model, tmp_path / to)
    elif to == "model.onnx":
        bm.export(model, tmp_path / to)
    found = encoding_of(tmp_path / to)
    assert found.tokenizer == found.target_tokenizer == bpe and found.ignore == -1


def test_a_model_takes_its_vocabulary_from_the_tokenizer(bpe: bm.Tokenizer) -> None:
    assert bm.models.build("char-rnn").fitted(language(bpe)).classes == bpe.size
    assert language(bpe).vocabulary == language(bpe).target_vocabulary == bpe.size


def test_a_model_of_fewer_tokens_is_refused(bpe: bm.Tokenizer) -> None:
    @dataclass(frozen=True)
    class Small(bm.Layer):
        vocabulary: int = 65

        def __call__(self, tokens: Any) -> Any:
            return bm.layers.Dense(400)(bm.layers.Embedding(400, 4)(tokens))

    with pytest.raises(DataError, match="400 tokens, and the model a vocabulary of 65"):
        bm.Trainer(Small(), "cross_entropy").fit(language(bpe), verbose=False)


def test_samples_longer_than_the_context_are_refused(bpe: bm.Tokenizer) -> None:
    data = language(bpe)
    length = data.train.x.shape[1]
    model = bm.models.build("gpt", vocabulary=400, context=length - 1, layers=1, heads=1, width=4)
    with pytest.raises(DataError, match=f"up to {length} tokens, and the model a context of {length - 1}"):
        bm.Trainer(model).fit(data, verbose=False)


def test_texts_of_another_tokenizer_are_refused(bpe: bm.Tokenizer) -> None:
    other = bm.Tokenizer.train(TEXTS, vocabulary=300)
    with pytest.raises(DataError, match="300 tokens, and the model was trained with Tokenizer: bpe, 400"):
        language(other).like(language(bpe))


# Mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda t: t.encode("aé"), DataError, "character 'é' is not among the 2"),
        (lambda t: t.encode_all(["ab", "xa"]), DataError, "text 2: the character 'x'"),
        (lambda t: t.encode_words([["a"], ["b", "xa"]]), DataError, "text 2: the character 'x'"),
        (lambda t: t.encode("a\ud83d"), DataError, "half a character, '.*', at position 1"),
        (lambda t: t.decode([0, 2]), DataError, "token 2 is none of the vocabulary, expected 0 to 1"),
        (lambda t: t.special("mask"), ConfigError, "no special token for 'mask'"),
        (lambda t: t.load("nowhere"), DataError, "nowhere: cannot read the tokenizer"),
        (lambda t: t.from_json("{}"), DataError, "no model with a vocabulary"),
        (lambda t: t.from_json("x"), DataError, "no JSON"),
        (lambda t: t.from_json({"model": {"type": "?", "vocab": {}}}).encode("a"), DataError, "describes no"),
        (lambda t: t.train("a text"), ConfigError, "a single string"),
        (lambda t: t.train([1]), ConfigError, "a text is a int"),
        (lambda t: t.train(["", " \n"]), DataError, "no text to learn from"),
        (lambda t: t.train(["a"], kind="letters"), ConfigError, "'letters', expected one of bpe, wordpiece"),
        (lambda t: t.train(["a"], vocabulary=0), ConfigError, "vocabulary is 0"),
        (lambda t: t.train(["a"], vocabulary=100), ConfigError, "too few for 256 bytes and 2 special"),
        (lambda t: t.train(["a b"], vocabulary=9000), DataError, "give 259 tokens, fewer than .* 9,000"),
        (lambda t: t.train(["ab"], kind="characters", vocabulary=3), DataError, "have 2 characters"),
        (lambda t: t.train(["a"], kind="wordpiece", specials=()), ConfigError, "needs a token for what"),
        (lambda t: t.train([Path("none.txt")]), DataError, "none.txt: cannot read it"),
    ],
)  # fmt: skip
def test_mistakes_say_what_is_wrong(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(bm.Tokenizer.train(["ab"], kind="characters"))
