"""A number that is not finite stays where a convolution puts it: the outputs that see its pixel, no others.

The oracle is which outputs a pixel of ones reaches under filters of ones, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bigmodel_core import ops
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import compute_gradients
from tests.ops.image_reference import convolved, gradients, numbers

# One shape for each way a convolution may go: channels, filters, taps, stride, padding, dilation, groups.
WAYS = {
    "product": (8, 8, 1, 1, 0, 1, 1),
    "several pixels at once": (2, 6, 5, 1, 0, 1, 1),
    "several pixels at once, padded": (3, 6, 3, 1, 1, 1, 1),
    "several pixels at once, stride": (3, 4, 3, 2, 1, 1, 1),
    "winograd": (16, 16, 3, 1, 1, 1, 1),
    "winograd without a border": (17, 20, 3, 1, 0, 1, 1),
    "direct": (5, 40, 3, 1, 2, 1, 1),
    "stride": (6, 33, 3, 2, 1, 1, 1),
    "dilation": (6, 18, 3, 1, 2, 2, 1),
    "groups": (6, 8, 3, 1, 1, 1, 2),
    "depthwise": (20, 20, 3, 2, 1, 1, 20),
}
SIZE = (13, 14)
BAD = pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
ways = pytest.mark.parametrize("way", WAYS)


def geometry(way: str) -> tuple[Any, ...]:
    channels, filters, taps, stride, padding, dilation, groups = WAYS[way]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    reference = ((stride,) * 2, (padding,) * 4, (dilation,) * 2, groups)
    x = numbers((2, channels, *SIZE)).astype("float32")
    w = numbers((filters, channels // groups, taps, taps), 1).astype("float32")
    return x, w, options, reference


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Corners, an edge and the inside of the second image."""
    _, channels, height, width = shape
    return [
        (1, 0, 0, 0),
        (1, channels - 1, height - 1, width - 1),
        (1, channels // 2, 0, width // 2),
        (1, channels // 2, height // 2, 1),
    ]


def check_locality(
    run: Callable[[np.ndarray], Any],
    x: np.ndarray,
    bad: float,
    reached: Callable[[np.ndarray], Any],
    tolerance: float = 0.0,
) -> None:
    """A bad number at each place of x changes the results that ones there reach, and no others.

    Args:
        reached: what sums of positive numbers give of an array that is 1 at a place and 0 elsewhere.
    """
    before = run(x)
    for place in places(x.shape):
        here, x_bad = np.zeros_like(x), x.copy()
        here[place], x_bad[place] = 1, bad
        found, touched = run(x_bad), reached(here) > 0.5
        np.testing.assert_array_equal(np.isfinite(found), ~touched)
        np.testing.assert_allclose(found[~touched], before[~touched], rtol=0, atol=tolerance)


@ways
@BAD
def test_outputs_that_do_not_see_a_pixel_stay_what_they_were(way: str, bad: float) -> None:
    x, w, options, reference = geometry(way)
    check_locality(
        lambda x: compute(lambda x, w: ops.conv2d(x, w, **options), x, w),
        x,
        bad,
        lambda here: convolved(here, np.ones_like(w), np.zeros(len(w)), *reference),
    )


def gradients_of(x: np.ndarray, w: np.ndarray, up: np.ndarray, options: Any) -> list[np.ndarray]:
    """The gradients of pixels and of taps, with `up` as that of the outputs."""

    def weighted(x: Any, w: Any, up: Any) -> Any:
        return ops.sum(ops.conv2d(x, w, **options) * up)

    return compute_gradients(weighted, x, w, up)[:2]


@ways
@BAD
def test_gradients_of_pixels_that_an_output_does_not_see_stay_what_they_were(way: str, bad: float) -> None:
    x, w, options, reference = geometry(way)
    up = numbers(convolved(x, w, np.zeros(len(w)), *reference).shape, 3).astype("float32")
    check_locality(
        lambda up: gradients_of(x, w, up, options)[0],
        up,
        bad,
        lambda here: gradients(x, np.ones_like(w), here, *reference)[0],
    )


@ways
@BAD
def test_gradients_of_taps_that_do_not_see_a_pixel_stay_what_they_were(way: str, bad: float) -> None:
    x, w, options, reference = geometry(way)
    up = numbers(convolved(x, w, np.zeros(len(w)), *reference).shape, 3).astype("float32")
    check_locality(
        lambda x: gradients_of(x, w, up, options)[1],
        x,
        bad,
        lambda here: gradients(here, w, np.ones_like(up), *reference)[1],
        tolerance=1e-4,  # of sums of 364 numbers, in another order
    )


@ways
@BAD
def test_transposed_convolutions_keep_a_pixel_under_its_filter(way: str, bad: float) -> None:
    _, w, options, _ = geometry(way)
    options["padding"] = 0
    x = numbers((2, len(w), 9, 10), 4).astype("float32")

    def run(x: np.ndarray, w: np.ndarray = w) -> Any:
        return compute(lambda x, w: ops.conv_transpose2d(x, w, **options), x, w)

    check_locality(run, x, bad, lambda here: run(here, np.ones_like(w)))
