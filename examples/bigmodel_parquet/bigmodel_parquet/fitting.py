"""Mean and deviation of columns in one pass over files that are larger than memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

import bigmodel_core as bm

CONSTANT = 1e-13
"""A deviation of this share of the mean is rounding in float64: the column is a constant."""
LOST = 1e-5
"""Deviations by which float32 may move a value before raw input is float64."""


def standardising(pieces: Iterable[np.ndarray], raw_shape: tuple[int, ...]) -> bm.Preprocessing:
    """What brings numbers to a mean of 0 and a deviation of 1, computed in float64.

    Vectors have a mean and a deviation for each entry; arrays of more axes have one of each. The moments of
    the pieces are merged in their order (Chan, Golub & LeVeque, 1979).

    Args:
        pieces: (n, *raw_shape) float64 each, which together are what training sees.
        raw_shape: of one sample.

    >>> pieces = [np.array([[1.0], [2.0]]), np.array([[6.0]])]
    >>> standardising(pieces, (1,)).mean
    (3.0,)
    """
    width = raw_shape[0] if len(raw_shape) == 1 else 1
    count, mean, squares, rounded = 0, np.zeros(width), np.zeros(width), np.zeros(width)
    for piece in pieces:
        values = piece.reshape(-1, width)
        if not len(values):
            continue
        # Around the first row: the deviation of a constant is then exactly 0.
        centred = values - values[0]
        middle = centred.mean(0)
        change = values[0] + middle - mean
        total = count + len(values)
        mean = mean + change * (len(values) / total)
        squares += ((centred - middle) ** 2).sum(0) + change**2 * (count * len(values) / total)
        rounded = np.maximum(rounded, np.abs(values.astype(np.float32) - values).max(0))
        count = total
    std = np.sqrt(squares / max(count, 1))
    std[(std <= CONSTANT * np.abs(mean)) | (std < np.finfo(np.float32).tiny)] = 1.0
    raw_dtype = "float32" if (rounded <= LOST * std).all() else "float64"
    return bm.Preprocessing(1.0, tuple(mean), tuple(std), raw_dtype, raw_shape)
