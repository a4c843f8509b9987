"""Bounds of the subsampled Gaussian mechanism by Rényi differential privacy (Mironov, 2017).

One use takes a Poisson sample of the records, each with the same probability, and adds Gaussian noise to a
sum to which each record gives a vector of norm 1 at most. Two sets are neighbours if one has one record more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
"""The Rényi orders of which the one with the lowest bound counts."""
Uses = Sequence[tuple[float, float, int]]
"""Of each kind of use the noise, the rate, and how often."""
_LEAST = -745.0
"""Logarithms below are those of 0."""


@functools.cache
def divergence(noise: float, rate: float, order: int) -> float:
    """The Rényi divergence of one use (Mironov, Talwar and Zhang, 2019, section 3.3).

    Args:
        noise: the standard deviation of the noise, in units of the largest norm.
        rate: the probability with which a record is in a sample, above 0.
        order: of the divergence, from 2.
    """
    if rate == 1:
        return order / (2 * noise * noise)
    terms = [
        math.lgamma(order + 1)
        - math.lgamma(k + 1)
        - math.lgamma(order - k + 1)
        + k * math.log(rate)
        + (order - k) * math.log1p(-rate)
        + k * (k - 1) / (2 * noise * noise)
        for k in range(order + 1)
    ]
    largest = max(terms)
    total = math.fsum(math.exp(max(term - largest, _LEAST)) for term in terms)
    return (largest + math.log(total)) / (order - 1)


def renyi_epsilon(uses: Uses, delta: float) -> float:
    """A bound of epsilon of several uses together, at least 0, by proposition 12 of Canonne, Kamath and
    Steinke (2020).

    Args:
        uses: of each the noise, the rate, and how often.
        delta: the probability with which the bound may fail.
    """
    best = math.inf if uses else 0.0
    for order in ORDERS if uses else ():
        of_delta = math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, _sum(uses, order) + of_delta)
    return max(best, 0.0)


def renyi_reach(uses: Uses, chance: float) -> float:
    """What the privacy loss of several uses together exceeds with some small probability at most."""
    return min(_sum(uses, order) - math.log(chance) / (order - 1) for order in ORDERS)


def _sum(uses: Uses, order: int) -> float:
    return sum(count * divergence(noise, rate, order) for noise, rate, count in uses)
