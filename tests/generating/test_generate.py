"""Texts that language models write: prompts of unequal length, limits, streams, and what is refused."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError, ShapeError, UsageError
from bigmodel_core.generating.generate import Generation
from bigmodel_core.generating.writer import Writer
from bigmodel_core.nn.session import Session

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 3], [2, 2]]
STRATEGIES = [
    bm.strategies.Greedy(),
    bm.strategies.Sample(temperature=1.5, top_k=9, top_p=0.9, seed=3),
    bm.strategies.Beam(3),
]


def wide(network: Any) -> Any:
    """A model whose parameters are large enough that tokens differ."""
    network.load_state({path: 8 * array for path, array in network.state().items()})
    return network


@cache
def gpt(**options: Any) -> Any:
    sizes = {"vocabulary": 12, "context": 16, "layers": 2, "heads": 2, "width": 8, **options}
    model = bm.models.build("gpt", **sizes)
    return wide(model.build(model.input_spec()))


@cache
def llama() -> Any:
    options = {"vocabulary": 12, "context": 16, "layers": 2, "heads": 4, "kv_heads": 2, "width": 16}
    model = bm.models.build("llama", **options)
    return wide(model.build(model.input_spec()))


@cache
def char_rnn() -> Any:
    model = bm.models.build("char-rnn", classes=12, units=8)
    return wide(model.build(model.input_spec()))


MODELS = {"gpt": gpt, "llama": llama, "char-rnn": char_rnn}


@pytest.fixture(scope="module", params=MODELS)
def network(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]()


def log_softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    shifted = scores - scores.max(axis, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return found


def whole(network: Any, prompt: list[int], count: int) -> list[int]:
    """The most probable tokens, the whole text read again for each."""
    text = list(prompt)
    for _ in range(count):
        text.append(int(network(np.array([text]))[0, -1].argmax()))
    return text[len(prompt) :]


def test_greedy_tokens_are_those_of_the_whole_text(network: Any) -> None:
    assert bm.generate(network, PROMPTS[0], max_tokens=8).tolist() == whole(network, PROMPTS[0], 8)


def test_prompts_of_unequal_length_get_what_each_gets_alone(network: Any) -> None:
    together = bm.generate(network, PROMPTS, max_tokens=6)
    assert [row.tolist() for row in together] == [whole(network, prompt, 6) for prompt in PROMPTS]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda item: type(item).__name__)
def test_pieces_join_to_the_whole(network: Any, strategy: bm.Strategy) -> None:
    pieces = bm.generate(network, PROMPTS[0], strategy, max_tokens=6, stream=True)
    assert (
        np.concatenate([*pieces]).tolist()
        == bm.generate(network, PROMPTS[0], strategy, max_tokens=6).tolist()
    )


def test_beams_read_a_prompt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def run(session: Session, arrays: Any, is_read: bool) -> Any:
        shapes.append(arrays[0].shape)
        return own(session, arrays, is_read)

    own = Session._run_call
    monkeypatch.setattr(Session, "_run_call", run)
    bm.generate(gpt(), PROMPTS, bm.strategies.Beam(3), max_tokens=3)
    assert shapes == [(4, 16), (12, 1), (12, 1), (12, 1)]


def test_a_second_generation_needs_no_new_session(monkeypatch: pytest.MonkeyPatch) -> None:
    network = gpt()
    wanted = bm.generate(network, [1, 2], max_tokens=9).tolist()
    bm.generate(network, [5, 6, 7], max_tokens=9)
    monkeypatch.setattr(network, "session", None)
    assert bm.generate(network, [1, 2], max_tokens=9).tolist() == wanted


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda item: type(item).__name__)
def test_threads_do_not_matter(network: Any, strategy: bm.Strategy) -> None:
    before = bm.num_threads()
    found = []
    try:
        for threads in (1, 2):
            bm.set_num_threads(threads)
            found.append([row.tolist() for row in bm.generate(network, PROMPTS, strategy, max_tokens=6)])
    finally:
        bm.set_num_threads(before)
    assert found[0] == found[1]


def test_eight_padded_prompts_have_the_scores_of_each_alone() -> None:
    network = gpt(context=48)
    random = np.random.default_rng(0)
    prompts = [random.integers(0, 12, size) for size in (1, 5, 9, 13, 20, 27, 33, 40)]
    tokens = np.full((8, 40), -1)
    for row, prompt in enumerate(prompts):
        tokens[row, 40 - len(prompt) :] = prompt
    padded = network.session(8, capacity=40)(tokens)[:, -1]
    alone = np.concatenate([network(prompt[None])[:, -1] for prompt in prompts])
    assert np.abs(padded - alone).max() < 1e-5 * max(1, np.abs(alone).max())
    written = bm.generate(network, prompts, max_tokens=8)
    assert [row.tolist() for row in written] == [whole(network, [*prompt], 8) for prompt in prompts]


def test_it_ends_where_the_context_is_full() -> None:
    assert len(bm.generate(gpt(), [1, 2, 3], max_tokens=100)) == 14  # the last one is not read


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda item: type(item).__name__)
@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_a_short_prompt_is_not_cut_where_the_context_of_a_longer_one_is_full(
    name: str, strategy: bm.Strategy
) -> None:
    network, prompts = MODELS[name](), [[1], [*range(1, 12), 2, 3, 4]]
    together = [row.tolist() for row in bm.generate(network, prompts, strategy, max_tokens=10)]
    alone = [bm.generate(network, row, strategy, max_tokens=10).tolist() for row in prompts]
    assert list(map(len, alone)) == [10, 3]
    if type(strategy).__name__ == "Sample":  # whose draws depend on the place in the batch
        alone[1] = together[1]
    assert together == alone


def test_a_stop_token_ends_it_and_is_left_out() -> None:
    network = gpt()
    free = bm.generate(network, [4], max_tokens=8).tolist()
    stop = free[-1]
    assert bm.generate(network, [4], max_tokens=8, stop=[stop]).tolist() == free[: free.index(stop)]


@pytest.mark.parametrize("allowed", [[3, 5], np.isin(np.arange(12), [3, 5]), lambda written: [3, 5]])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda item: type(item).__name__)
def test_only_what_is_allowed_is_written(strategy: bm.Strategy, allowed: Any) -> None:
    rows = bm.generate(gpt(), PROMPTS, strategy, max_tokens=6, allowed=allowed)
    assert {*np.concatenate(rows)} <= {3, 5}


def test_what_is_allowed_may_follow_from_what_was_written() -> None:
    def alternating(written: list[int]) -> list[int]:
        return [2] if len(written) % 2 else [7]

    for strategy in STRATEGIES:
        found = bm.generate(gpt(), [1], strategy, max_tokens=4, allowed=alternating)
        assert found.tolist() == [7, 2, 7, 2]


def test_texts_are_answered_by_texts() -> None:
    tokenizer = bm.Tokenizer.train(["abcdefghijkl"], kind="characters")
    network = gpt()
    text = bm.generate(network, "bcd", max_tokens=5, tokenizer=tokenizer)
    assert text == tokenizer.decode(whole(network, [1, 2, 3], 5))
    assert bm.generate(network, ["bcd"], max_tokens=5, tokenizer=tokenizer) == [text]


def test_pieces_of_a_text_hold_no_half_characters() -> None:
    tokenizer = bm.Tokenizer.train(["ab"], kind="bpe", vocabulary=259)
    ids = tokenizer.encode("日本é").ids.tolist()
    network = gpt(vocabulary=tokenizer.size)
    pieces = bm.generate(
        network,
        "a",
        max_tokens=len(ids),
        tokenizer=tokenizer,
        allowed=lambda written: [ids[len(written)]],
        stream=True,
    )
    assert [*pieces] == ["日", "本", "é"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("the en", "It was "),  # over several tokens
        ("as", "It w"),  # inside of one
        (["x", "e end", "nd"], "It was th"),  # what begins first, of those that are met
        ("the ends", "It was the end"),  # held back, and then not met
        ("d", "It was the en"),  # the last of all
    ],
)
def test_a_stop_text_ends_it_wherever_it_begins(stop: Any, text: str, stream: bool) -> None:
    tokenizer = bm.Tokenizer.train(["It was was was the the end end"], kind="bpe", vocabulary=266)
    ids = tokenizer.encode("It was the end").ids.tolist()
    pieces = [tokenizer.decode([number]) for number in ids]
    assert " was" in pieces and len(pieces) > 4
    told = bm.generate(
        gpt(vocabulary=tokenizer.size),
        "a",
        max_tokens=len(ids),
        stop=stop,
        tokenizer=tokenizer,
        allowed=lambda written: [ids[len(written)]],
        stream=stream,
    )
    assert "".join(told) == text


def test_pieces_do_not_tell_what_may_begin_a_stop_text() -> None:
    tokenizer = bm.Tokenizer.train(["abcdefghijkl"], kind="characters")
    ids = tokenizer.encode("abcabdef").ids.tolist()
    options: dict[str, Any] = {"max_tokens": 8, "stop": "abd", "tokenizer": tokenizer, "stream": True}
    told = bm.generate(gpt(), "l", allowed=lambda written: [ids[len(written)]], **options)
    assert [*told] == ["abc"]
    told = bm.generate(gpt(), [11], allowed=lambda written: [ids[len(written)]], **options)
    assert [piece.tolist() for piece in told] == [[0, 1, 2]]


def test_beams_end_at_stop_texts() -> None:
    tokenizer = bm.Tokenizer.train(["abcdefghijkl"], kind="characters")
    options: dict[str, Any] = {"tokenizer": tokenizer, "max_tokens": 6}
    free = bm.generate(gpt(), "a", bm.strategies.Beam(1), **options)
    assert bm.generate(gpt(), "a", bm.strategies.Beam(1), stop=free[2:4], **options) == free[:2]


def test_words_go_on_with_a_blank() -> None:
    tokenizer = bm.Tokenizer.train(["a b c d e f g h i j k l"], kind="words")
    text = bm.generate(gpt(), "a b", max_tokens=3, tokenizer=tokenizer)
    ids = bm.generate(gpt(), tokenizer.encode("a b").ids, max_tokens=3).tolist()
    assert "a b" + text == tokenizer.decode([*tokenizer.encode("a b").ids, *ids])


def test_a_published_model_reads_what_its_tokenizer_puts_in_front(tmp_path: Path) -> None:
    trained = bm.Tokenizer.train(["abcdefghij"], kind="characters", specials=["<s>", "</s>"])
    for frame, before in (("<s> $A", [0]), ("<s> $A </s>", [])):
        library = tokenizers.Tokenizer.from_str(trained.to_json())
        library.post_processor = tokenizers.processors.TemplateProcessing(
            single=frame, special_tokens=[("<s>", 0), ("</s>", 1)]
        )
        bm.to_pretrained(llama().layer, tmp_path)
        (tmp_path / "tokenizer.json").write_text(library.to_str())
        model = bm.from_pretrained(tmp_path)
        tokens = bm.generate(model, [*before, 3, 4, 5], max_tokens=6)
        assert bm.generate(model, "bcd", max_tokens=6) == trained.decode(tokens)


def test_a_checkpoint_writes_what_the_model_writes(tmp_path: Any, network: Any) -> None:
    bm.save(network, tmp_path / "model.ckpt")
    expected = [row.tolist() for row in bm.generate(network, PROMPTS, max_tokens=5)]
    found = bm.generate(tmp_path / "model.ckpt", PROMPTS, max_tokens=5)
    assert [row.tolist() for row in found] == expected


def test_a_model_learns_to_stop_where_its_pad_is_its_end() -> None:
    """Sequences count up by one to a multiple of 4 and end with token 0; what is behind is -1."""
    end, rows = 0, []
    for start in range(1, 21):
        stop = start + (-start) % 4
        rows.append([*range(start, stop + 1), end])
    x, y = np.full((20, 5), -1), np.full((20, 5), -1)
    for number, row in enumerate(rows):
        x[number, : len(row) - 1], y[number, : len(row) - 1] = row[:-1], row[1:]
    model = bm.models.build("gpt", vocabulary=21, context=8, layers=1, heads=2, width=32)
    loss = bm.losses.CrossEntropy(ignore=-1)
    step = bm.compile(model, loss, bm.optimizers.Adam(0.01))
    for _ in range(200):
        step(x, y)
    written = bm.generate(model, [row[:1] for row in rows], max_tokens=6, stop=[end])
    assert [row.tolist() for row in written] == [row[1:-1] for row in rows]


@pytest.mark.parametrize("penalty", [0.0, 1.5])
def test_256_beams_find_the_best_of_all_texts_of_a_model(penalty: float) -> None:
    """4 tokens, of which 3 ends a text, and at most 4 of them; in a batch of prompts of unequal length."""
    network, prompts = gpt(vocabulary=4), [[0], [1, 2, 0, 1, 2, 2]]
    beam = bm.strategies.Beam(256, length_penalty=penalty)
    together = Generation.of(Writer.of(network, prompts), beam, 4, [3], None)
    for _ in together.steps():
        pass
    texts = [
        text
        for size in range(1, 5)
        for text in itertools.product(range(4), repeat=size)
        if 3 not in text[:-1] and (text[-1] == 3 or size == 4)
    ]
    for number, prompt in enumerate(prompts):
        whole = np.array([[*prompt, *text, *[0] * (4 - len(text))] for text in texts])
        logs = log_softmax(network(whole).astype(float), -1)[:, len(prompt) - 1 :]
        scores = [
            sum(row[step, token] for step, token in enumerate(text)) / len(text) ** penalty
            for row, text in zip(logs, texts, strict=True)
        ]
        best = int(np.argmax(scores))
        assert together.search.answer(number) == [*texts[best]]
        assert abs(together.search.score(number) - scores[best]) < 1e-5


# Refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "options", "error", "says"),
    [
        ([], {}, DataError, "the prompt is empty"),
        ([-1, -1], {}, DataError, "the prompt is empty"),
        ([[1], []], {}, DataError, "prompt 2 is empty"),
        ([1, 12], {}, DataError, "has the token 12, but the model knows 0 to 11"),
        ([1, -2], {}, DataError, "has the token -2"),
        ([0.5], {}, DataError, "expected a text or integers"),
        ([1] * 17, {}, ShapeError, "has 17 tokens, but the model's context is 16"),
        ("a", {}, UsageError, "the model has no tokenizer"),
        ([1], {"max_tokens": 0}, ConfigError, "max_tokens is 0"),
        ([1], {"strategy": "greedy"}, ConfigError, "the strategy is 'greedy'"),
        ([1], {"stop": [12]}, DataError, "stop has the token 12"),
        ([1], {"allowed": []}, DataError, "no token is allowed"),
        ([1], {"allowed": np.ones(3, bool)}, ShapeError, r"allowed is \(3,\), expected"),
        ([1], {"allowed": [12]}, DataError, "allowed has the token 12"),
        ([[1], [2]], {"stream": True}, UsageError, "stream=True is for a single prompt"),
    ],
)
def test_bad_input_is_refused(prompt: Any, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        bm.generate(gpt(), prompt, **options)


def test_a_tokenizer_that_does_not_fit_is_refused() -> None:
    tokenizer = bm.Tokenizer.train(["abcdefghijklmnop"], kind="characters")
    with pytest.raises(ConfigError, match="the tokenizer has 16 tokens, but the model scores 12"):
        bm.generate(gpt(), "a", tokenizer=tokenizer)


def test_a_model_that_writes_nothing_is_refused() -> None:
    model = bm.models.build("mlp")
    with pytest.raises(UsageError, match="does not write texts"):
        bm.generate(model.build(model.input_spec()), [1])
