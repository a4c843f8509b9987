"""Perplexity, BLEU, ROUGE, token errors and F1 of parts equal what the packages of the field compute."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError, ShapeError

TRUE = [
    "The cat sat on the mat.",
    "It's 3.5% of $1,000 (or so) -- isn't it?",
    "&quot;Yes&quot; & no, <skipped> well-known e.g. 10-year-olds!",
    "Short one",
    "A much longer sentence, with many words: it goes on, and on, and on until it ends.",
    "他说\uff1a“你好\uff0c世界\uff01” Python 3.11 是一种语言。",
    "混合 text 与 English words\uff0c还有数字 42。",
]


def written(seed: int) -> list[str]:
    """The same texts with words left out, replaced and exchanged."""
    generator = random.Random(seed)
    found = []
    for text in TRUE:
        words = text.split(" ")
        words = [word if generator.random() < 0.7 else generator.choice(words) for word in words]
        found.append(" ".join(word for word in words if generator.random() < 0.9) or "nothing")
    return found


# BLEU -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["13a", "zh", "char", "none"])
@pytest.mark.parametrize("seed", range(6))
def test_bleu_is_that_of_sacrebleu(words: str, seed: int) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    wanted = sacrebleu.corpus_bleu(written(seed), [TRUE], tokenize=words, force=True).score
    assert bm.metrics.BLEU(words)(written(seed), TRUE) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "pairs",
    [
        [("the the the the the", "the cat is on the mat")],
        [("a b c d", "a b c d")],
        [("a b", "a b")],
        [("x y z w v", "a b c d e")],
        [("a x b y c z", "a b c d e f g h")],
        [("a b c d e f g h", "a b c d")],
    ],
)
def test_bleu_of_few_words_is_that_of_sacrebleu(pairs: Any) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    found, true = map(list, zip(*pairs, strict=True))
    assert bm.metrics.BLEU()(found, true) == pytest.approx(
        sacrebleu.corpus_bleu(found, [true]).score, abs=1e-9
    )


def test_bleu_of_batches_is_that_of_the_corpus() -> None:
    metric = bm.metrics.BLEU()
    state = metric.update(metric.empty(), written(1)[:3], TRUE[:3])
    other = metric.update(metric.empty(), written(1)[3:], TRUE[3:])
    assert metric.result(metric.merge(state, other)) == metric(written(1), TRUE)


def test_bleu_of_tokens_is_that_of_their_texts() -> None:
    tokenizer = bm.Tokenizer.train(TRUE, vocabulary=350)
    padded = [
        bm.Ragged.of([[*ids, 1] for ids in tokenizer.encode_all(texts)])[:] for texts in (written(2), TRUE)
    ]
    metric = bm.metrics.BLEU().fitted(bm.Encoding(target_tokenizer=tokenizer))
    assert metric(*padded) == pytest.approx(bm.metrics.BLEU()(written(2), TRUE))


def test_scores_count_where_there_is_a_true_token() -> None:
    true = np.array([[1, 2, 3, 4, 5, -1, -1]])
    scores = np.eye(9, dtype="float32")[np.array([[1, 2, 3, 4, 5, 8, 8]])]
    assert bm.metrics.BLEU()(scores, true) == pytest.approx(100)


# ROUGE ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["1", "2", "L"])
@pytest.mark.parametrize("seed", range(4))
def test_rouge_is_that_of_rouge_score(kind: str, seed: int) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer([f"rouge{kind}"])
    each = [scorer.score(b, a)[f"rouge{kind}"].fmeasure for a, b in zip(written(seed), TRUE, strict=True)]
    assert bm.metrics.ROUGE(kind)(written(seed), TRUE) == pytest.approx(np.mean(each), abs=1e-12)


# Tokens -----------------------------------------------------------------------------------------------------


def distance(a: list[int], b: list[int]) -> int:
    """By the definition, over all prefixes."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            )
    return table[len(a), len(b)]


def test_the_rate_of_wrong_tokens_is_that_of_edits() -> None:
    generator = np.random.default_rng(0)
    found = [generator.integers(0, 4, generator.integers(0, 12)).tolist() for _ in range(50)]
    true = [generator.integers(0, 4, generator.integers(1, 12)).tolist() for _ in range(50)]
    wanted = sum(map(distance, found, true)) / sum(map(len, true))
    padded = bm.Ragged.of(found)[:], bm.Ragged.of(true)[:]
    assert bm.metrics.TokenErrorRate()(*padded) == pytest.approx(wanted)


