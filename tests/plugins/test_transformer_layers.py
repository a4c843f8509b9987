"""The layers of Transformers equal PyTorch's, and NumPy's formulas; their parts have names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, GraphError, ShapeError

N, T, S, K, HEADS = 3, 7, 5, 12, 3
x, memory = (
    np.random.default_rng(seed).normal(size=(N, t, K)).astype("float32") for seed, t in ((0, T), (1, S))
)
seen = np.arange(S) < np.array([[5], [1], [3]])


def close(found: Any, wanted: Any, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=tolerance)


def attended(
    state: dict[str, np.ndarray], x: np.ndarray, memory: np.ndarray, mask: Any, heads: int, shared: int
) -> np.ndarray:
    """Attention with several heads in float64, head by head."""
    part = lambda name, x: x.astype("f8") @ state[f"{name}/weight"] + state[f"{name}/bias"]  # noqa: E731
    q, k, v = part("query", x), part("key", memory), part("value", memory)
    width = q.shape[-1] // heads
    found = []
    for head in range(heads):
        own, other = slice(head * width, (head + 1) * width), head // (heads // shared)
        theirs = slice(other * width, (other + 1) * width)
        scores = q[..., own] @ k[..., theirs].swapaxes(1, 2) / math.sqrt(width)
        weights = np.where(mask, np.exp(scores - scores.max(-1, keepdims=True)), 0)
        total = weights.sum(-1, keepdims=True)
        found.append(np.divide(weights, total, out=weights * 0, where=total > 0) @ v[..., theirs])
    return part("output", np.concatenate(found, -1))


CAUSAL = np.tril(np.ones((T, T), bool))


@pytest.mark.parametrize(
    ("layer", "inputs", "mask"),
    [
        (bm.layers.MultiHeadAttention(HEADS), (x,), True),
        (bm.layers.MultiHeadAttention(HEADS, causal=True), (x,), CAUSAL),
        (bm.layers.MultiHeadAttention(HEADS, kv_heads=1), (x,), True),
        (bm.layers.MultiHeadAttention(6, kv_heads=3, causal=True), (x,), CAUSAL),
        (bm.layers.MultiHeadAttention(HEADS), (x, memory), True),
        (bm.layers.MultiHeadAttention(HEADS), (x, memory, seen), seen[:, None]),
        (bm.layers.MultiHeadAttention(HEADS), (x, memory, seen & False), np.array(False)),
    ],
    ids=("plain", "causal", "multi-query", "grouped", "memory", "masked", "nothing seen"),
)
def test_attention_equals_numpy(layer: Any, inputs: tuple[np.ndarray, ...], mask: Any) -> None:
    found = layer(*inputs)
    wanted = attended(
        layer.state(),
        x,
        (*inputs, x)[1 if len(inputs) > 1 else -1],
        mask,
        layer.heads,
        layer.kv_heads or layer.heads,
    )
    close(found, wanted)


def test_rotary_attention_depends_on_distances_alone() -> None:
    @dataclass(frozen=True)
    class Shifted(bm.Layer):
        attention: bm.Layer

        def __call__(self, x: Any, positions: Any) -> Any:
            return self.attention(x, None, None, positions)

    layer = Shifted(bm.layers.MultiHeadAttention(HEADS, rotary=True))
    first = layer(x, np.tile(np.arange(T), (N, 1)))
    close(layer(x, np.tile(np.arange(T) + 40, (N, 1))), first, 2e-5)
    assert np.abs(layer(x, np.tile(np.arange(T) * 2, (N, 1))) - first).max() > 1e-3


def test_sinusoids_are_those_of_the_paper() -> None:
    found = bm.layers.SinusoidalPositions()(np.zeros((1, 40, 7), "float32"))[0]
    for position, i in ((0, 0), (3, 1), (39, 2), (39, 3)):
        angle = position / 10000 ** (2 * i / 7)
        assert found[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-5)
        if 2 * i + 1 < 7:
            assert found[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-5)


def test_positions_are_added_from_the_table() -> None:
    layer = bm.layers.PositionalEmbedding(9)
    close(layer(x), x + layer(x * 0)[:1])
    close(layer(x * 0)[0], layer.state()["weight"][:T])
    with pytest.raises(ShapeError, match="7 steps, and positions for 4"):
        bm.layers.PositionalEmbedding(4)(x)


def test_tied_scores_are_products_with_the_table_and_its_gradient_is_the_sum_of_both_uses() -> None:
    @dataclass(frozen=True)
    class Tied(bm.Layer):
        def __call__(self, tokens: Any) -> Any:
            embedding = bm.layers.Embedding(5, 4).named("embedding")
            return bm.layers.TiedDense(embedding).named("output")(embedding(tokens))

    model, tokens = Tied(), np.array([[0, 2, 2]])
    scores = model(tokens)
    table = model.state()["embedding/weight"].astype("f8")
    assert list(model.state()) == ["embedding/weight"]
    close(scores, table[tokens] @ table.T)
    target = np.random.default_rng(2).normal(size=scores.shape)
    _, gradients = bm.value_and_grad(model, lambda y, t: bm.ops.sum(y * t))(tokens, target)
    wanted = np.einsum("ntv,ntw->vw", target, table[tokens])
    np.add.at(wanted, tokens, target @ table)
    close(gradients["embedding/weight"], wanted, 1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("pre_norm", (True, False))
@pytest.mark.parametrize("activation", ("relu", "gelu"))
def test_a_block_equals_that_of_pytorch(pre_norm: bool, activation: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.TransformerDecoderLayer(
        K, HEADS, 20, 0.0, activation, batch_first=True, norm_first=pre_norm
    )
    block = bm.layers.TransformerBlock(HEADS, 20, causal=True, activation=activation, pre_norm=pre_norm)

    @dataclass(frozen=True)
    class Model(bm.Layer):
        block: bm.Layer

        def __call__(self, x: Any, memory: Any, seen: Any) -> Any:
            return self.block(x, memory, None, seen)

    model = Model(block)
    model.build(bm.Spec(("N", T, K)), bm.Spec(("N", S, K)), bm.Spec(("N", S), "bool"))
    state = {}
    weights = {name: value.detach().numpy() for name, value in theirs.named_parameters()}
    for ours, name in (("attention", "self_attn"), ("cross_attention", "multihead_attn")):
        for number, part in enumerate(("query", "key", "value")):
            rows = slice(number * K, (number + 1) * K)
            state[f"block/{ours}/{part}/weight"] = weights[f"{name}.in_proj_weight"][rows].T
            state[f"block/{ours}/{part}/bias"] = weights[f"{name}.in_proj_bias"][rows]
        state[f"block/{ours}/output/weight"] = weights[f"{name}.out_proj.weight"].T
        state[f"block/{ours}/output/bias"] = weights[f"{name}.out_proj.bias"]
    for ours, name in (("up", "linear1"), ("down", "linear2")):
        state[f"block/feed_forward/{ours}/weight"] = weights[f"{name}.weight"].T
        state[f"block/feed_forward/{ours}/bias"] = weights[f"{name}.bias"]
    for number, ours in enumerate(("attention", "cross_attention", "feed_forward"), 1):
        state[f"block/{ours}_norm/scale"] = weights[f"norm{number}.weight"]
        state[f"block/{ours}_norm/shift"] = weights[f"norm{number}.bias"]
    model.load_state(state)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(T)
    wanted = theirs(torch.tensor(x), torch.tensor(memory), mask, memory_key_padding_mask=torch.tensor(~seen))
    close(model(x, memory, seen), wanted.detach().numpy(), 1e-5)


@pytest.mark.parametrize("field", ("dropout", "attention_dropout"))
def test_a_block_drops_numbers_in_training_alone(field: str) -> None:
    given: dict[str, Any] = {field: 0.5}
    block = bm.layers.TransformerBlock(HEADS, 20, **given)
    plain = bm.layers.TransformerBlock(HEADS, 20)
    np.testing.assert_array_equal(block(x), plain(x))
    losses = [
        float(bm.compile(layer, loss="mean_squared_error", optimizer="sgd")(x, x * 0))
        for layer in (block, plain)
    ]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_swiglu_is_its_formula() -> None:
    layer = bm.layers.SwiGlu(5)
    found, state = layer(x), layer.state()
    gate, up = x.astype("f8") @ state["gate/weight"], x.astype("f8") @ state["up/weight"]
    close(found, (gate / (1 + np.exp(-gate)) * up) @ state["down/weight"])


def test_layers_that_a_layer_makes_have_the_names_that_it_gives() -> None:
    @dataclass(frozen=True)
    class Named(bm.Layer):
        def __call__(self, x: Any) -> Any:
            y = bm.layers.Dense(2).named("dense_1")(x)
            return bm.layers.Dense(2).named("last")(bm.layers.Dense(2)(y))

    model = Named()
    model(x)
    assert {path.split("/")[0] for path in model.state()} == {"dense_1", "dense_2", "last"}


def test_two_layers_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class Twice(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return bm.layers.Dense(K).named("a")(bm.layers.Dense(K).named("a")(x))

    with pytest.raises(GraphError, match="two layers inside of Twice have the name 'a'"):
        Twice()(x)


def test_a_layer_is_named_where_a_layer_is_called() -> None:
    with pytest.raises(GraphError, match="where no layer is being called"):
        bm.layers.Dense(2).named("a")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: bm.layers.MultiHeadAttention(5)(x), ShapeError, "width of 12 cannot be split into 5 heads"),
        (lambda: bm.layers.MultiHeadAttention(4, kv_heads=3), ConfigError, "4 heads cannot share 3"),
        (lambda: bm.layers.MultiHeadAttention(3)(x[0]), ShapeError, r"expected \(N, T, K\)"),
        (lambda: bm.layers.MultiHeadAttention(3, causal=True)(x, memory), ShapeError, "neither causal nor"),
        (lambda: bm.layers.TransformerBlock(3, dropout=1.0), ConfigError, "dropout"),
        (lambda: bm.layers.TiedDense(bm.layers.Embedding(5, 4))(x), ShapeError, r"table is \(5, 4\)"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
