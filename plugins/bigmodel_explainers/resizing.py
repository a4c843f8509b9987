"""Maps in the size of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stretched(maps: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Maps (N, C, ...) whose axes behind the channels have other sizes, by linear interpolation.

    >>> stretched(np.array([[[0.0, 1.0]]]), (4,)).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    for axis, size in enumerate(sizes, 2):
        own = maps.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * own / size - 0.5, 0, own - 1)
        below = np.floor(place).astype(np.int64)
        share = (place - below).reshape((-1,) + (1,) * (maps.ndim - 1 - axis))
        above = np.minimum(below + 1, own - 1)
        maps = (1 - share) * maps.take(below, axis) + share * maps.take(above, axis)
    return maps
