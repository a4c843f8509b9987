"""Normalisation of numbers far from 0: the mean is subtracted before anything is scaled.

The right values come from float64, where numbers of float32 lose nothing; PyTorch, where it is installed, is
the measure of what float32 can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.testing import compute, compute_gradients

EPSILON = 1e-5
SHAPES = [(8, 3, 5, 5), (40, 4, 9, 9), (300, 2, 1, 1)]


def far(mean: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Numbers around a mean that float32 can tell apart."""
    x = mean + 0.1 * np.random.default_rng(seed).standard_normal(shape)
    return x.astype("float32")


def vectors(channels: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.uniform(0.5, 2, channels).astype("float32"), random.normal(size=channels).astype("float32")


def exact(
    x: np.ndarray, scale: np.ndarray, shift: np.ndarray, dy: np.ndarray, axes: tuple[int, ...]
) -> list[np.ndarray]:
    """y and the gradients of x, scale and shift in float64; Ioffe and Szegedy (2015), section 3."""
    x, scale, shift, dy = (a.astype("float64") for a in (x, scale, shift, dy))
    column = (-1,) + (1,) * (x.ndim - 2)
    rest = tuple(axis for axis in range(x.ndim) if axis != 1)
    apart = x - x.mean(axes, keepdims=True)
    rate = 1 / np.sqrt((apart * apart).mean(axes, keepdims=True) + EPSILON)
    normal, dn = apart * rate, dy * scale.reshape(column)
    dx = rate * (dn - dn.mean(axes, keepdims=True) - normal * (dn * normal).mean(axes, keepdims=True))
    y = normal * scale.reshape(column) + shift.reshape(column)
    return [y, dx, (dy * normal).sum(rest), dy.sum(rest)]


def error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def ours(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    """What `exact` gives, of batch normalisation."""

    def weighted(*values: Any) -> Any:
        return ops.sum(ops.batch_norm(*values)[0] * values[0].node.graph.constant(dy))

    y = compute(lambda *values: ops.batch_norm(*values)[0], x, scale, shift)
    return [y, *compute_gradients(weighted, x, scale, shift)]


@pytest.mark.parametrize("value", [1e4, 12345.678, -1e6])
def test_a_constant_channel_becomes_the_shift(value: float) -> None:
    x, (scale, shift) = np.full((2, 3, 4, 4), value, "float32"), vectors(3)
    y, _, variance = compute(ops.batch_norm, x, scale, shift)
    np.testing.assert_array_equal(y, np.broadcast_to(shift[:, None, None], x.shape))
    np.testing.assert_array_equal(variance, 0)
    found = compute(ops.fixed_norm, x, scale, shift, x[0, :, 0, 0].copy(), np.full(3, 1e-6, "float32"))
    np.testing.assert_array_equal(found, np.broadcast_to(shift[:, None, None], x.shape))


@pytest.mark.parametrize("mean", [0.0, 100.0, 1e4, 1e6])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_keeps_the_digits_of_far_numbers(shape: tuple[int, ...], mean: float) -> None:
    x, dy, weights = far(mean, shape), far(0, shape, 2), vectors(shape[1])
    expected = exact(x, *weights, dy, (0, 2, 3))
    found = ours(x, *weights, dy)
    assert [error(a, b) < 5e-6 for a, b in zip(found, expected, strict=True)] == [True] * 4


@pytest.mark.parametrize("mean", [100.0, 1e4, 1e6])
def test_batch_norm_is_no_worse_than_pytorch(mean: float, torch: Any) -> None:
    shape = (16, 3, 7, 7)
    x, dy, weights = far(mean, shape), far(0, shape, 2), vectors(3)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *weights)]
    y = torch.nn.functional.batch_norm(leaves[0], None, None, *leaves[1:], training=True)
    y.backward(torch.tensor(dy))
    theirs = [y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]
    expected = exact(x, *weights, dy, (0, 2, 3))
    for a, b, right in zip(ours(x, *weights, dy), theirs, expected, strict=True):
        assert error(a, right) <= max(error(b, right), 2e-6)


@pytest.mark.parametrize("mean", [0.0, 1e4, 1e6])
def test_given_moments_are_subtracted_first(mean: float) -> None:
    x, (scale, shift) = far(mean, (4, 3, 5, 5)), vectors(3)
    center, variance = np.full(3, mean, "float32"), np.array([0.01, 0.02, 1.0], "float32")
    column = (-1, 1, 1)
    apart = x.astype("float64") - center.reshape(column)
    rate = scale / np.sqrt(variance.astype("float64") + EPSILON)
    expected = apart * rate.reshape(column) + shift.reshape(column)
    found = compute(ops.fixed_norm, x, scale, shift, center, variance)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_trained_layer_keeps_digits_in_both_modes() -> None:
    """Behind a convolution too, whose tiles it follows."""
    layer = bm.layers.BatchNorm(momentum=1.0)
    x = far(1e4, (16, 3, 6, 6))
    bm.compile(layer, loss="mean_squared_error", optimizer=bm.optimizers.SGD(0.0))(x, x)
    wide = x.astype("float64")
    np.testing.assert_allclose(layer.state()["running_mean"], wide.mean((0, 2, 3)), rtol=6e-8)
    np.testing.assert_allclose(layer.state()["running_variance"], wide.var((0, 2, 3), ddof=1), rtol=1e-6)
    state = {name: array.astype("float64").reshape(-1, 1, 1) for name, array in layer.state().items()}
    right = (wide - state["running_mean"]) / np.sqrt(state["running_variance"] + EPSILON)
    np.testing.assert_allclose(layer(x), right, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 100.0, 1e4, 1e6])
@pytest.mark.parametrize(
    "layer", [bm.layers.GroupNorm(2), bm.layers.InstanceNorm(), bm.layers.GroupNorm(1)], ids=str
)
def test_norms_of_samples_keep_the_digits_of_far_numbers(layer: Any, mean: float) -> None:
    x, dy = far(mean, (5, 4, 6, 6)), far(0, (5, 4, 6, 6), 2)
    groups = getattr(layer, "groups", 4)
    apart = x.reshape(5, groups, -1).astype("float64")
    apart = apart - apart.mean(2, keepdims=True)
    rate = 1 / np.sqrt((apart * apart).mean(2, keepdims=True) + EPSILON)
    normal, dn = apart * rate, dy.reshape(apart.shape)
    dx = rate * (dn - dn.mean(2, keepdims=True) - normal * (dn * normal).mean(2, keepdims=True))
    network = layer.build(bm.Spec(("N", 4, 6, 6)))
    assert error(network(x), normal.reshape(x.shape)) < 2e-6
    rows, ones = x.reshape(5 * groups, -1), np.ones(x.size // 5 // groups, "float32")

    def weighted(values: Any, scale: Any, shift: Any) -> Any:
        y = ops.layer_norm(values, scale, shift, EPSILON)
        return ops.sum(y * values.node.graph.constant(dy.reshape(rows.shape)))

    found = compute_gradients(weighted, rows, ones, 0 * ones)
    assert error(found[0], dx.reshape(rows.shape)) < 2e-6
    assert error(found[1], (dn * normal).reshape(rows.shape).sum(0)) < 2e-6
