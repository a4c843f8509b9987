"""Blocks written into arrays, and where plans write them without a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DataError
from bigmodel_core.testing import check_gradients, checks_for, compute, compute_gradients

RNG = np.random.default_rng(0)


@st.composite
def blocks(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """An array's shape, a block's, and where it begins."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    block = tuple(draw(st.integers(0, size)) for size in shape)
    start = tuple(draw(st.integers(0, size - part)) for size, part in zip(shape, block, strict=True))
    return shape, block, start


@settings(max_examples=60, deadline=None)
@given(blocks())
def test_numbers_are_those_of_numpy(case: Any) -> None:
    shape, part, start = case
    array, block = RNG.normal(size=shape), RNG.normal(size=part)
    wanted = array.copy()
    wanted[tuple(slice(a, a + n) for a, n in zip(start, part, strict=True))] = block
    places = np.array(start, "int64")
    found = compute(
        lambda a, b, i: (
            ops.update_slice(a, b, start),
            ops.update_slice(a, b, i),
            ops.update_slice(a, b, [i[axis] if axis % 2 else start[axis] for axis in range(len(start))]),
        ),
        array,
        block,
        places,
    )
    for result in found:
        assert (result == wanted).all()


@pytest.mark.parametrize("start", [(1, 2, 0), (0, 0, 0), (-2, 1, 0)])
def test_gradients(start: tuple[int, ...], torch: Any) -> None:
    array, block = RNG.normal(size=(4, 5, 3)), RNG.normal(size=(2, 2, 3))
    check_gradients(lambda a, b: ops.sin(ops.update_slice(a, b, start)) * a, [array, block])
    a, b = (torch.tensor(item, requires_grad=True) for item in (array, block))
    y = a.clone()
    first, second = start[0] % 4, start[1]
    y[first : first + 2, second : second + 2] = b
    (torch.sin(y) * a).sum().backward()

    def total(a: Any, b: Any) -> Any:
        return ops.sum(ops.sin(ops.update_slice(a, b, start)) * a)

    found = compute_gradients(total, array, block)
    for ours, theirs in zip(found, (a.grad, b.grad), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize("place", [-1, 4])
def test_a_place_that_does_not_fit_is_an_error_at_run_time(place: int) -> None:
    with pytest.raises(DataError, match=f"would begin at {place}; in this array it may begin from 0 to 3"):
        compute(lambda a, i: ops.update_slice(a, a[:2], (i,)), np.zeros(5), np.array(place))


def test_a_gradient_of_a_gradient() -> None:
    from bigmodel_core.ops.updates import SliceAt

    array, start = RNG.normal(size=(4, 5)), np.array([1, 2])
    check_gradients(lambda a, i: SliceAt((0, 1), (2, 3))(a, i) ** 2, [array, start])


# In place --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cache(bm.Layer):
    """Rows written one after the other into a state that holds `size` of them; the sum of all."""

    size: int = 1024
    use: str = ""

    def __call__(self, x: Any) -> Any:
        before = self.carried("rows", (x.shape[0], self.size, x.shape[2]))
        place = self.carried("place", (), "int64")
        rows = ops.update_slice(before, x, (0, place, 0))
        if self.use == "twice":
            rows = ops.update_slice(rows, 2.0 * x, (0, place + 1, 0))
        self.assign("rows", rows)
        self.assign("place", place + 1)
        y = ops.sum(rows, 1)
        if self.use == "before":
            y = y + ops.sum(before * rows, 1)
        return (y, rows) if self.use == "result" else y


X = RNG.normal(size=(2, 1, 3)).astype("float32")


def _session(layer: bm.Layer) -> Any:
    layer.build(bm.Spec(("N", 1, 3)))
    return layer.session()


def _kernels(session: Any) -> list[str]:
    return [kernel.name for step in session.kernels(batch_size=2) for kernel in step.kernels]


@pytest.mark.parametrize("use", ["", "twice", "result"])
def test_a_state_that_is_only_assigned_is_written_in_place(use: str) -> None:
    session = _session(Cache(use=use))
    wanted = np.zeros((2, 1024, 3), "float32")
    for call in range(3):
        result = session(X * (call + 1))
        wanted[:, call] = X[:, 0] * (call + 1)
        if use == "twice":
            wanted[:, call + 1] = 2 * X[:, 0] * (call + 1)
        assert np.allclose(result[0] if use == "result" else result, wanted.sum(1), atol=1e-5)
        assert use != "result" or (result[1] == wanted).all()
    assert (session.state()["rows"] == wanted).all()
    kernels = _kernels(session)
    assert kernels.count("put_block") == 1 + (use == "twice") and "copy_all" not in kernels
    (plan,) = session._own.call._plans.values()
    assert plan.nbytes < wanted.nbytes / 2  # there is no room for another cache


def test_a_state_that_is_still_needed_is_copied() -> None:
    session = _session(Cache(use="before"))
    wanted = np.zeros((2, 1024, 3), "float32")
    for call in range(3):
        before = wanted.copy()
        wanted[:, call] = X[:, 0]
        assert np.allclose(session(X), wanted.sum(1) + (before * wanted).sum(1), atol=1e-5)
    assert _kernels(session).count("copy_all") == 1
    assert (session.state()["rows"] == wanted).all()


@dataclass(frozen=True)
class Temporaries(bm.Layer):
    """Two blocks written into an array that is computed; `again` uses it afterwards, too."""

    again: bool

    def __call__(self, x: Any) -> Any:
        y = bm.ops.softmax(x)
        z = ops.update_slice(ops.update_slice(y, x[:, :2], (0, 1)), x[:, :1], (0, 0))
        return z * 2.0 + (y if self.again else 0.0)


@pytest.mark.parametrize("again", [False, True])
def test_what_is_computed_is_written_over_where_nothing_needs_it(again: bool) -> None:
    layer, x = Temporaries(again), RNG.normal(size=(3, 5)).astype("float32")
    y = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    z = y.copy()
    z[:, 1:3], z[:, 0] = x[:, :2], x[:, 0]
    assert np.allclose(layer(x), 2 * z + (y if again else 0), atol=1e-6)
    kernels = [kernel.name for step in layer.network.kernels(3) for kernel in step.kernels]
    assert kernels.count("copy_all") == again and kernels.count("put_block") == 2


def test_inputs_and_parameters_are_never_written_over() -> None:
    @dataclass(frozen=True)
    class Overwrites(bm.Layer):
        def __call__(self, x: Any) -> Any:
            weight = self.parameter("weight", (4, 300), 1.0)
            return ops.update_slice(x, x[:1] * 0.0, (0, 0)), ops.update_slice(
                weight, weight[:1] * 0.0, (1, 0)
            )

    layer, x = Overwrites(), np.ones((4, 300), "float32")
    for _ in range(2):
        first, second = layer(x)
        assert first.sum() == second.sum() == 900
    assert (x == 1).all() and (layer.state()["weight"] == 1).all()


# A decoder with a cache ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention(bm.Layer):
    """Causal self-attention of several heads, which keeps keys and values of at most `length` steps."""

    width: int = 12
    heads: int = 3
    length: int = 16

    def __call__(self, x: Any) -> Any:
        batch, steps, width = x.shape
        size = width // self.heads
        start = self.carried("position", (), "int64")

        def split(y: Any, count: Any) -> Any:
            return ops.transpose(ops.reshape(y, (batch, count, self.heads, size)), (0, 2, 1, 3))

        query, key, value = (bm.layers.Dense(width)(x) for _ in range(3))
        kept = []
        for name, new in (("keys", key), ("values", value)):
            whole = self.carried(name, (batch, self.length, width))
            whole = ops.update_slice(whole, new, (0, start, 0))
            self.assign(name, whole)
            kept.append(split(whole, self.length))
        keys, values = kept
        self.assign("position", start + steps)
        scores = ops.matmul(split(query, steps), ops.transpose(keys, (0, 1, 3, 2))) * size**-0.5
        graph = x.node.graph
        places = graph.constant(np.arange(self.length)[None])
        rows = graph.constant(np.arange(steps)[:, None]) + start
        scores = ops.where(places <= rows, scores, graph.constant(-1e9, x.dtype))
        mixed = ops.transpose(ops.matmul(ops.softmax(scores), values), (0, 2, 1, 3))
        return bm.layers.Dense(width)(ops.reshape(mixed, (batch, steps, width)))


@dataclass(frozen=True)
class Decoder(bm.Layer):
    """Two blocks of attention and a feed-forward layer each."""

    def __call__(self, x: Any) -> Any:
        for _ in range(2):
            x = x + Attention()(bm.layers.LayerNorm()(x))
            x = x + bm.layers.Dense(12)(bm.layers.Gelu()(bm.layers.Dense(24)(bm.layers.LayerNorm()(x))))
        return x


def test_a_decoder_with_a_cache_equals_its_whole_forward(torch: Any) -> None:
    x = RNG.normal(size=(2, 9, 12)).astype("float32")
    decoder = Decoder()
    whole = decoder(x)
    session = decoder.session()
    pieces = [session(x[:, :4]), *(session(x[:, t : t + 1]) for t in range(4, 9))]
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=2e-6)
    kernels = [
        kernel.name
        for step in decoder.network.for_inputs((bm.Spec(("N", 1, 12)),)).session().kernels(batch_size=2)
        for kernel in step.kernels
    ]
    assert kernels.count("put_block") == 4 and "copy_all" not in kernels

    layer = Attention()
    ours = layer(x)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    state = layer.state()
    with torch.no_grad():
        weights = [torch.tensor(state[f"dense_{number}/weight"].T) for number in (1, 2, 3)]
        theirs.in_proj_weight.copy_(torch.cat(weights))
        theirs.in_proj_bias.copy_(torch.cat([torch.tensor(state[f"dense_{n}/bias"]) for n in (1, 2, 3)]))
        theirs.out_proj.weight.copy_(torch.tensor(state["dense_4/weight"].T))
        theirs.out_proj.bias.copy_(torch.tensor(state["dense_4/bias"]))
        mask = torch.triu(torch.ones(9, 9, dtype=torch.bool), 1)
        wanted, _ = theirs(torch.tensor(x), torch.tensor(x), torch.tensor(x), attn_mask=mask)
    np.testing.assert_allclose(ours, wanted.numpy(), atol=2e-6)


def test_a_cache_that_is_full_says_so() -> None:
    layer = Attention(length=2)
    x = RNG.normal(size=(2, 1, 12)).astype("float32")
    layer(x)
    session = layer.session()
    session(x)
    session(x)
    with pytest.raises(DataError, match=r"(?s)would begin at 2; .*a cache holds a fixed number of steps"):
        session(x)


# The kit --------------------------------------------------------------------------------------------------


def _replaced(array: np.ndarray, block: np.ndarray, start: np.ndarray) -> np.ndarray:
    found = array.copy()
    found[:, start[0] : start[0] + block.shape[1]] = block
    return found


CHECKS = checks_for(
    ops.updates.UpdateSlice((1,)),
    [bm.Spec(("N", 6, 3)), bm.Spec(("N", 2, 3)), bm.Spec((1,), "int64")],
    _replaced,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_conformance(check: Any) -> None:
    check()
