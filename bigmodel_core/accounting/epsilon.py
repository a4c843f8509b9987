"""Epsilon of training by DP-SGD, and the noise that keeps to an epsilon."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from bigmodel_core.accounting.gaussian import Uses, renyi_epsilon, renyi_reach
from bigmodel_core.accounting.loss_distribution import TAIL, epsilon_of_losses
from bigmodel_core.errors import ConfigError


def check_delta(delta: float) -> float:
    """Delta as a float.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if isinstance(delta, bool) or not isinstance(delta, (int, float)) or not 0 < delta < 1:
        raise ConfigError(
            f"delta is {delta!r}, expected a number above 0 and below 1.",
            fix="use a number well below one in the number of samples, such as 1e-5.",
        )
    return float(delta)


def epsilon_of(uses: Uses, delta: float) -> float:
    """The lower one of two bounds of epsilon of several uses together: by Rényi divergences, and by the
    distribution of the privacy loss.

    Args:
        uses: of each the noise, the rate, and how often.
        delta: the probability with which the bound may fail.

    Returns:
        At least 0; infinity where there is no bound.

    Raises:
        ConfigError: delta is not between 0 and 1.
    """
    check_delta(delta)
    merged: dict[tuple[float, float], int] = {}
    for noise, rate, count in uses:
        if rate > 0 and count > 0:
            merged[noise, rate] = merged.get((noise, rate), 0) + count
    return _epsilon_of(tuple((*key, count) for key, count in sorted(merged.items())), delta)


@functools.lru_cache(maxsize=256)
def _epsilon_of(uses: tuple[tuple[float, float, int], ...], delta: float) -> float:
    bound = renyi_epsilon(uses, delta)
    if bound == 0 or math.isinf(bound):
        return bound
    reach = renyi_reach(uses, TAIL * delta)
    found = min(bound, epsilon_of_losses(uses, delta, bound, reach))
    if found < bound / 2:  # a finer grid pays
        found = min(found, epsilon_of_losses(uses, delta, found, reach))
    return found


def noise_for(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """The least noise, to 0.1 %, with which so many steps stay within epsilon.

    Raises:
        ConfigError: epsilon is so small, or the steps are so many, that no noise up to 10,000 does.
    """
    if steps == 0:  # they spend nothing, without any
        return 0.0
    low, high = 0.0, 1.0
    while renyi_epsilon([(high, rate, steps)], delta) > epsilon:
        low, high = high, 2 * high
        if high > 10_000:
            raise ConfigError(
                f"no noise keeps {steps:,} steps within an epsilon of {epsilon:g} at a delta of {delta:g}.",
                fix="allow a larger epsilon, or train fewer steps.",
            )
    high = _least(renyi_epsilon, epsilon, rate, steps, delta, low, high)
    low = high / 2  # the other bound takes longer, and asks for less
    while epsilon_of([(low, rate, steps)], delta) <= epsilon:
        low, high = low / 2, low
    return _least(epsilon_of, epsilon, rate, steps, delta, low, high)


def _least(
    bound: Callable[[Uses, float], float],
    epsilon: float,
    rate: float,
    steps: int,
    delta: float,
    low: float,
    high: float,
) -> float:
    """The least noise between two by a bound of epsilon, of which the larger is enough."""
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if bound([(middle, rate, steps)], delta) > epsilon:
            low = middle
        else:
            high = middle
    return high
