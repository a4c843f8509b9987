"""A number that is not finite stays where a convolution puts it: the outputs that see its pixel, no others.

The oracle is which outputs a pixel of ones reaches under filters of ones, in NumPy.
"""

from __future__ import annotations

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


def check(found: np.ndarray, before: np.ndarray, reached: np.ndarray, tolerance: float = 0.0) -> None:
    np.testing.assert_array_equal(np.isfinite(found), ~reached)
    np.testing.assert_allclose(found[~reached], before[~reached], rtol=0, atol=tolerance)


@ways
@BAD
def test_outputs_that_do_not_see_a_pixel_stay_what_they_were(way: str, bad: float) -> None:
    x, w, options, reference = geometry(way)

    def run(x: np.ndarray) -> Any:
        return compute(lambda x, w: ops.conv2d(x, w, **options), x, w)

    before = run(x)
    for place in places(x.shape):
        here = np.zeros_like(x)
        here[place] = 1
        reached = convolved(here, np.ones_like(w), np.zeros(len(w)), *reference) > 0
        x_bad = x.copy()
        x_bad[place] = bad
        check(run(x_bad), before, reached)


@ways
@BAD
def test_gradients_of_pixels_that_an_output_does_not_see_stay_what_they_were(way: str, bad: float) -> None:
    x, w, options, reference = geometry(way)
    up = numbers(convolved(x, w, np.zeros(len(w)), *reference).shape, 3).astype("float32")

    def run(up: np.ndarray) -> Any:
        def weighted(x: Any, w: Any, up: Any) -> Any:
            return ops.sum(ops.conv2d(x, w, **options) * up)

        return compute_gradients(weighted, x, w, up)[0]

    before = run(up)
    for place in places(up.shape):
        here = np.zeros_like(up)
        here[place] = 1
        reached = gradients(x, np.ones_like(w), here, *reference)[0] > 0
        up_bad = up.copy()
        up_bad[place] = bad
        check(run(up_bad), before, reached)


@ways
@BAD
def test_gradients_of_taps_that_do_not_see_a_pixel_stay_what_they_were(way: str, bad: float) -> None:
    x, w, options, reference = geometry(way)
    up = numbers(convolved(x, w, np.zeros(len(w)), *reference).shape, 3).astype("float32")

    def run(x: np.ndarray) -> Any:
        def weighted(x: Any, w: Any, up: Any) -> Any:
            return ops.sum(ops.conv2d(x, w, **options) * up)

        return compute_gradients(weighted, x, w, up)[1]

    before = run(x)
    for place in places(x.shape):
        here = np.zeros_like(x)
        here[place] = 1
        reached = gradients(here, w, np.ones_like(up), *reference)[1] > 0
        x_bad = x.copy()
        x_bad[place] = bad
        check(run(x_bad), before, reached, tolerance=1e-4)  # of sums of 364 numbers, in another order


@ways
@BAD
def test_transposed_convolutions_keep_a_pixel_under_its_filter(way: str, bad: float) -> None:
    _, w, options, _ = geometry(way)
    if options["padding"]:
        options["padding"] = 0
    x = numbers((2, len(w), 9, 10), 4).astype("float32")

    def run(x: np.ndarray) -> Any:
        return compute(lambda x, w: ops.conv_transpose2d(x, w, **options), x, w)

    before = run(x)
    for place in places(x.shape):
        here = np.zeros_like(x)
        here[place] = 1
        reached = compute(lambda x, w: ops.conv_transpose2d(x, w, **options), here, np.ones_like(w)) > 0.5
        x_bad = x.copy()
        x_bad[place] = bad
        check(run(x_bad), before, reached)
