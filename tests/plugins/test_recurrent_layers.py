"""Recurrent layers and embeddings: references of the conformance checks, PyTorch's trajectories, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError, DtypeError, ShapeError
from tests.ops import recurrent_reference

NAMES = ("input_weight", "recurrent_weight", "input_bias", "recurrent_bias")
LENGTHS = np.array([5, 0, 3, 1])


def reference(layer: Any) -> Any:
    """What a layer gives, in NumPy: (outputs...) from the inputs and the state."""

    def run(x: np.ndarray, *further: np.ndarray, state: dict[str, np.ndarray]) -> Any:
        rest = list(further)
        lengths = rest.pop(0) if rest and rest[0].dtype.kind == "i" else None
        h, lasts = x.swapaxes(0, 1), []
        for number in range(layer.layers):
            outputs = []
            for reverse in (False, True) if layer.bidirectional else (False,):
                ending = (f"_{number + 1}" if number else "") + ("_reverse" if reverse else "")
                weights = tuple(state[name + ending] for name in NAMES)
                initial = tuple(s if s.ndim == 2 else s[:, len(lasts)] for s in rest)
                y, last = recurrent_reference.run(layer.cell, h, weights, lengths, initial, reverse)
                outputs.append(y)
                lasts.append(last)
            h = np.concatenate(outputs, -1)
        ends = [last[0] for last in lasts[-len(outputs) :]]
        result = h.swapaxes(0, 1) if layer.return_sequences else np.concatenate(ends, -1)
        if not layer.return_state:
            return result
        stacked = [np.stack(parts, 1) for parts in zip(*lasts, strict=True)]
        return result, *(s[:, 0] if len(lasts) == 1 else s for s in stacked)

    return run


LAYERS: list[tuple[Any, list[Any]]] = [
    (bm.layers.RNN(6), [(4, 5, 3)]),
    (bm.layers.RNN(6, "relu", return_sequences=False), [(4, 5, 3)]),
    (bm.layers.LSTM(6, return_sequences=False), [(4, 5, 3)]),
    (bm.layers.GRU(6, layers=2, bidirectional=True, dropout=0.3), [(4, 5, 3)]),
    (bm.layers.LSTM(5, bidirectional=True, return_state=True), [(4, 5, 3), LENGTHS, (4, 2, 5), (4, 2, 5)]),
    (bm.layers.GRU(5, return_sequences=False, return_state=True), [(4, 5, 3), LENGTHS]),
    (bm.layers.RNN(5, return_state=True), [(4, 5, 3), (4, 5)]),
    (bm.layers.LSTM(5, carry=True, layers=2), [(4, 5, 3), LENGTHS]),
]
CASES: list[tuple[Any, list[Any], Any]] = [
    *((layer, inputs, reference(layer)) for layer, inputs in LAYERS),
    (
        bm.layers.Embedding(11, 4),
        [np.array([[0, 10, 3], [3, 3, 7]])],
        lambda tokens, state: state["weight"][tokens.astype(int)],
    ),
    (
        bm.layers.Embedding(11, 4, padded=True),
        [np.array([[0, 10, -1], [3, -1, 3]])],
        lambda tokens, state: state["weight"][tokens.astype(int)] * (tokens >= 0)[..., None],
    ),
]
"""What `test_conformance` sweeps: layers, inputs, references."""


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_ten_adam_steps_equal_pytorch(name: str, torch: Any) -> None:
    generator = np.random.default_rng(4)
    x = generator.normal(size=(6, 9, 5)).astype("float32")
    labels = generator.integers(0, 3, 6)
    layer = getattr(bm.layers, name)(16, layers=2, bidirectional=True, return_sequences=False)
    network = bm.Sequential(layer, bm.layers.Dense(3)).build(bm.Spec(("N", "T", 5)))
    recurrent = getattr(torch.nn, name)(5, 16, num_layers=2, bidirectional=True, batch_first=True)
    dense = torch.nn.Linear(32, 3)
    path = f"{name.lower()}_1"
    theirs = {"dense_1/weight": dense.weight, "dense_1/bias": dense.bias}
    for number in range(2):
        for reverse in (False, True):
            ending = (f"_{number + 1}" if number else "") + ("_reverse" if reverse else "")
            for ours, their in zip(NAMES, ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), strict=True):
                parameter = getattr(recurrent, f"{their}_l{number}{'_reverse' * reverse}")
                theirs[f"{path}/{ours}{ending}"] = parameter
    state = network.state()
    assert theirs.keys() == state.keys()
    with torch.no_grad():
        for key, parameter in theirs.items():
            parameter.copy_(torch.tensor(state[key].T))
    optimizer = torch.optim.Adam(theirs.values(), lr=0.01)
    step = bm.compile(network, "cross_entropy", bm.optimizers.Adam(0.01))
    for _ in range(10):
        found = step(x, labels)
        optimizer.zero_grad()
        states = recurrent(torch.tensor(x))[1]
        last = states[0] if name == "LSTM" else states
        scores = dense(torch.cat([last[-2], last[-1]], -1))
        loss = torch.nn.functional.cross_entropy(scores, torch.tensor(labels))
        loss.backward()
        optimizer.step()
        assert found == pytest.approx(loss.item(), rel=1e-4)
    for key, array in network.state().items():
        np.testing.assert_allclose(array, theirs[key].detach().numpy().T, atol=1e-4, err_msg=key)


def test_a_state_handed_on_continues_the_sequence() -> None:
    x = np.random.default_rng(0).normal(size=(3, 8, 2)).astype("float32")
    layer = bm.layers.LSTM(4, return_state=True)
    network = layer.build(bm.Spec(("N", "T", 2)))
    whole, *_ = network(x)
    first, h, c = network(x[:, :5])
    further = bm.layers.LSTM(4).build(bm.Spec(("N", "T", 2)), bm.Spec(("N", 4)), bm.Spec(("N", 4)))
    further.load_state(network.state())
    second = further(x[:, 5:], h, c)
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-6)


def test_dropout_acts_between_layers_in_training_alone() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    y = np.zeros((4, 5), "float32")
    losses = {}
    for rate in (0.0, 0.5):
        layer = bm.layers.GRU(5, layers=2, dropout=rate, return_sequences=False)
        step = bm.compile(layer.build(bm.Spec(("N", 6, 3))), "mean_squared_error", bm.optimizers.SGD(0.0))
        losses[rate] = [step(x, y) for _ in range(2)]
        assert not np.array_equal(layer(x), np.zeros_like(y))
    assert losses[0.0][0] == losses[0.0][1] != losses[0.5][0] != losses[0.5][1]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: bm.layers.LSTM(0), ConfigError, "units is 0"),
        (lambda: bm.layers.GRU(3, layers=0), ConfigError, "layers is 0"),
        (lambda: bm.layers.RNN(3, "sigmoid"), ConfigError, "activation is 'sigmoid'"),
        (lambda: bm.layers.RNN(3, dropout=1.0), ConfigError, "dropout is 1.0"),
        (lambda: bm.layers.Embedding(0, 4), ConfigError, "vocabulary is 0"),
        (lambda: bm.layers.RNN(3)(bm.Spec(("N", 4))), ShapeError, r"expected \(N, T, features\)"),
        (lambda: bm.layers.RNN(3)(bm.Spec(("N", 4, 2), "int64")), DtypeError, "Embedding"),
        (lambda: bm.layers.Embedding(9, 4)(bm.Spec(("N", 4))), DtypeError, "expected int32 or int64"),
        (
            lambda: bm.layers.LSTM(3).build(bm.Spec(("N", 4, 2)), bm.Spec(("N", 3))),
            ShapeError,
            "1 initial states, expected 2",
        ),
        (
            lambda: bm.layers.GRU(3, layers=2).build(bm.Spec(("N", 4, 2)), bm.Spec(("N", 3))),
            ShapeError,
            r"expected \(N, 2, 3\)",
        ),
        (
            lambda: bm.layers.GRU(3).build(bm.Spec(("N", 4, 2)), bm.Spec(("N", 1), "int64")),
            ShapeError,
            r"expected \(N,\)",
        ),
    ],
)
def test_wrong_uses_are_refused(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_a_token_outside_the_vocabulary_is_named() -> None:
    network = bm.layers.Embedding(5, 2).build(bm.Spec(("N", 3), "int64"))
    with pytest.raises(DataError, match="the index 5 .*table of 5 rows"):
        network(np.array([[0, 5, 1]]))


@pytest.mark.parametrize("padded", [False, True])
def test_no_negative_token_but_padding_is_one(padded: bool) -> None:
    network = bm.layers.Embedding(5, 2, padded).build(bm.Spec(("N", 3), "int64"))
    with pytest.raises(DataError, match=f"the index {-2 if padded else -1} "):
        network(np.array([[0, -2 if padded else -1, 1]]))


@pytest.mark.parametrize("axis", [0, 1])
def test_padding_adds_nothing_to_the_gradient(axis: int) -> None:
    """Neither to the last row of the table, nor to that of the block before."""
    x, indices = np.arange(24.0).reshape(2, 3, 4), np.array([-1, 2, 0, 2, -1])

    def gradient(x: bm.Value, i: bm.Value) -> bm.Value:
        picked = bm.ops.gather(x, i, axis, padded=True)
        return bm.ops.gradients(bm.ops.sum(picked * picked), [x])[0]

    indices = np.minimum(indices, x.shape[axis] - 1)
    counts = np.bincount(indices[indices >= 0], minlength=x.shape[axis])
    expected = 2 * x * counts.reshape((-1, 1, 1) if axis == 0 else (-1, 1))
    np.testing.assert_allclose(bm.testing.compute(gradient, x, indices), expected)
