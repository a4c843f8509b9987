"""Convolutions with few filters, several pixels at once, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.kernels.cpu.convolution import few_filters
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import compute_gradients
from tests.ops.image_reference import convolved, gradients, numbers, pairs

few = settings(max_examples=30)


@pytest.fixture
def ways(noted: Callable[[ModuleType], list[bool]]) -> list[bool]:
    """Whether each convolution of the test went this way."""
    return noted(few_filters)


def check(
    n: int,
    channels: int,
    size: tuple[int, int],
    filters: int,
    taps: tuple[int, int],
    stride: tuple[int, int],
    padding: int,
    dtype: str,
) -> None:
    x, w, b = numbers((n, channels, *size)), numbers((filters, channels, *taps), 1), numbers((filters,), 2)
    border = (padding,) * 4
    expected = convolved(x, w, b, stride, border, (1, 1), 1)
    up = numbers(expected.shape, 3)
    given = [a.astype(dtype) for a in (x, w, b)]
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-5, "atol": 2e-4}
    found = compute(lambda x, w, b: ops.conv2d(x, w, b, stride=stride, padding=padding), *given)
    np.testing.assert_allclose(found, expected, **tolerance)
    np.testing.assert_allclose(  # without a bias
        compute(lambda x, w: ops.conv2d(x, w, stride=stride, padding=padding), *given[:2]),
        expected - b[:, None, None],
        **tolerance,
    )

    def weighted(x: Any, w: Any) -> Any:
        y = ops.conv2d(x, w, stride=stride, padding=padding)
        return ops.sum(y * x.node.graph.constant(up.astype(dtype)))

    wanted = gradients(x, w, up, stride, border)[1]
    np.testing.assert_allclose(compute_gradients(weighted, *given[:2])[1], wanted, **tolerance)


shapes = st.tuples(
    st.integers(1, 4),
    st.integers(1, 5),
    pairs(6, 17),
    st.integers(1, 9),
    pairs(1, 5),
    pairs(1, 3),
    st.integers(0, 2),
    st.sampled_from(("float32", "float64")),
)


@few
@given(shapes)
def test_drawn_shapes(drawn: Any) -> None:
    check(*drawn)


@pytest.mark.parametrize(
    ("case", "taken"),
    [
        ((9, 1, (32, 32), 2, (5, 5), (1, 1), 0, "float32"), True),
        ((2, 3, (16, 16), 1, (3, 3), (1, 1), 1, "float32"), True),  # one filter, as of a picture in grey
        ((2, 40, (12, 12), 2, (3, 3), (1, 1), 1, "float32"), True),
        ((1, 2, (9, 64), 2, (2, 4), (1, 2), 0, "float32"), False),  # 31 pixels in a row
        ((2, 3, (12, 12), 40, (3, 3), (1, 1), 1, "float32"), False),  # filters fill vectors
        ((2, 3, (12, 12), 3, (1, 1), (2, 2), 0, "float32"), False),  # taps between pixels would only be zeros
    ],
)
def test_which_shapes_go_this_way(case: Any, taken: bool, ways: list[bool]) -> None:
    check(*case)
    assert ways and all(way == taken for way in ways)


def test_widening_keeps_work_that_is_not_multiplied_by_zero() -> None:
    from bigmodel_core.kernels.cpu.convolution.geometry import Geometry

    g = Geometry(4, 32, 32, 1, 28, 28, 2, (5, 5), (1, 1), (1, 1), (0, 0), (1, 1), 1, "float32")
    pixels, wide = few_filters.pixels_at_once(g), few_filters.widened(g)
    assert pixels > 1
    assert (wide.out_width * pixels, wide.filters) == (28, 2 * pixels)
    assert wide.work * 5 == g.work * wide.taps[1]
    assert wide.in_place == g.in_place
