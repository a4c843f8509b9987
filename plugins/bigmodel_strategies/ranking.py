"""The highest numbers of many."""

from __future__ import annotations

import numpy as np


def best(sums: np.ndarray, count: int) -> np.ndarray:
    """The places of the highest sums, the best first, of equal ones the first."""
    if count < len(sums):
        limit = np.partition(sums, len(sums) - count)[len(sums) - count]
        places = np.flatnonzero(sums >= limit)
    else:
        places = np.arange(len(sums))
    return places[np.argsort(-sums[places], kind="stable")][:count]
