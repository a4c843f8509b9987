"""Sums of many products and of many numbers keep their digits, in float32, against NumPy's float64.

The bounds are twice what PyTorch 2.13 gives on the same numbers; where it is worse, what blocks of hundreds
numbers lose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import compute_gradients
from tests.ops.image_reference import gradients

LONG = 524_288
TENTH = 5e-6
"""Relative error, where all numbers are 0.1: each rounding goes the same way."""
NORMAL = 2e-6
"""Error by the largest number of the result, where all are drawn from a normal distribution."""

fills = pytest.mark.parametrize(("fill", "bound"), [("tenth", TENTH), ("normal", NORMAL)])


def numbers(fill: str, *shape: int) -> np.ndarray:
    if fill == "tenth":
        return np.full(shape, 0.1, "float32")
    if fill == "positive":
        return np.random.default_rng(len(shape)).random(shape, dtype=np.float32)
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


def assert_near(found: Any, expected: np.ndarray, bound: float) -> None:
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


# The forms of a product: tiles, few rows or columns, dots.
SHAPES = [(16, 16), (3, 5), (1, 40), (40, 1), (1, 1)]


@fills
@pytest.mark.parametrize("k", [20_000, LONG])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(fill: str, bound: float, k: int, shape: tuple[int, int]) -> None:
    a, b = numbers(fill, shape[0], k), numbers(fill, k, shape[1])
    expected = a.astype("float64") @ b.astype("float64")
    bound *= 1.5 if shape == (1, 1) else 1  # a single number may be near 0
    assert_near(compute(ops.matmul, a, b), expected, bound)
    right = np.ascontiguousarray(b.T)
    assert_near(compute(lambda a, b: ops.matmul(a, ops.transpose(b, (1, 0))), a, right), expected, bound)
    left = np.ascontiguousarray(a.T)
    assert_near(compute(lambda a, b: ops.matmul(ops.transpose(a, (1, 0)), b), left, b), expected, bound)


def test_a_bias_is_added_once() -> None:
    a, b, bias = numbers("normal", 5, 20_000), numbers("normal", 20_000, 7), np.arange(7, dtype="float32")
    expected = a.astype("float64") @ b.astype("float64") + bias
    assert_near(compute(ops.affine, a, b, bias), expected, NORMAL)


def test_batches_of_long_products() -> None:
    a, b = numbers("tenth", 3, 9, 20_000), numbers("tenth", 3, 20_000, 33)
    assert_near(compute(ops.matmul, a, b), a.astype("float64") @ b.astype("float64"), TENTH)


def test_long_products_have_the_same_bits_at_any_number_of_threads() -> None:
    a, b = numbers("normal", 40, 60_000), numbers("normal", 60_000, 70)
    before, found = bm.num_threads(), []
    try:
        for threads in (1, 2, 8):
            bm.set_num_threads(threads)
            found.append(compute(ops.matmul, a, b))
    finally:
        bm.set_num_threads(before)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


# One shape for each way of a weight's gradient: x, filters, taps, stride, groups.
CONVOLUTIONS = {
    "one long row": ((1, 2, 3, 40_000), 33, 3, 1, 1),
    "one long row, depthwise": ((1, 4, 3, 40_000), 4, 3, 1, 4),
    "one long row, several pixels at once": ((1, 2, 3, 40_002), 4, 3, 1, 1),
    "product": ((8, 8, 64, 64), 8, 1, 1, 1),
    "Winograd": ((1, 16, 160, 160), 16, 3, 1, 1),
    "several pixels at once": ((8, 3, 64, 64), 6, 5, 1, 1),
    "direct": ((1, 2, 400, 400), 33, 3, 2, 1),
    "many images": ((1024, 2, 8, 8), 33, 3, 1, 1),
    "groups": ((4, 4, 64, 64), 8, 3, 1, 2),
    "depthwise": ((1, 16, 256, 256), 16, 3, 1, 16),
}


@fills
@pytest.mark.parametrize("way", CONVOLUTIONS)
def test_gradients_of_filters_and_biases(way: str, fill: str, bound: float) -> None:
    shape, filters, taps, stride, groups = CONVOLUTIONS[way]
    x, w = numbers(fill, *shape), numbers(fill, filters, shape[1] // groups, taps, taps)
    size = ((shape[2] - taps) // stride + 1, (shape[3] - taps) // stride + 1)
    up = numbers(fill, shape[0], filters, *size)

    def weighted(x: Any, w: Any, b: Any, up: Any) -> Any:
        return ops.sum(ops.conv2d(x, w, b, stride=stride, groups=groups) * up)

    found = compute_gradients(weighted, x, w, np.zeros(filters, "float32"), up, wrt=[1, 2])
    x8, w8, up8 = (array.astype("float64") for array in (x, w, up))
    expected = gradients(x8, w8, up8, (stride,) * 2, (0,) * 4, groups=groups)[1]
    assert_near(found[0], expected, bound)
    assert_near(found[1], up8.sum((0, 2, 3)), 2 * bound)  # signs cancel


@fills
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((LONG,), (0,)), ((LONG, 4), (0,)), ((4, LONG), (1,)), ((100_000, 33), (0,)), ((7, 50_000, 3), (1,))],
    ids=str,
)
def test_sums_and_means(fill: str, bound: float, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = numbers(fill, *shape)
    assert_near(compute(lambda x: ops.sum(x, axes), x), x.astype("float64").sum(axes), bound / 4)
    assert_near(compute(lambda x: ops.mean(x, axes), x), x.astype("float64").mean(axes), bound / 4)


@fills
def test_gradients_of_recurrent_weights(fill: str, bound: float) -> None:
    """Relu of positive numbers, no weight for the states: each is a sum of T times N products."""
    steps, batch, features, units = 256, 64, 4, 5
    x, up = abs(numbers(fill, steps, batch, features)), abs(numbers(fill, steps, batch, units))
    weight = abs(numbers(fill, features, units))
    recurrent, bias = np.zeros((units, units), "float32"), np.zeros(units, "float32")

    def weighted(x: Any, w: Any, r: Any, b: Any, c: Any, up: Any) -> Any:
        return ops.sum(ops.recurrent("relu", x, w, r, b, c)[0] * up)

    found = compute_gradients(weighted, x, weight, recurrent, bias, bias, up, wrt=[1, 2, 3])
    x8, up8 = x.astype("float64"), up.astype("float64")
    states = x8 @ weight.astype("float64")
    previous = np.concatenate([np.zeros((1, batch, units)), states[:-1]])
    assert_near(found[0], np.einsum("tnf,tnu->fu", x8, up8), bound)
    assert_near(found[1], np.einsum("tnf,tnu->fu", previous, up8), bound)
    assert_near(found[2], up8.sum((0, 1)), bound)


@pytest.mark.parametrize(
    ("fill", "k", "shape"),
    [
        *(("tenth", LONG, shape) for shape in ((4, 4), (1, 8), (1, 1))),
        *(("positive", 100_000, shape) for shape in ((64, 32), (4, 4), (1, 128), (40, 1))),
    ],
)
def test_products_are_as_near_as_those_of_pytorch(
    fill: str, k: int, shape: tuple[int, int], torch: Any
) -> None:
    a, b = numbers(fill, shape[0], k), numbers(fill, k, shape[1])
    expected = a.astype("float64") @ b.astype("float64")
    left, right = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)

    def swapped(x: Any) -> Any:
        return ops.transpose(x, (1, 0))

    found = {
        "": (compute(ops.matmul, a, b), torch.tensor(a) @ torch.tensor(b)),
        "A": (
            compute(lambda a, b: ops.matmul(swapped(a), b), left, b),
            torch.tensor(left).T @ torch.tensor(b),
        ),
        "B": (
            compute(lambda a, b: ops.matmul(a, swapped(b)), a, right),
            torch.tensor(a) @ torch.tensor(right).T,
        ),
    }
    for transposed, (ours, theirs) in found.items():
        error, least = (np.max(np.abs(y - expected) / expected) for y in (ours, theirs.numpy()))
        assert error <= 2 * least + 4e-7, transposed


@pytest.mark.parametrize("fill", ["tenth", "positive"])
@pytest.mark.parametrize("way", CONVOLUTIONS)
def test_gradients_of_filters_are_as_near_as_those_of_pytorch(way: str, fill: str, torch: Any) -> None:
    shape, filters, taps, stride, groups = CONVOLUTIONS[way]
    x, w = numbers(fill, *shape), numbers(fill, filters, shape[1] // groups, taps, taps)

    def of_torch(dtype: Any) -> list[np.ndarray]:
        weight = torch.tensor(w, dtype=dtype, requires_grad=True)
        bias = torch.zeros(filters, dtype=dtype, requires_grad=True)
        y = torch.nn.functional.conv2d(torch.tensor(x).to(dtype), weight, bias, stride, groups=groups)
        y.sum().backward()
        return [weight.grad.numpy(), bias.grad.numpy()]

    def total(x: Any, w: Any, b: Any) -> Any:
        return ops.sum(ops.conv2d(x, w, b, stride=stride, groups=groups))

    found = compute_gradients(total, x, w, np.zeros(filters, "float32"), wrt=[1, 2])
    for ours, theirs, exact in zip(found, of_torch(torch.float32), of_torch(torch.float64), strict=True):
        error, least = (np.max(np.abs(y - exact) / exact) for y in (ours, theirs))
        assert error <= 2 * least + 4e-7