def test_the_token_for_the_end_is_no_error() -> None:
    tokenizer = bm.Tokenizer.train(["A B C"], kind="words", specials=("<s>", "</s>"))
    metric = bm.metrics.TokenErrorRate().fitted(bm.Encoding(target_tokenizer=tokenizer))
    assert metric(np.array([[2, 3, -1]]), np.array([[2, 3, 1]])) == 0


def test_perplexity_is_e_to_the_mean_loss() -> None:
    generator = np.random.default_rng(0)
    scores = (generator.normal(size=(5, 7, 11)) * 20).astype("float32")
    tokens = np.where(generator.random((5, 7)) < 0.3, -1, generator.integers(0, 11, (5, 7)))
    wide = scores.astype(np.float64)
    chances = wide - np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1, keepdims=True))
    chances -= wide.max(-1, keepdims=True)
    own = np.take_along_axis(chances, np.maximum(tokens, 0)[..., None], -1)[..., 0]
    wanted = np.exp(-own[tokens >= 0].mean())
    assert bm.metrics.Perplexity(ignore=-1)(scores, tokens) == pytest.approx(wanted, rel=1e-9)


def test_perplexity_in_training_is_that_of_the_loss() -> None:
    tokens = np.random.default_rng(0).integers(0, 9, (40, 12))
    model = bm.models.build("char-rnn", classes=9, units=8)
    trainer = bm.Trainer(model, metrics=["perplexity"])
    trainer.fit((tokens[:, :-1], tokens[:, 1:]), validation=0.25, verbose=False)
    logs = trainer.history.last
    assert logs["val_perplexity"] == pytest.approx(np.exp(logs["val_loss"]), rel=1e-5)


# Tags -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
        ("O", "B-X", "I-X", "E-X", "S-X", "S-Y", "I-Y"),
        ("nn", "vb", "at", "O"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*seems not to be NE tag")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_f1_of_parts_is_that_of_seqeval(labels: tuple[str, ...]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    generator = np.random.default_rng(0)
    for _ in range(20):
        lengths = generator.integers(1, 15, 8)
        true = [generator.integers(0, len(labels), n) for n in lengths]
        found = [
            np.where(generator.random(len(row)) < 0.4, generator.integers(0, len(labels), len(row)), row)
            for row in true
        ]
        names = [[[labels[n] for n in row] for row in rows] for rows in (true, found)]
        metric = bm.metrics.SequenceF1(labels)
        padded = bm.Ragged.of(found)[:], bm.Ragged.of(true)[:]
        assert metric(*padded) == pytest.approx(seqeval.f1_score(*names))


def test_pieces_of_words_break_no_part() -> None:
    metric = bm.metrics.SequenceF1(("O", "B-PER", "I-PER"))
    scores = np.eye(3, dtype="float32")[
        np.array([[1, 0, 2, 0]])
    ]  # the second token is a piece of the first word
    assert metric(scores, np.array([[1, -1, 2, 0]])) == 1


def test_training_gives_the_tags_of_the_data() -> None:
    tokens = np.random.default_rng(0).integers(0, 6, (60, 8))
    tags = np.where(tokens == 5, -1, tokens % 3)
    split = bm.Split(tokens, tags)
    data = bm.Data("names", split, split, labels=("O", "B-PER", "I-PER"), ignore=-1)
    layer = bm.Sequential(bm.layers.Embedding(6, 8), bm.layers.Dense(3))
    trainer = bm.Trainer(layer, "cross_entropy", bm.optimizers.Adam(0.05), ["sequence_f1", "accuracy"])
    trainer.fit(data, epochs=20, verbose=False)
    assert trainer.evaluate(data) == pytest.approx({"loss": 0, "sequence_f1": 1, "accuracy": 1}, abs=0.1)


# Mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: bm.metrics.BLEU("14a"), ConfigError, "'14a', expected one of 13a, zh, char, none"),
        (lambda: bm.metrics.ROUGE("3"), ConfigError, "'3', expected 1, 2 or L"),
        (lambda: bm.metrics.BLEU()(["a"], ["a", "b"]), ShapeError, "1 texts and 2 true ones"),
        (lambda: bm.metrics.BLEU()(np.zeros((2, 3)), np.zeros(2)), ShapeError, r"\(2, 3\) and the target"),
        (lambda: bm.metrics.SequenceF1()(np.zeros((1, 2)), np.zeros((1, 2))), ConfigError, "which tags"),
        (lambda: bm.metrics.Perplexity().result(bm.metrics.Perplexity().empty()), DataError, "no samples"),
    ],
)  # fmt: skip
def test_mistakes_are_named(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
