"""How well two kinds of samples are told apart by a score, as receiver operating curves say."""

from __future__ import annotations

import math

import numpy as np


def told_apart(members: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """AUC, the share of members found at 1 % of others, the advantage; members have high scores."""
    inside, outside = np.sort(members), np.sort(others)
    below, up_to = (np.searchsorted(outside, inside, side) for side in ("left", "right"))
    auc = float((below + up_to).mean() / (2 * len(outside)))
    limit = outside[len(outside) - 1 - len(outside) // 100]
    found = float((inside > limit).mean())
    steps = np.concatenate([inside, outside])
    shares = [1 - np.searchsorted(part, steps, "left") / len(part) for part in (inside, outside)]
    return auc, found, max(float((shares[0] - shares[1]).max()), 0.0)


def apart_by_chance(chance: float, members: int, others: int) -> float:
    """How far the largest difference of two shares is above the true one with some probability at most
    (Smirnov, 1939). Samples drawn again do not tell: their largest difference is always above that of the
    samples themselves."""
    return math.sqrt(-math.log(chance) / 2 * (1 / members + 1 / others))
