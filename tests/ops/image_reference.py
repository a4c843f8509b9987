"""Convolutions and their gradients in NumPy, images (N, C, H, W), as the definitions read."""

from __future__ import annotations

from typing import Any

import numpy as np


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


def gradients(x: Any, w: Any, up: Any, stride: Any, border: Any) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of a convolution for x and w from that of its output; neither dilation nor groups."""
    wide = padded(x, border)
    dw = np.einsum("nkhw,nchwrs->kcrs", up, windows(wide, w.shape[2:], stride))
    dx = np.zeros_like(wide)
    height, width = ((size - 1) * step + 1 for size, step in zip(up.shape[2:], stride, strict=True))
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            into = dx[:, :, r : r + height : stride[0], s : s + width : stride[1]]
            into += np.einsum("nkhw,kc->nchw", up, w[:, :, r, s])
    top, left, below, right = border
    return dx[:, :, top : dx.shape[2] - below, left : dx.shape[3] - right], dw
