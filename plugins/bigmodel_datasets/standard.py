"""Standardised columns: what brings numbers to a mean of 0 and a deviation of 1."""

from __future__ import annotations

import numpy as np

import bigmodel_core as bm

_CONSTANT = 1e-13
"""A deviation of this share of the mean is rounding in float64: the column is a constant."""
_LOST = 1e-5
"""Deviations by which float32 may move a value before raw input is float64."""


def known_for(like: bm.Encoding | None, raw_shape: tuple[int, ...]) -> bm.Preprocessing | None:
    """The preprocessing of a training, if it is for samples of this shape."""
    found = None if like is None else like.preprocessing
    return found if found is not None and found.raw_shape == raw_shape else None


def standardising(values: np.ndarray, raw_shape: tuple[int, ...]) -> bm.Preprocessing:
    """Mean and deviation of columns, computed in float64.

    Args:
        values: (n, k) float64, the values that training sees.
        raw_shape: of one sample: (k,), or any shape where k is 1.

    >>> standardising(np.array([[1.7e9], [1.7e9 + 2]]), (1,)).apply(np.array([[1.7e9 + 1]])).tolist()
    [[0.0]]
    """
    # Around the first row: the deviation of a constant is then exactly 0, and large values lose no precision.
    centred = values - values[0]
    mean, std = values[0] + centred.mean(0), centred.std(0)
    std[(std <= _CONSTANT * np.abs(mean)) | (std < np.finfo(np.float32).tiny)] = 1.0
    rounded = np.abs(values.astype(np.float32) - values).max(0)
    raw_dtype = "float32" if (rounded <= _LOST * std).all() else "float64"
    return bm.Preprocessing(1.0, tuple(mean), tuple(std), raw_dtype, raw_shape)
