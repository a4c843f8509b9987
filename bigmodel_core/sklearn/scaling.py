"""Numbers brought to a mean of 0 and a deviation of 1, in float64."""

from __future__ import annotations

import numpy as np

from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import EstimatorError

_CONSTANT = 1e-13
"""A deviation of this share of the mean is rounding in float64: the numbers are constant."""
_LOST = 1e-5
"""Deviations by which float32 may move a number before raw input is float64."""


def standardising(values: np.ndarray, weight: np.ndarray | None, what: str) -> Preprocessing:
    """The mean and the deviation of numbers: of each column of a table, each channel of images (n, C, H, W),
    and of all together where samples are (n, T, k). What is constant is only moved to 0.

    Args:
        values: (n, ...) floats.
        weight: (n,), what each sample counts, as if it were there that often; None if all count 1.
        what: what the numbers are, for messages.

    Raises:
        EstimatorError: float64 cannot hold the squares, or float32 the deviation.

    >>> steps = standardising(np.array([[1.0], [3.0]]), np.array([3.0, 1.0]), "x")
    >>> steps.mean, round(steps.std[0], 3)
    ((1.5,), 0.866)
    """
    values = np.asarray(values, np.float64)
    is_by_column = values.ndim != 3 and values.ndim > 1
    axes = tuple(axis for axis in range(values.ndim) if axis != 1 or not is_by_column)
    # Around the first sample: constants then deviate by exactly 0, and large numbers lose no precision.
    first = values[:1].mean(axes, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        centred = values - first
        spread = None if weight is None else np.broadcast_to(_column(weight, values.ndim), values.shape)
        moved = np.average(centred, axes, spread, keepdims=True)
        std = np.sqrt(np.average((centred - moved) ** 2, axes, spread, keepdims=True))
        mean = first + moved
    if not (np.isfinite(std).all() and np.abs([mean, std]).max() < np.finfo(np.float32).max):
        raise EstimatorError(
            f"{what} has numbers as large as {np.abs(values).max():.3g}, too large to be standardised.",
            where="fit",
            fix="bring them to a smaller unit.",
        )
    std[(std <= _CONSTANT * np.abs(mean)) | (std < np.finfo(np.float32).tiny)] = 1.0
    rounded = np.abs(values.astype(np.float32) - values).max(axes, keepdims=True)
    raw_dtype = "float32" if (rounded <= _LOST * std).all() else "float64"
    return Preprocessing(1.0, tuple(mean.ravel()), tuple(std.ravel()), raw_dtype, values.shape[1:])


def _column(weight: np.ndarray, ndim: int) -> np.ndarray:
    return weight.reshape(-1, *[1] * (ndim - 1))
