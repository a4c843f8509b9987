"""Convolutions that go Winograd's way, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.kernels.cpu.convolution import winograd
from bigmodel_core.testing import compute
from bigmodel_core.testing.evaluate import compute_gradients
from tests.ops.image_reference import convolved, gradients, numbers, pairs

few = settings(max_examples=25)


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    """Within what float32 loses on the way: a part of the largest number."""
    assert np.abs(found - expected).max() <= 3e-6 * np.abs(expected).max()


@pytest.fixture
def ways(noted: Callable[[ModuleType], list[bool]]) -> list[bool]:
    """Whether each convolution of the test went this way."""
    return noted(winograd)


def check(n: int, channels: int, size: tuple[int, int], filters: int, padding: int) -> None:
    x, w = numbers((n, channels, *size)), numbers((filters, channels, 3, 3), 1)
    b, border = numbers((filters,), 2), (padding,) * 4
    expected = convolved(x, w, b, (1, 1), border, (1, 1), 1)
    up = numbers(expected.shape, 3)
    singles = [a.astype("float32") for a in (x, w, b)]
    assert_near(compute(lambda x, w, b: ops.conv2d(x, w, b, padding=padding), *singles), expected)

    def weighted(x: Any, w: Any) -> Any:
        return ops.sum(ops.conv2d(x, w, padding=padding) * x.node.graph.constant(up.astype("float32")))

    for found, wanted in zip(
        compute_gradients(weighted, *singles[:2]), gradients(x, w, up, (1, 1), border), strict=True
    ):
        assert_near(found, wanted)


@few
@given(
    st.integers(1, 9),
    st.integers(16, 70),
    pairs(5, 15),
    st.integers(16, 70),
    st.integers(0, 2),
)
def test_drawn_shapes(n: int, channels: int, size: tuple[int, int], filters: int, padding: int) -> None:
    check(n, channels, size, filters, padding)


@pytest.mark.parametrize(
    "case",
    [
        (64, 16, (8, 8), 16, 1),  # whole images in a chunk
        (1, 40, (64, 30), 24, 1),  # a chunk is part of an image
        (1, 64, (31, 33), 64, 1),  # odd sizes in one image
        (2, 300, (12, 12), 32, 0),  # channels that leave room for few tiles
        (2, 32, (12, 12), 300, 0),  # filters in several blocks of columns
        (1, 70, (13, 11), 150, 1),  # chunks share the filters out
    ],
)
def test_ways_to_cut_the_work(case: Any, ways: list[bool]) -> None:
    check(*case)
    assert ways and all(ways)


def test_what_goes_another_way(ways: list[bool]) -> None:
    x, w = numbers((8, 16, 9, 9), dtype="float32"), numbers((16, 16, 3, 3), 1, "float32")
    compute(lambda x, w: ops.conv2d(x, w, stride=2), x, w)
    compute(lambda x, w: ops.conv2d(x, w, dilation=2), x, w)
    compute(lambda x, w: ops.conv2d(x[:, :8], w, groups=2), x, w[:, :4])
    compute(lambda x, w: ops.conv2d(x, w), x.astype("float64"), w.astype("float64"))
    compute(lambda x, w: ops.conv2d(x, w), x[:1, :, :4, :4], w)
    assert len(ways) == 5 and not any(ways)


def test_nan_and_infinity_stay_near_their_pixel() -> None:
    x, w = numbers((4, 16, 12, 12), dtype="float32"), numbers((16, 16, 3, 3), 1, "float32")
    x[1, 3, 5, 5] = np.nan
    found = compute(lambda x, w: ops.conv2d(x, w, padding=1), x, w)
    assert np.isnan(found[1, :, 4:7, 4:7]).all()
    assert np.isfinite(found[[0, 2, 3]]).all() and np.isfinite(found[1, :, :3]).all()


@pytest.mark.parametrize("tallest", [6, 12, 14])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_have_room_on_the_stack(monkeypatch: pytest.MonkeyPatch, tallest: int, dtype: str) -> None:
    monkeypatch.setattr(winograd, "tallest", lambda: tallest)
    size = 4 if dtype == "float32" else 8
    widths = range(16, winograd.ROW // size + 1, 16)
    for channels in widths:
        for columns in widths:
            shape: Any = SimpleNamespace(channels=channels, dtype=dtype)
            tiles = winograd.tiles_of_block(shape, columns)
            block = winograd.POINTS * tiles * (channels + columns) * size
            assert tiles >= 1 and block + 2 * winograd.ROW <= winograd.STACK


def test_many_channels_on_one_pixel() -> None:
    check(32, 512, (1, 1), 512, 1)
