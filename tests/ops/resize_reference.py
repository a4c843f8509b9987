"""Resizing in NumPy: each axis by a matrix of weights."""

from __future__ import annotations

from typing import Any

import numpy as np


def matrix(size: int, count: int, method: str, align_corners: bool = False) -> np.ndarray:
    """(count, size): what each number after is made of."""
    found = np.zeros((count, size))
    for j in range(count):
        if method.startswith("nearest"):
            found[j, min(int((j + 0.5 * (method == "nearest-exact")) * size / count), size - 1)] = 1
            continue
        place = j * (size - 1) / max(count - 1, 1) if align_corners else (j + 0.5) * size / count - 0.5
        reach = range(int(np.floor(place)) - 1, int(np.floor(place)) + 3)
        for neighbour in reach:
            weight = _tent(neighbour - place) if method == "bilinear" else _cubic(neighbour - place)
            found[j, min(max(neighbour, 0), size - 1)] += weight
    return found


def _tent(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resized(x: np.ndarray, sizes: Any, method: str, align_corners: bool = False) -> np.ndarray:
    for axis, count in enumerate(sizes, 2):
        weights = matrix(x.shape[axis], count, method, align_corners)
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x
