"""Rotary position embeddings in NumPy: pairs as complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def turned(
    x: np.ndarray, positions: Any = None, base: float = 1e4, width: int = 6, interleaved: bool = False
) -> np.ndarray:
    """Pairs as complex numbers, times those of length 1 at an angle."""
    positions = np.arange(x.shape[-2]) if positions is None else positions
    parts = [slice(0, width, 2), slice(1, width, 2)] if interleaved else np.split(np.arange(width), 2)
    angles = positions[..., None] * base ** (-np.arange(0, width, 2) / width)
    pairs = (x[..., parts[0]] + 1j * x[..., parts[1]]) * np.exp(1j * angles)
    found = x.copy()
    found[..., parts[0]], found[..., parts[1]] = pairs.real, pairs.imag
    return found
