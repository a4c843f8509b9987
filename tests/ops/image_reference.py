"""Convolutions and their gradients in NumPy, images (N, C, H, W), as the definitions read; drawn shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.testing import compute


def numbers(shape: tuple[int, ...], seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def padded(x: np.ndarray, border: Any, value: float = 0.0) -> np.ndarray:
    top, left, below, right = border
    return np.pad(x, ((0, 0), (0, 0), (top, below), (left, right)), constant_values=value)


def windows(x: np.ndarray, span: Any, stride: Any, gap: Any = (1, 1)) -> np.ndarray:
    """(N, C, H', W', R, S): what lies under each window."""
    reach = [(size - 1) * g + 1 for size, g in zip(span, gap, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return seen[:, :, :: stride[0], :: stride[1], :: gap[0], :: gap[1]]


def convolved(x: Any, w: Any, b: Any, stride: Any, border: Any, gap: Any, groups: int) -> np.ndarray:
    seen = windows(padded(x, border), w.shape[2:], stride, gap)
    pieces = [
        np.einsum("nchwrs,kcrs->nkhw", part, filters)
        for part, filters in zip(np.split(seen, groups, 1), np.split(w, groups, 0), strict=True)
    ]
    return np.concatenate(pieces, 1) + b[:, None, None]


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
    x: Any, w: Any, up: Any, stride: Any, border: Any, gap: Any = (1, 1), groups: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of a convolution for x and w from that of its output."""
    wide = padded(x, border)
    dx, dw = np.zeros_like(wide), np.zeros_like(w)
    rows, columns = ((size - 1) * step + 1 for size, step in zip(up.shape[2:], stride, strict=True))
    of_group, filters = w.shape[1], len(w) // groups
    for group in range(groups):
        inside = slice(group * of_group, (group + 1) * of_group)
        outside = slice(group * filters, (group + 1) * filters)
        for r in range(w.shape[2]):
            for s in range(w.shape[3]):
                down = slice(r * gap[0], r * gap[0] + rows, stride[0])
                across = slice(s * gap[1], s * gap[1] + columns, stride[1])
                seen, flows = wide[:, inside, down, across], up[:, outside]
                dw[outside, :, r, s] = np.einsum("nkhw,nchw->kc", flows, seen)
                dx[:, inside, down, across] += np.einsum("nkhw,kc->nchw", flows, w[outside, :, r, s])
    top, left, below, right = border
    return dx[:, :, top : dx.shape[2] - below, left : dx.shape[3] - right], dw


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two integers from `low` to `high`: down and across."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    """Shapes x and w of a convolution, and its options."""

    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    taps, stride, gap, padding = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 2)), draw(pairs(0, 3))
    least = [(t - 1) * g + 1 - 2 * p for t, g, p in zip(taps, gap, padding, strict=True)]
    size = [draw(st.integers(max(low, 1), max(low, 1) + 8)) for low in least]
    x = (draw(st.integers(1, 3)), groups * draw(st.integers(1, 5)), *size)
    w = (groups * draw(st.sampled_from((1, 2, 7, 20))), x[1] // groups, *taps)
    return {"x": x, "w": w, "stride": stride, "padding": padding, "dilation": gap, "groups": groups}


@st.composite
def pools(draw: Any) -> tuple[tuple[int, ...], Any, Any, Any]:
    """The shape of images, and window, stride and padding of a pool."""
    window = draw(pairs(1, 4))
    stride = draw(pairs(1, 3))
    padding = tuple(draw(st.integers(0, size - 1)) for size in window)
    size = [draw(st.integers(w, w + 7)) for w in window]
    return (draw(st.integers(1, 2)), draw(st.sampled_from((1, 3, 18))), *size), window, stride, padding
