"""The checks of strategies: they write texts by tables of scores, in place of a model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bigmodel_core.nn.strategy import Strategy
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, expect
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.registry_checks import registry_checks

PROMPTS, SIZE, STOP = 5, 7, 3
LIMITS = [12, 5, 12, 1, 8]
"""How many tokens may follow each prompt."""

BANNED = (1, 4)
"""Tokens whose scores are -inf."""


def strategy_checks(strategy: Strategy, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a strategy; the reference is a function of scores (N, vocabulary) and the step."""
    return {
        "reference": partial(isolated, check_reference, strategy, reference),
        "writes tokens": partial(isolated, check_tokens, strategy),
        "only what is allowed": partial(isolated, check_allowed, strategy),
        "the same again": partial(isolated, check_again, strategy),
        "prompts do not matter to each other": partial(isolated, check_neighbours, strategy),
        **registry_checks(strategy),
    }


def table(seed: int = 0, scale: float = 2.0, prompts: int = PROMPTS) -> np.ndarray:
    """Scores of what follows each token, (prompts, vocabulary, vocabulary)."""
    return scale * np.random.default_rng(seed).normal(size=(prompts, SIZE, SIZE)).astype("float32")


def written(strategy: Strategy, scores: np.ndarray) -> list[list[int]]:
    """What a strategy writes where the scores depend on the prompt and on the last token alone.

    Args:
        strategy: the strategy.
        scores: (prompts, vocabulary, vocabulary); texts begin after token 0.
    """
    search = strategy.begin(LIMITS[: len(scores)], lambda prompt, text: text[-1] == STOP)
    rows = search.rows
    own = np.repeat(np.arange(len(scores)), rows)
    last = np.zeros(len(own), np.int64)
    for _ in range(max(LIMITS)):
        if search.is_done:
            break
        given = scores[own, last]
        before = given.copy()
        tokens, parents = search.advance(given)
        expect(np.array_equal(before, given), "it wrote to the scores; make copies")
        tokens = np.asarray(tokens)
        expect(
            tokens.shape == last.shape and tokens.dtype.kind in "iu",
            f"the tokens are {tokens.dtype} {tokens.shape}, expected integers {last.shape}",
        )
        wrong = tokens[(tokens < -1) | (tokens >= SIZE)]
        expect(not wrong.size, f"it chose the token {wrong[:1]}, but there are 0 to {SIZE - 1}")
        if parents is not None:
            expect(
                np.array_equal(own[np.asarray(parents)], own), "a text goes on from that of another prompt"
            )
        last = np.maximum(tokens.astype(np.int64), 0)  # -1 where a text has ended
    expect(search.is_done, f"it is not done after {max(LIMITS)} tokens, of which there may be no more")
    return [list(map(int, search.answer(number))) for number in range(len(scores))]


def check_reference(strategy: Strategy, reference: Any) -> None:
    """Tokens equal the reference's."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    scores = table()
    for step in range(SIZE):
        got, wanted = strategy.choose(scores[:, step], step), reference(scores[:, step], step)
        expect(np.array_equal(got, wanted), f"step {step}: {got}, expected {wanted}")


def check_tokens(strategy: Strategy) -> None:
    """For flat, ordinary and steep scores it chooses tokens of the vocabulary and comes to an end."""
    for scale in (0.0, 2.0, 1e30):
        for text, most in zip(written(strategy, table(scale=scale)), LIMITS, strict=True):
            expect(len(text) <= most, f"it wrote {len(text)} tokens, {most} at most were wanted")
            expect(STOP not in text[:-1], "it went on behind a token that ends what it writes")


def check_allowed(strategy: Strategy) -> None:
    """A token whose score is -inf is never written, also where one alone is left."""
    scores = table(scale=0.0)
    scores[:, :, BANNED] = -np.inf
    for text in written(strategy, scores):
        expect(not {*text} & {*BANNED}, f"it wrote a token whose score is -inf: {text}")
    scores[:] = -np.inf
    scores[:, :, 5] = 0
    for text, most in zip(written(strategy, scores), LIMITS, strict=True):
        expect(text == [5] * most, f"token 5 alone is allowed, {most} times, but it wrote {text}")


def check_again(strategy: Strategy) -> None:
    """Asked again, and after other texts, it writes the same."""
    first = written(strategy, table())
    written(strategy, table(seed=1))
    expect(first == written(strategy, table()), "the same scores gave other texts; draw by a seed")


def check_neighbours(strategy: Strategy) -> None:
    """What follows a prompt is the same whatever stands beside it."""
    scores, others = table(), table(seed=1)
    others[0] = scores[0]
    expect(
        written(strategy, scores)[0] == written(strategy, others)[0],
        "other prompts in the batch changed what follows the first",
    )
