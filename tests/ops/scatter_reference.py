"""Scatter in plain Python: updates are written one after the other."""

from __future__ import annotations

import numpy as np

COMBINE = {"add": np.add, "max": np.maximum, "min": np.minimum}


def scattered(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, reduce: str | None = None
) -> np.ndarray:
    """The array with updates written to the places along an axis that indices name, in their order."""
    count = indices.shape[axis]
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    indices, updates = np.broadcast_to(indices, shape), np.broadcast_to(updates, shape)
    found = x.copy()
    for place in np.ndindex(shape):
        there = (*place[:axis], indices[place], *place[axis + 1 :])
        new = updates[place]
        found[there] = new if reduce is None else COMBINE[reduce](found[there], new)
    return found
