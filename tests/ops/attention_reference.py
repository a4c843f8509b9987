"""Attention as NumPy loops in float64: row by row, as its definition reads."""

from __future__ import annotations

from typing import Any

import numpy as np


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    causal: bool = False,
    scale: float | None = None,
    bias: np.ndarray | None = None,
    lengths: Any = None,
) -> np.ndarray:
    """softmax(q @ k.T * scale + bias) @ v for q (N, heads, T, width), over the keys that a row sees."""
    q, k, v = (x.astype("float64") for x in (q, k, v))
    n, heads, steps, width = q.shape
    keys, each = k.shape[2], heads // k.shape[1]
    shape = (n, heads, steps, keys)
    shown = np.ones(shape, bool) if mask is None else np.broadcast_to(mask, shape)
    added = np.zeros(shape) if bias is None else np.broadcast_to(bias, shape)
    y = np.zeros((n, heads, steps, v.shape[3]))
    for i in range(n):
        count = keys if lengths is None else int(lengths[i])
        for h in range(heads):
            for t in range(steps):
                seen = [
                    j
                    for j in range(count)
                    if shown[i, h, t, j]
                    and added[i, h, t, j] > -np.inf
                    and (not causal or j <= t + count - steps)
                ]
                if not seen:
                    continue
                scores = k[i, h // each, seen] @ q[i, h, t] * (width**-0.5 if scale is None else scale)
                scores = scores + added[i, h, t, seen]
                weights = np.exp(scores - scores.max())
                y[i, h, t] = weights / weights.sum() @ v[i, h // each, seen]
    return y
