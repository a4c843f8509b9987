"""Attention equals loops in NumPy, whatever shows keys and however sizes fill blocks, and so do its
gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, DataError, DtypeError, ShapeError
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine import threads
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.testing import check_gradients, compute, compute_gradients
from tests.ops.attention_reference import attention


def normal(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(dtype)


def operands(
    n: int, heads: int, kv_heads: int, steps: int, keys: int, width: int, dtype: str = "float32"
) -> list[np.ndarray]:
    shapes = (n, heads, steps, width), (n, kv_heads, keys, width), (n, kv_heads, keys, width)
    return [normal(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)]


SIZES = {
    "one step": (2, 2, 2, 1, 1, 8),
    "a few": (1, 2, 1, 5, 5, 3),
    "one vector and one": (1, 2, 2, 17, 17, 32),
    "over a block": (1, 1, 1, 130, 65, 64),
    "keys over a block": (1, 2, 1, 65, 130, 20),
    "wide": (1, 1, 1, 13, 40, 128),
    "one step against many keys": (2, 6, 2, 1, 200, 64),
    "three steps against many keys": (1, 4, 4, 3, 177, 24),
    "one step, odd groups": (1, 5, 1, 1, 300, 20),
}


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_sizes(sizes: Any, causal: bool) -> None:
    q, k, v = operands(*sizes)
    found = compute(lambda *x: ops.attention(*x, causal=causal), q, k, v)
    np.testing.assert_allclose(found, attention(q, k, v, causal=causal), atol=2e-6)


@pytest.mark.parametrize("queries, keys", [(1, 16), (2, 5), (5, 2)])
def test_causal_is_aligned_to_the_last_key(queries: int, keys: int) -> None:
    q, k, v = operands(2, 2, 1, queries, keys, 8)
    found = compute(lambda *x: ops.attention(*x, causal=True), q, k, v)
    np.testing.assert_allclose(found, attention(q, k, v, causal=True), atol=1e-6)


MASKS = {
    "of keys": (2, 1, 1, 70),
    "of steps and keys": (50, 70),
    "of heads": (4, 1, 70),
    "of steps": (2, 1, 50, 1),
    "of all": (2, 4, 50, 70),
}


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("shape", MASKS.values(), ids=MASKS)
def test_masks_and_biases_of_any_shape(shape: tuple[int, ...], steps: int, causal: bool) -> None:
    q, k, v = operands(2, 4, 2, steps, 70, 16)
    shape = tuple(steps if size == 50 else size for size in shape)
    mask, bias = normal(*shape) > 0.3, normal(*shape, seed=5, dtype="float32")
    added = np.where(normal(*shape, seed=6) > 1, -np.inf, 0).astype("float32")
    found = compute(
        lambda q, k, v, m, b, a: (
            ops.attention(q, k, v, m, causal=causal),
            ops.attention(q, k, v, causal=causal, bias=b),
            ops.attention(q, k, v, a, causal=causal, bias=b),
            ops.attention(q, k, v, m, causal=causal, bias=b, scale=0.3),
        ),
        *(q, k, v, mask, bias, added),
    )
    wanted = (
        attention(q, k, v, mask, causal),
        attention(q, k, v, None, causal, bias=bias),
        attention(q, k, v, None, causal, bias=added + bias),
        attention(q, k, v, mask, causal, 0.3, bias),
    )
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-6)


LENGTHS = np.array([70, 0, 33, 1])


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("steps", [1, 20])
def test_keys_behind_the_length_do_not_count(steps: int, causal: bool) -> None:
    q, k, v = operands(4, 2, 1, steps, 70, 16)
    for i, length in enumerate(LENGTHS):
        k[i, :, length:] = v[i, :, length:] = np.nan
    found = compute(lambda q, k, v, n: ops.attention(q, k, v, causal=causal, lengths=n), q, k, v, LENGTHS)
    np.testing.assert_allclose(found, attention(q, k, v, None, causal, lengths=LENGTHS), atol=2e-6)


def test_lengths_of_any_integers() -> None:
    q, k, v = operands(4, 2, 1, 3, 70, 16)
    found = compute(lambda q, k, v, n: ops.attention(q, k, v, lengths=n), q, k, v, LENGTHS.astype("int32"))
    np.testing.assert_allclose(found, attention(q, k, v, lengths=LENGTHS), atol=2e-6)


GRADIENTS: dict[str, Any] = {
    "plain": ((1, 2, 2, 7, 5, 3), {}),
    "causal, grouped": ((2, 4, 2, 6, 6, 4), {"causal": True}),
    "causal, more steps than keys": ((1, 2, 1, 5, 2, 4), {"causal": True, "scale": 0.7}),
    "lengths": ((2, 2, 1, 3, 6, 4), {"lengths": np.array([4, 0])}),
    "causal with lengths": ((2, 2, 1, 3, 6, 4), {"lengths": np.array([4, 2]), "causal": True}),
    "mask": ((2, 2, 2, 4, 5, 4), {"mask": normal(2, 1, 4, 5) > 0}),
    "mask of keys": ((2, 2, 2, 4, 5, 4), {"mask": normal(2, 1, 1, 5) > 0}),
    "over blocks": ((1, 1, 1, 99, 33, 2), {"causal": True}),
}


@pytest.mark.parametrize("case", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_equal_finite_differences(case: Any) -> None:
    sizes, options = case
    check_gradients(lambda *x: ops.attention(*x, **options), operands(*sizes, dtype="float64"))


@pytest.mark.parametrize("shape", [(2, 1, 1, 5), (4, 5), (2, 1, 1), (2, 2, 4, 5), (1, 4, 1)])
def test_gradient_of_a_bias(shape: tuple[int, ...]) -> None:
    check_gradients(
        lambda q, k, v, b: ops.attention(q, k, v, bias=b, causal=True),
        [*operands(2, 2, 1, 4, 5, 3, "float64"), normal(*shape, seed=3)],
    )


def _torch_gradients(torch: Any, arrays: list[np.ndarray], shown: np.ndarray) -> Any:
    q, k, v = (torch.tensor(x.astype("float64"), requires_grad=True) for x in arrays)
    added = torch.from_numpy(np.where(shown, 0.0, -np.inf))
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, added, enable_gqa=True)
    (y * y).sum().backward()
    return y.detach().numpy(), [x.grad.numpy() for x in (q, k, v)]


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize(
    "sizes",
    [(2, 4, 2, 17, 17, 32), (1, 2, 1, 130, 130, 64), (1, 2, 2, 65, 130, 20), (1, 1, 1, 5, 40, 128)],
    ids=str,
)
def test_gradients_equal_those_of_pytorch(sizes: Any, causal: bool, torch: Any) -> None:
    arrays = operands(*sizes)
    steps, keys = sizes[3:5]
    shown = np.tri(steps, keys, keys - steps, dtype=bool) if causal else np.ones((steps, keys), bool)
    y, wanted = _torch_gradients(torch, arrays, shown)
    found = compute_gradients(lambda *x: ops.attention(*x, causal=causal) ** 2.0, *arrays)
    assert np.abs(y).max() > 0.1
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_row_that_sees_no_key_is_zero_and_so_are_its_gradients() -> None:
    """The others are those of the batch without it."""
    q, k, v = operands(2, 2, 2, 6, 6, 8)
    mask = np.ones((2, 1, 6, 6), bool)
    mask[0, :, 2] = mask[1] = False

    def squared(q: Any, k: Any, v: Any, m: Any) -> Any:
        return ops.attention(q, k, v, m) ** 2.0

    y = compute(lambda *x: ops.attention(*x), q, k, v, mask)
    found = compute_gradients(squared, q, k, v, mask, wrt=(0, 1, 2))
    assert not y[0, :, 2].any() and not y[1].any()
    assert not found[0][0, :, 2].any() and not any(dx[1].any() for dx in found)
    kept = [0, 1, 3, 4, 5]
    alone = compute_gradients(squared, q[:1, :, kept], k[:1], v[:1], mask[:1, :, kept], wrt=(0, 1, 2))
    np.testing.assert_allclose(found[0][:1, :, kept], alone[0], atol=1e-6)
    for one, other in zip(found[1:], alone[1:], strict=True):
        np.testing.assert_allclose(one[:1], other, atol=1e-6)


def test_second_derivatives() -> None:
    q, k, v = operands(1, 2, 1, 4, 5, 3, "float64")

    def slope(q: Any, k: Any, v: Any) -> Any:
        y = ops.attention(q, k, v, causal=True)
        return sum(ops.sum(ops.sin(x)) for x in ops.gradients(ops.sum(y * y * y), [q, k, v]))

    check_gradients(slope, [q, k, v])


# Dropout --------------------------------------------------------------------------------------------------


def test_dropout_zeroes_weights_and_scales_the_others() -> None:
    """With an identity as values, the output is the weights."""
    q, k, _ = operands(1, 2, 2, 40, 64, 16)
    v = np.broadcast_to(np.eye(64, dtype="float32"), (1, 2, 64, 64)).copy()
    weights = compute(lambda *x: ops.attention(*x), q, k, v)
    found = compute(lambda *x: ops.attention(*x, dropout=0.25), q, k, v)
    kept = found != 0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(found[kept], weights[kept] / 0.75, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 40])
def test_the_gradient_drops_what_the_output_dropped(steps: int) -> None:
    q, k, _ = operands(1, 2, 2, steps, 64, 16)
    v = np.broadcast_to(np.eye(64, dtype="float32"), (1, 2, 64, 64)).copy()

    def both(q: Any, k: Any, v: Any) -> Any:
        y = ops.attention(q, k, v, dropout=0.25)
        return y, ops.gradients(ops.sum(y), [v])[0]

    y, dv = compute(both, q, k, v)
    np.testing.assert_allclose(dv[..., 0], y.sum(2), rtol=1e-4)


# How it is computed ---------------------------------------------------------------------------------------


def _all_of(q: Any, k: Any, v: Any, m: Any) -> Any:
    y = ops.attention(q, k, v, m, causal=True, dropout=0.1)
    return (y, *ops.gradients(ops.sum(y * y), [q, k, v]))


@pytest.mark.parametrize("heads", [(4, 2), (1, 1)], ids=["several heads", "keys in parts"])
def test_the_same_bits_at_any_number_of_threads(heads: tuple[int, int]) -> None:
    arrays = (*operands(1, *heads, 150, 250, 32), normal(250) > 0)
    before, found = threads.num_threads(), []
    try:
        for count in (1, 2, 3, 2):
            bm.set_num_threads(count)
            found.append(compute(_all_of, *arrays))
    finally:
        bm.set_num_threads(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def _planned_bytes(steps: int) -> int:
    """Bytes that a plan of attention and its gradients takes besides its inputs."""
    graph = Graph()
    q, k, v = (graph.input(name, Spec((1, 2, steps, 16), "float32")) for name in "qkv")
    with graph.active():
        y = ops.attention(q, k, v, causal=True)
        program = Program(graph, [y, *ops.gradients(ops.sum(y * y), [q, k, v])])
    return int(program.plan(Variables(device_named("cpu")), {}).nbytes)


def test_memory_grows_with_steps_not_with_their_square() -> None:
    assert _planned_bytes(4096) < 4.2 * _planned_bytes(1024)
    assert _planned_bytes(4096) < 4096 * 4096


def test_heads_that_layers_split_and_join_are_not_copied() -> None:
    """No transpose is in the plan, forward and backward."""

    def split(x: Any) -> Any:
        return ops.transpose(ops.reshape(x, ("N", "T", 4, 8)), (0, 2, 1, 3))

    graph = Graph()
    q, k, v = (graph.input(name, Spec(("N", "T", 32), "float32")) for name in "qkv")
    with graph.active():
        y = ops.attention(split(q), split(k), split(v), causal=True)
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), ("N", "T", 32))
        program = Program(graph, [y, *ops.gradients(ops.sum(y * y), [q, k, v])])
    planned = [step.op for step in program.listing(2, {"T": 5})]
    assert any("AttentionGrad" in op for op in planned)
    assert not any("Transpose" in op for op in planned)


@pytest.mark.parametrize("steps_first", [(True, True, True), (False, True, False), (True, False, False)])
def test_operands_with_steps_before_heads(steps_first: tuple[bool, ...]) -> None:
    """Each operand is read as it lies, and its gradient is laid out as it is."""
    order = (0, 2, 1, 3)
    arrays = operands(2, 4, 2, 13, 19, 12)
    laid = [x.transpose(order) if first else x for x, first in zip(arrays, steps_first, strict=True)]

    def turned(q: Any, k: Any, v: Any) -> Any:
        given = zip((q, k, v), steps_first, strict=True)
        return ops.attention(*(ops.transpose(x, order) if first else x for x, first in given), causal=True)

    plain = compute(lambda *x: ops.attention(*x, causal=True), *arrays)
    np.testing.assert_array_equal(compute(turned, *laid), plain)
    wanted = compute_gradients(lambda *x: ops.attention(*x, causal=True) ** 2.0, *arrays)
    found = compute_gradients(lambda *x: turned(*x) ** 2.0, *laid)
    for dx, other, first in zip(found, wanted, steps_first, strict=True):
        np.testing.assert_array_equal(dx.transpose(order) if first else dx, other)


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 2, 3, 5, 4)], ids=str)
def test_operands_of_any_rank(shape: tuple[int, ...]) -> None:
    q, k, v = (normal(*shape, seed=seed) for seed in range(3))
    mask = normal(*shape[:-1], 5, seed=4) > 0
    found = compute(ops.attention, q, k, v, mask)
    heads = (-1, 1, *shape[-2:])
    wanted = attention(*(x.reshape(heads) for x in (q, k, v)), mask.reshape(-1, 1, *mask.shape[-2:]))
    np.testing.assert_allclose(found, wanted.reshape(shape), atol=1e-12)


@pytest.mark.parametrize(
    "sizes", [(2, 2, 1, 3, 0, 8), (2, 2, 1, 1, 0, 8), (0, 2, 1, 3, 4, 8), (2, 2, 1, 0, 4, 8)]
)
def test_without_keys_steps_or_samples(sizes: Any) -> None:
    arrays = operands(*sizes)
    found = compute(lambda *x: ops.attention(*x, causal=True), *arrays)
    assert found.shape == arrays[0].shape and not found.any()
    for dx, x in zip(compute_gradients(ops.attention, *arrays), arrays, strict=True):
        assert dx.shape == x.shape and not dx.any()


@pytest.mark.parametrize("steps", [1, 20])
def test_many_keys(steps: int) -> None:
    q, k, v = operands(1, 1, 1, steps, 65_537, 16)
    found = compute(lambda *x: ops.attention(*x, causal=True), q, k, v)
    np.testing.assert_allclose(found, attention(q, k, v, causal=True), atol=1e-5)


def test_nan_is_not_hidden() -> None:
    q, k, v = operands(1, 1, 1, 4, 20, 8)
    k[0, 0, 3, 2] = np.nan
    y = compute(lambda *x: ops.attention(*x, causal=True), q, k[:, :, :4], v[:, :, :4])
    assert np.isnan(y[0, 0, 3]).all() and np.isfinite(y[0, 0, :3]).all()


def test_large_scores_overflow_nothing() -> None:
    q, k, v = operands(1, 2, 1, 9, 33, 16)
    found = compute(lambda *x: ops.attention(*x, scale=1e4), q, k, v)
    np.testing.assert_allclose(found, attention(q, k, v, scale=1e4), atol=2e-2)
    assert np.isfinite(compute_gradients(lambda *x: ops.attention(*x, scale=1e4), q, k, v)[0]).all()


# Errors ---------------------------------------------------------------------------------------------------

Q, K, V = operands(2, 4, 2, 3, 5, 8)
WRONG: dict[str, Any] = {
    "mask of other keys": ({"mask": np.ones((3, 4), bool)}, ShapeError, r"mask \(3, 4\) does not broadcast"),
    "mask larger than the scores": ({"mask": np.ones((2, 2, 4, 3, 5), bool)}, ShapeError, "does not broad"),
    "bias of truth values": ({"bias": np.ones((3, 5), bool)}, DtypeError, "bias of attention is bool"),
    "bias of other steps": ({"bias": np.ones((2, 5), "float32")}, ShapeError, r"bias \(2, 5\) does not"),
    "lengths of floats": ({"lengths": np.ones(2, "float32")}, DtypeError, "lengths of attention are float32"),
    "too many lengths": ({"lengths": np.ones(3, "int64")}, ShapeError, r"lengths of attention are \(3,\)"),
    "all dropped": ({"dropout": 1.0}, ConfigError, "dropout rate is 1.0"),
    "dropped below none": ({"dropout": -0.1}, ConfigError, "dropout rate is -0.1"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_named(case: Any) -> None:
    options, error, text = case
    with pytest.raises(error, match=text):
        compute(lambda *x: ops.attention(*x, **options), Q, K, V)


@pytest.mark.parametrize("wrong", [6, -1])
def test_a_length_out_of_range_is_named(wrong: int) -> None:
    with pytest.raises(DataError, match=rf"the length {wrong} \(sample 1 .*sequences of 5 steps"):
        compute(lambda q, k, v, n: ops.attention(q, k, v, lengths=n), Q, K, V, np.array([5, wrong]))
