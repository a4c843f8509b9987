"""Convolutions and their gradients in NumPy, images (N, C, H, W) or volumes (N, C, D, H, W), as their
definitions read; drawn shapes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.testing import compute


def numbers(shape: tuple[int, ...], seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def padded(x: np.ndarray, border: Any, value: float = 0.0) -> np.ndarray:
    half = len(border) // 2
    sides = zip(border[:half], border[half:], strict=True)
    return np.pad(x, ((0, 0), (0, 0), *sides), constant_values=value)


def cropped(x: np.ndarray, border: Any) -> np.ndarray:
    """What `padded` was made of."""
    sides = zip(border[: x.ndim - 2], border[x.ndim - 2 :], x.shape[2:], strict=True)
    return x[(..., *(slice(before, size - after) for before, after, size in sides))]


def windows(x: np.ndarray, span: Any, stride: Any, gap: Any = None) -> np.ndarray:
    """(N, C, H', W', R, S), or (N, C, D', H', W', Q, R, S): what lies under each window."""
    gap = gap or (1,) * len(span)
    reach = [(size - 1) * g + 1 for size, g in zip(span, gap, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    return seen[(slice(None), slice(None), *(slice(None, None, step) for step in (*stride, *gap)))]


def convolved(x: Any, w: Any, b: Any, stride: Any, border: Any, gap: Any, groups: int) -> np.ndarray:
    seen, axes = windows(padded(x, border), w.shape[2:], stride, gap), w.ndim - 2
    summed = (1, *range(2 + axes, 2 + 2 * axes)), tuple(range(1, 2 + axes))
    pieces = [
        np.moveaxis(np.tensordot(part, filters, summed), -1, 1)
        for part, filters in zip(np.split(seen, groups, 1), np.split(w, groups, 0), strict=True)
    ]
    return np.concatenate(pieces, 1) + b.reshape(-1, *[1] * axes)


def assert_convolves(
    x: np.ndarray, w: np.ndarray, options: dict[str, Any], dtype: str, tolerances: dict[str, float]
) -> None:
    """The op of some options gives what NumPy gives, with a bias, in a number type."""
    b = numbers(w.shape[:1], 2)
    expected = convolved(
        x, w, b, options["stride"], options["padding"] * 2, options["dilation"], options["groups"]
    )
    found = compute(lambda x, w, b: ops.conv2d(x, w, b, **options), *(a.astype(dtype) for a in (x, w, b)))
    np.testing.assert_allclose(found, expected, rtol=tolerances[dtype], atol=tolerances[dtype])


def gradients(
    x: Any, w: Any, up: Any, stride: Any, border: Any, gap: Any = None, groups: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of a convolution for x and w from that of its output."""
    wide, gap = padded(x, border), gap or (1,) * len(stride)
    dx, dw = np.zeros_like(wide), np.zeros_like(w)
    reach = [(size - 1) * step + 1 for size, step in zip(up.shape[2:], stride, strict=True)]
    of_group, filters = w.shape[1], len(w) // groups
    pixels = (0, *range(2, x.ndim))
    for group in range(groups):
        inside = slice(group * of_group, (group + 1) * of_group)
        outside = slice(group * filters, (group + 1) * filters)
        flows = up[:, outside]
        for tap in itertools.product(*map(range, w.shape[2:])):
            axes = zip(tap, gap, reach, stride, strict=True)
            places = (slice(None), inside, *(slice(t * g, t * g + r, step) for t, g, r, step in axes))
            of_tap = (outside, slice(None), *tap)
            dw[of_tap] = np.tensordot(flows, wide[places], (pixels, pixels))
            dx[places] += np.moveaxis(np.tensordot(flows, w[of_tap], (1, 0)), -1, 1)
    return cropped(dx, border), dw


def spread(flows: np.ndarray, shape: Any, stride: Any, border: Any) -> np.ndarray:
    """What flows (N, C, sizes..., window...) from each place of each window to the pixels of a shape."""
    dx, axes = padded(np.zeros(shape), border), len(stride)
    reach = [(size - 1) * step + 1 for size, step in zip(flows.shape[2 : 2 + axes], stride, strict=True)]
    for place in itertools.product(*map(range, flows.shape[2 + axes :])):
        under = (slice(t, t + r, step) for t, r, step in zip(place, reach, stride, strict=True))
        dx[(slice(None), slice(None), *under)] += flows[(..., *place)]
    return cropped(dx, border)


def numbers_each(axes: int, low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    """An integer from `low` to `high` for each axis."""
    return st.tuples(*[st.integers(low, high)] * axes)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Two integers from `low` to `high`: down and across."""
    return numbers_each(2, low, high)


@st.composite
def convolutions(draw: Any, axes: int = 2) -> dict[str, Any]:
    """Shapes x and w of a convolution, and its options."""

    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    taps, stride, gap, padding = (
        draw(numbers_each(axes, *limits)) for limits in ((1, 4), (1, 3), (1, 2), (0, 3))
    )
    least = [(t - 1) * g + 1 - 2 * p for t, g, p in zip(taps, gap, padding, strict=True)]
    size = [draw(st.integers(max(low, 1), max(low, 1) + (8 if axes == 2 else 4))) for low in least]
    x = (draw(st.integers(1, 3)), groups * draw(st.integers(1, 5)), *size)
    w = (groups * draw(st.sampled_from((1, 2, 7, 20))), x[1] // groups, *taps)
    return {"x": x, "w": w, "stride": stride, "padding": padding, "dilation": gap, "groups": groups}


@st.composite
def pools(draw: Any, axes: int = 2) -> tuple[tuple[int, ...], Any, Any, Any]:
    """The shape of images or volumes, and window, stride and padding of a pool."""
    window = draw(numbers_each(axes, 1, 4))
    stride = draw(numbers_each(axes, 1, 3))
    padding = tuple(draw(st.integers(0, size - 1)) for size in window)
    size = [draw(st.integers(w, w + (7 if axes == 2 else 4))) for w in window]
    return (draw(st.integers(1, 2)), draw(st.sampled_from((1, 3, 18))), *size), window, stride, padding
