"""Strategies: sampling at its limits, and beam search beside all texts there are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

SCORES = np.array([[0.3, 2.0, -1.0, 1.9, 0.0], [5.0, 5.0, -3.0, 1.0, 2.0]], "float32")


def test_a_temperature_of_0_takes_the_most_probable_token() -> None:
    assert bm.strategies.Sample(temperature=0).choose(SCORES, 0).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("top_p", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [1e-8, 1.0, 1e8])
def test_probabilities_are_finite_and_add_up(temperature: float, top_p: float, dtype: str) -> None:
    strategy = bm.strategies.Sample(temperature=temperature, top_p=top_p)
    for scores in (SCORES[0], SCORES[1], np.array([-np.inf, 1, -np.inf, 6e4, -6e4])):
        tokens, shares = strategy.probabilities(scores.astype(dtype))
        assert len(tokens) >= 1
        assert np.isfinite(shares).all()
        assert abs(shares.sum() - 1) < 1e-12
        assert np.isfinite(scores[tokens]).all()


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    strategy = bm.strategies.Sample(temperature=2.0, seed=5)
    drawn = [strategy.choose(SCORES[:1], step)[0] for step in range(4000)]
    expected = np.exp(SCORES[0].astype(float) / 2)
    found = np.bincount(drawn, minlength=5) / 4000
    assert np.abs(found - expected / expected.sum()).max() < 0.03


@pytest.mark.parametrize("options", [{}, {"top_k": 200}, {"top_p": 0.7}], ids=str)
def test_draws_of_a_large_vocabulary_are_those_of_all_its_tokens_ranked(options: dict[str, Any]) -> None:
    scores = np.random.default_rng(0).normal(size=5000).astype("float32")
    strategy = bm.strategies.Sample(temperature=0.9, seed=7, **options)
    shares = np.exp(np.sort(scores.astype(float))[::-1][: options.get("top_k")] / 0.9)
    shares /= shares.sum()
    shares = shares[np.cumsum(shares) - shares < options.get("top_p", 1.0)]
    for step in range(20):
        chance = np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, step])).random()
        rank = int((np.cumsum(shares / shares.sum()) <= chance).sum())
        assert strategy.choose(scores[None], step).tolist() == [np.argsort(-scores)[rank]]


def test_top_k_and_top_p_leave_the_most_probable() -> None:
    def left(**options: Any) -> list[int]:
        return sorted(bm.strategies.Sample(**options).probabilities(SCORES[0])[0].tolist())

    assert left(top_k=2) == [1, 3]
    assert left(top_p=0.0) == [1]
    assert left(top_p=0.5) == [1, 3]
    assert left(top_p=1.0) == [0, 1, 2, 3, 4]


def scored(table: np.ndarray, text: tuple[int, ...]) -> float:
    """The log-probability of a text where scores depend on the last token."""
    total, last = 0.0, 0
    for token in text:
        row = table[last].astype(float)
        total += row[token] - np.log(np.exp(row).sum())
        last = token
    return total


def searched(strategy: Any, tables: np.ndarray, stop: list[int], most: int) -> Any:
    search = strategy.begin([most] * len(tables), lambda prompt, text: text[-1] in stop)
    own = np.repeat(np.arange(len(tables)), search.rows)
    last = np.zeros(len(own), np.int64)
    while not search.is_done:
        last, _ = search.advance(tables[own, last])
    return search


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_256_beams_find_the_best_of_all_texts(penalty: float) -> None:
    """4 tokens, of which 3 ends a text, and at most 4 of them."""
    tables = np.random.default_rng(0).normal(size=(3, 4, 4)).astype("float32")
    search = searched(bm.strategies.Beam(256, length_penalty=penalty), tables, [3], 4)
    for number, table in enumerate(tables):
        texts = [
            text
            for size in range(1, 5)
            for text in itertools.product(range(4), repeat=size)
            if 3 not in text[:-1] and (text[-1] == 3 or size == 4)
        ]
        best = max(texts, key=lambda text: scored(table, text) / len(text) ** penalty)
        assert search.answer(number) == [*best]
        assert abs(search.score(number) - scored(table, best) / len(best) ** penalty) < 1e-6


def test_scores_of_beams_do_not_depend_on_the_other_prompts() -> None:
    tables = np.random.default_rng(1).normal(size=(4, 6, 6)).astype("float32")
    together = searched(bm.strategies.Beam(3), tables, [5], 6)
    alone = [searched(bm.strategies.Beam(3), tables[n : n + 1], [5], 6) for n in range(4)]
    assert [together.score(n) for n in range(4)] == [search.score(0) for search in alone]


def test_one_beam_is_greedy() -> None:
    tables = np.random.default_rng(2).normal(size=(3, 6, 6)).astype("float32")
    beam, greedy = (
        searched(strategy, tables, [], 6) for strategy in (bm.strategies.Beam(1), bm.strategies.Greedy())
    )
    assert [beam.answer(n) for n in range(3)] == [greedy.answer(n) for n in range(3)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Sample", {"temperature": -1}),
        ("Sample", {"top_p": 1.5}),
        ("Sample", {"top_k": 0}),
        ("Beam", {"width": 0}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(bm.errors.ConfigError, match=next(iter(options))):
        bm.strategies.get(name)(**options)
