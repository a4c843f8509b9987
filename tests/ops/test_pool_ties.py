"""The gradient of a largest number that a window has several times: the first pixel's, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.testing import compute, compute_gradients

BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def places(x: np.ndarray, window: tuple[int, int], stride: Any = None, padding: Any = 0) -> np.ndarray:
    """The gradient of the sum over all windows: how many windows chose each pixel."""
    return compute_gradients(lambda v: ops.sum(ops.max_pool(v, window, stride, padding)), x)[0]


@BOTH
@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 9])
def test_a_window_of_equals_gives_its_gradient_to_the_first(size: int, dtype: str) -> None:
    expected = np.zeros((2, 3, size, size))
    expected[:, :, 0, 0] = 1
    np.testing.assert_array_equal(places(np.ones((2, 3, size, size), dtype), (size, size)), expected)


@BOTH
def test_the_first_is_found_row_by_row(dtype: str) -> None:
    """The largest stands at (0, 4), (1, 0) and (1, 1): in the window's first row it is on the right."""
    x = np.zeros((1, 1, 5, 5), dtype)
    x[0, 0, 0, 4] = x[0, 0, 1, 0] = x[0, 0, 1, 1] = 2
    expected = np.zeros_like(x)
    expected[0, 0, 0, 4] = 1
    np.testing.assert_array_equal(places(x, (5, 5)), expected)


def first_largest(x: np.ndarray, window: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """How many windows have each pixel of an image (H, W) as their first largest, row by row."""
    found, (height, width) = np.zeros(x.shape), x.shape
    for top in range(-padding, height + padding - window[0] + 1, stride):
        for left in range(-padding, width + padding - window[1] + 1, stride):
            inside = [
                (i, j)
                for i in range(max(top, 0), min(top + window[0], height))
                for j in range(max(left, 0), min(left + window[1], width))
            ]
            found[max(inside, key=lambda place: x[place])] += 1  # max() returns the first of equals
    return found


@BOTH
@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [((4, 5), 2, 1), ((5, 4), 3, 2), ((7, 7), 1, 3), ((2, 8), 2, 0), ((1, 6), 1, 0)],
)
def test_ties_of_overlapping_windows(window: tuple[int, int], stride: int, padding: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 2, 9, 11)).astype(dtype)
    expected = [[first_largest(image, window, stride, padding) for image in sample] for sample in x]
    np.testing.assert_array_equal(places(x, window, stride, padding), expected)


def test_sequences_too() -> None:
    x = np.array([[[0, 2, 1, 2, 2, 0, 2]]], "float32")
    layer = bm.layers.MaxPool1d(7).build(bm.Spec(("N", 1, 7)))
    (found,) = compute_gradients(lambda v: ops.sum(layer.layer(v)), x)
    np.testing.assert_array_equal(found, [[[0, 1, 0, 0, 0, 0, 0]]])


@BOTH
def test_ties_and_nan_equal_pytorch(dtype: str, torch: Any) -> None:
    random = np.random.default_rng(1)
    for window, stride, padding in (((4, 4), 4, 0), ((5, 7), 3, 2), ((8, 5), 2, 1), ((3, 3), 2, 1)):
        x = random.integers(0, 3, (2, 5, 10, 12)).astype(dtype)
        x[random.random(x.shape) < 0.05] = np.nan
        x[random.random(x.shape) < 0.1] = -np.inf
        leaf = torch.tensor(x, requires_grad=True)
        y = torch.nn.functional.max_pool2d(leaf, window, stride, padding)
        y.backward(torch.ones_like(y))
        found = compute(lambda v, w=window, s=stride, p=padding: ops.max_pool(v, w, s, p), x)
        np.testing.assert_array_equal(found, y.detach().numpy())
        np.testing.assert_array_equal(places(x, window, stride, padding), leaf.grad.numpy())
