"""Epsilon of the subsampled Gaussian mechanism, by Rényi differential privacy (Mironov, 2017).

One use takes a Poisson sample of the records, each with the same probability, and adds Gaussian noise to a
sum to which each record gives a vector of norm 1 at most. Two sets are neighbours if one has one record more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

from bigmodel_core.errors import ConfigError

ORDERS: tuple[float, ...] = (
    *(1 + number / 10 for number in range(1, 20)),
    *(3 + number / 4 for number in range(32)),
    *range(11, 65),
    *(80, 96, 128, 192, 256, 512, 1024),
)
"""The Rényi orders of which the one with the lowest bound counts."""
_LEAST = -745.0
"""Logarithms below are those of 0."""


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


@functools.cache
def divergence(noise: float, rate: float, order: float) -> float:
    """The Rényi divergence of one use, of some order above 1 (Mironov, Talwar and Zhang, 2019, section 3.3).

    Args:
        noise: the standard deviation of the noise, in units of the largest norm.
        rate: the probability with which a record is in a sample.
        order: of the divergence.
    """
    if rate == 0:
        return 0.0
    if noise == 0:
        return math.inf
    if rate == 1:
        return order / (2 * noise * noise)
    moment = _whole_moment if order == int(order) else _broken_moment
    return moment(noise, rate, order) / (order - 1)


def _whole_moment(noise: float, rate: float, order: float) -> float:
    whole = int(order)
    return _log_sum(
        _log_choose(whole, k)
        + k * math.log(rate)
        + (whole - k) * math.log1p(-rate)
        + k * (k - 1) / (2 * noise * noise)
        for k in range(whole + 1)
    )


def _broken_moment(noise: float, rate: float, order: float) -> float:
    """The sum of two series, which stand for what is left and right of the point where the densities are
    equal."""
    middle = 0.5 + noise * noise * math.log(1 / rate - 1)
    inside, outside = math.log(rate), math.log1p(-rate)
    terms: list[tuple[float, float]] = []
    sign, log_choose, k = 1.0, 0.0, 0
    while True:
        other = order - k
        left = log_choose + k * inside + other * outside + (k * k - k) / (2 * noise * noise)
        left += math.log(0.5) + _log_erfc((k - middle) / (math.sqrt(2) * noise))
        right = log_choose + other * inside + k * outside + (other * other - other) / (2 * noise * noise)
        right += math.log(0.5) + _log_erfc((middle - other) / (math.sqrt(2) * noise))
        terms += [(sign, left), (sign, right)]
        if k > order and max(left, right) < -30:
            break
        factor = (order - k) / (k + 1)
        sign, log_choose, k = sign * math.copysign(1.0, factor), log_choose + math.log(abs(factor)), k + 1
    largest = max(value for _, value in terms)
    return largest + math.log(math.fsum(s * math.exp(max(value - largest, _LEAST)) for s, value in terms))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_sum(logarithms: Iterable[float]) -> float:
    found = list(logarithms)
    largest = max(found)
    return largest + math.log(math.fsum(math.exp(max(value - largest, _LEAST)) for value in found))


def _log_erfc(x: float) -> float:
    """log(erfc(x)); from 25 on by the first terms of its asymptotic series."""
    if x < 25:
        return math.log(math.erfc(x))
    square = x * x
    return -square - math.log(x * math.sqrt(math.pi)) + math.log1p(-0.5 / square + 0.75 / square**2)


def epsilon_of(uses: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Epsilon of several uses together.

    From Rényi divergences by proposition 12 of Canonne, Kamath and Steinke (2020), as Opacus does.

    Args:
        uses: of each the noise, the rate, and how often.
        delta: the probability with which the bound may fail.

    Returns:
        At least 0; infinity where there is no bound.
    """
    check_delta(delta)
    spent = [use for use in uses if use[2] > 0 and use[1] > 0]
    if not spent:
        return 0.0
    best = math.inf
    for order in ORDERS:
        total = sum(count * divergence(noise, rate, order) for noise, rate, count in spent)
        found = total + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, found)
    return max(best, 0.0)


def noise_for(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """The least noise, to 0.1 %, with which so many steps stay within epsilon.

    Raises:
        ConfigError: epsilon is so small, or the steps are so many, that no noise up to 10,000 does.
    """
    low, high = 0.0, 1.0
    while epsilon_of([(high, rate, steps)], delta) > epsilon:
        low, high = high, 2 * high
        if high > 10_000:
            raise ConfigError(
                f"no noise keeps {steps:,} steps within an epsilon of {epsilon:g} at a delta of {delta:g}.",
                fix="allow a larger epsilon, or train fewer steps.",
            )
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if epsilon_of([(middle, rate, steps)], delta) > epsilon:
            low = middle
        else:
            high = middle
    return high
