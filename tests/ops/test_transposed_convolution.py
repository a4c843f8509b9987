"""Transposed convolutions, row by row and with zeros in between, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.kernels.cpu.convolution import transposed
from bigmodel_core.testing import compute
from tests.ops.image_reference import gradients, numbers, pairs

few = settings(max_examples=30)


def expected(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: Any, padding: int, more: Any) -> np.ndarray:
    """The gradient of the convolution for its input, which is what a transposed convolution is."""
    whole = [(n - 1) * step + taps for n, step, taps in zip(x.shape[2:], stride, w.shape[2:], strict=True)]
    found = gradients(np.zeros((len(x), w.shape[1], *whole)), w, x, stride, (0, 0, 0, 0))[0]
    wide = np.pad(found, ((0, 0), (0, 0), (0, more[0]), (0, more[1])))
    down, across = (n + extra - padding for n, extra in zip(whole, more, strict=True))
    wide = wide[:, :, padding:down, padding:across]
    return wide + b[:, None, None]


@pytest.fixture
def ways(noted: Callable[[ModuleType], list[bool]]) -> list[bool]:
    """Whether each convolution of the test went row by row."""
    return noted(transposed)


CASES = [
    # x, w, stride, padding, output padding, whether it goes row by row
    ((64, 16, 10, 10), (16, 6, 5, 5), (1, 1), 0, (0, 0), True),
    ((3, 32, 8, 8), (32, 16, 3, 3), (2, 2), 1, (1, 1), True),
    ((2, 8, 7, 9), (8, 20, 4, 4), (2, 2), 1, (0, 0), True),
    ((1, 7, 5, 6), (7, 33, 5, 4), (3, 2), 2, (1, 1), True),
    ((2, 8, 5, 6), (8, 3, 2, 3), (3, 3), 0, (1, 0), True),
    ((2, 5, 3, 3), (5, 4, 1, 1), (2, 2), 0, (1, 1), True),
    ((2, 8, 9, 9), (8, 64, 5, 5), (1, 1), 2, (0, 0), False),
    ((1, 4, 3, 300), (4, 128, 2, 2), (2, 2), 0, (0, 0), False),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes(case: Any, dtype: str, ways: list[bool]) -> None:
    shape, weight, stride, padding, more, by_rows = case
    x, w, b = numbers(shape), numbers(weight, 1), numbers(weight[1:2], 2)
    options = {"stride": stride, "padding": padding, "output_padding": more}
    found = compute(
        lambda x, w, b: ops.conv_transpose2d(x, w, b, **options), *(a.astype(dtype) for a in (x, w, b))
    )
    wanted = expected(x, w, b, stride, padding, more)
    scale = np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= (2e-6 if dtype == "float32" else 1e-14) * scale
    if dtype == "float32":
        assert ways[-1] == by_rows


@st.composite
def drawn(draw: Any) -> tuple[Any, ...]:
    stride, taps, padding = draw(pairs(1, 4)), draw(pairs(1, 5)), draw(st.integers(0, 2))
    more = tuple(draw(st.integers(0, step - 1)) for step in stride)
    least = [
        max(1, -(-(1 + 2 * padding - t - m) // s) + 1) for t, m, s in zip(taps, more, stride, strict=True)
    ]
    size = [draw(st.integers(low, low + 6)) for low in least]
    x = (draw(st.integers(1, 3)), draw(st.integers(1, 18)), *size)
    return x, (x[1], draw(st.sampled_from((1, 3, 16, 21))), *taps), stride, padding, more


@few
@given(drawn())
def test_drawn_shapes(case: Any) -> None:
    shape, weight, stride, padding, more = case
    x, w, b = numbers(shape), numbers(weight, 1), numbers(weight[1:2], 2)
    options = {"stride": stride, "padding": padding, "output_padding": more}
    found = compute(lambda x, w, b: ops.conv_transpose2d(x, w, b, **options), x, w, b)
    np.testing.assert_allclose(found, expected(x, w, b, stride, padding, more), rtol=1e-11, atol=1e-11)
