"""Depthwise convolutions and their gradients, against NumPy and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.kernels.cpu.convolution import depthwise
from bigmodel_core.testing import check_gradients, compute
from bigmodel_core.testing.evaluate import compute_gradients
from tests.ops.image_reference import assert_convolves, convolved, numbers, pairs

few = settings(max_examples=40)


@st.composite
def drawn(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    channels = draw(st.sampled_from((2, 3, 16, 21, 64, 70)))
    taps, stride, gap, padding = draw(pairs(1, 4)), draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(0, 3))
    least = [max(1, (t - 1) * g + 1 - 2 * p) for t, g, p in zip(taps, gap, padding, strict=True)]
    size = [draw(st.integers(low, low + 8)) for low in least]
    options = {"stride": stride, "padding": padding, "dilation": gap, "groups": channels}
    return (draw(st.integers(1, 3)), channels, *size), (channels, 1, *taps), options


@few
@given(drawn(), st.sampled_from(("float32", "float64")))
def test_drawn_shapes(case: Any, dtype: str) -> None:
    shape, weight, options = case
    tolerances = {"float32": 2e-5, "float64": 1e-12}
    assert_convolves(numbers(shape), numbers(weight, 1), options, dtype, tolerances)


@few
@given(drawn())
def test_gradients_are_adjoint(case: Any) -> None:
    """Each number of each gradient is what the reference gives for the unit arrays: <conv(x, w), up>."""
    shape, weight, options = case
    x, w, nothing = numbers(shape), numbers(weight, 1), np.zeros(weight[0])
    rest = (options["stride"], options["padding"] * 2, options["dilation"], options["groups"])
    up = numbers(convolved(x, w, nothing, *rest).shape, 3)
    dx, dw = compute_gradients(
        lambda x, w: ops.sum(ops.conv2d(x, w, **options) * x.node.graph.constant(up)), x, w
    )
    for seed in (4, 5):  # in random directions, which no wrong gradient survives
        toward_x, toward_w = numbers(shape, seed), numbers(weight, seed + 2)
        along_x = (convolved(toward_x, w, nothing, *rest) * up).sum()
        along_w = (convolved(x, toward_w, nothing, *rest) * up).sum()
        np.testing.assert_allclose((dx * toward_x).sum(), along_x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose((dw * toward_w).sum(), along_w, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "taps", "options"),
    [
        ((2, 5, 6, 7), (3, 3), {"padding": 1}),
        ((2, 3, 8, 7), (3, 2), {"stride": 2, "padding": (1, 0)}),
        ((1, 2, 9, 9), (2, 3), {"stride": (3, 2), "dilation": (2, 3), "padding": 2}),
    ],
)
def test_finite_differences(shape: Any, taps: Any, options: Any) -> None:
    x, w, b = numbers(shape), numbers((shape[1], 1, *taps), 1), numbers(shape[1:2], 2)
    check_gradients(lambda x, w, b: ops.conv2d(x, w, b, groups=shape[1], **options), [x, w, b])


def test_which_convolutions_go_this_way(noted: Callable[[ModuleType], list[bool]]) -> None:
    ways = noted(depthwise)
    x = numbers((1, 4, 5, 5))
    compute(lambda x, w: ops.conv2d(x, w, groups=4), x, numbers((4, 1, 3, 3)))
    compute(lambda x, w: ops.conv2d(x, w, groups=4), x, numbers((8, 1, 3, 3)))
    compute(lambda x, w: ops.conv2d(x, w, groups=2), x, numbers((4, 2, 3, 3)))
    assert ways == [True, False, False]
