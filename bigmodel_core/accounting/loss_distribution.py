"""Epsilon of the subsampled Gaussian mechanism by the distribution of the privacy loss, composed with Fourier
transforms (Koskela et al., 2020; Gopi, Lee and Wutschitz, 2021): less above the truth than Rényi divergences
are.

The loss of an outcome is the logarithm of how much more probable it is with a record than without. Over many
uses losses add up. Their distribution in one use is put on a grid, with the same mean; by theorem 5.5 of Gopi
et al. the sum is then, but for a probability that is taken off delta, no further than `_ERROR` of epsilon
from what is computed, and that is added to it.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from bigmodel_core.accounting.gaussian import Uses

_ERROR = 0.005
"""How far the result may be above the truth, as a share of it."""
TAIL = 1e-3
"""The share of delta that is spent on what the grid leaves out."""
_MOST = 2**22
"""Points of a grid, at most; finer ones would take seconds."""


def epsilon_of_losses(uses: Uses, delta: float, bound: float, reach: float) -> float:
    """An upper bound of epsilon of several uses together; infinity where the grid would be too large.

    Args:
        uses: of each the noise, the rate above 0, and how often.
        delta: the probability with which the bound may fail.
        bound: a bound of epsilon, which says how fine the grid is to be.
        reach: what the sum of losses exceeds with a probability of a thousandth of delta at most.
    """
    count, error = sum(times for *_, times in uses), _ERROR * max(bound, 0.1)
    spare = TAIL * delta
    step = error / math.sqrt(count / 2 * math.log(12 / spare))
    half = math.ceil(1.1 * reach / step) + 2
    size = 1 << (2 * half - 1).bit_length()
    if size > _MOST:
        return math.inf
    found = (_composed(uses, size, step, is_removed) for is_removed in (True, False))
    return max(_epsilon(*composed, delta - 2 * spare) for composed in found) + error


def _composed(uses: Uses, size: int, step: float, is_removed: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """The sums of losses, their probabilities, and the probability that one is beyond the grid."""
    product = np.ones(size // 2 + 1, complex)
    shift, beyond = 0.0, 0.0
    for noise, rate, times in uses:
        chances, mean, outside = _single(noise, rate, size, step, is_removed)
        places = (np.arange(size) - size // 2) * step
        shift += times * (mean - float(chances @ places))
        beyond += times * outside
        product *= _power(np.fft.rfft(np.fft.ifftshift(chances)), times)
    chances = np.maximum(np.fft.fftshift(np.fft.irfft(product, size)), 0.0)
    return (np.arange(size) - size // 2) * step + shift, chances, beyond


def _power(values: np.ndarray, times: int) -> np.ndarray:
    """Each of some numbers to a power, by squaring, which is faster than NumPy's of complex numbers."""
    found = np.ones_like(values)
    while times:
        if times % 2:
            found = found * values
        values, times = values * values, times // 2
    return found


def _single(
    noise: float, rate: float, size: int, step: float, is_removed: bool
) -> tuple[np.ndarray, float, float]:
    """The loss of one use on the grid: probabilities, the exact mean within the grid, and what is beyond it.

    Args:
        noise, rate: of the use.
        size, step: of the grid, whose middle is a loss of 0.
        is_removed: whether outcomes are those with the record, else those without it.
    """
    edges = (np.arange(size + 1) - size // 2 - 0.5) * step
    below = _chance_below(edges, noise, rate, is_removed)
    chances = np.diff(below)
    inside = float(below[-1] - below[0])
    if inside <= 0:  # of hardly any noise the losses are larger than numbers here can be
        return np.zeros(size), 0.0, 1.0
    chances = np.maximum(chances, 0.0) / inside
    z = np.linspace(-40 * noise, 40 * noise + 1, 40_001)
    plain, moved = (np.exp(-0.5 * ((z - at) / noise) ** 2) for at in (0.0, 1.0))
    density = (1 - rate) * plain + rate * moved if is_removed else plain
    losses = np.logaddexp(_log(1 - rate), math.log(rate) + (2 * z - 1) / (2 * noise * noise))
    losses = losses if is_removed else -losses
    kept = np.where((losses > edges[0]) & (losses <= edges[-1]), density, 0.0)
    return chances, float((kept @ losses) / kept.sum()), 1.0 - inside


def _chance_below(losses: np.ndarray, noise: float, rate: float, is_removed: bool) -> np.ndarray:
    """The probability that the loss of one use is no larger than each of some numbers, in ascending order."""
    signed = losses if is_removed else -losses
    above_least = np.exp(np.minimum(signed, 700.0)) - (1 - rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = noise * noise * np.log(np.where(above_least > 0, above_least, 0.0) / rate) + 0.5
    if is_removed:
        return (1 - rate) * _normal(z / noise) + rate * _normal((z - 1) / noise)
    return _normal(-z / noise)


def _normal(x: np.ndarray) -> np.ndarray:
    """The probability that a standard normal number is no larger than each of some, to 1e-14: between points
    that are exact, by the cubic with the exact slopes."""
    place = (np.clip(x, -_EDGE, _EDGE) + _EDGE) * _A_UNIT
    left = np.minimum(place.astype(np.int64), 2 * _EDGE * _A_UNIT - 1)
    value, slope = _points()
    t = place - left
    rest = 1.0 - t
    return np.asarray(
        value[left] * rest * rest * (1 + 2 * t)
        + value[left + 1] * t * t * (1 + 2 * rest)
        + (slope[left] * rest - slope[left + 1] * t) * t * rest
    )


_EDGE, _A_UNIT = 9, 1024
"""How far from 0 the points reach, and how many there are in each unit."""


@functools.cache
def _points() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities at the points, and their slopes from point to point."""
    x = np.arange(-_EDGE * _A_UNIT, _EDGE * _A_UNIT + 1) / _A_UNIT
    chances = np.array([0.5 * math.erfc(-value) for value in (x / math.sqrt(2)).tolist()])
    return chances, np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) / _A_UNIT


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def _epsilon(losses: np.ndarray, chances: np.ndarray, beyond: float, delta: float) -> float:
    """The least epsilon of 0 or more with sum(max(0, 1 - exp(epsilon - loss))) no larger than delta."""
    delta -= beyond
    if delta <= 0:
        return math.inf
    # From the largest loss down: how probable losses from here on are, and the same times exp(-loss).
    more = np.cumsum(chances[::-1])[::-1]
    less = np.cumsum((chances * np.exp(-np.maximum(losses, -700.0)))[::-1])[::-1]
    first = int(np.searchsorted(losses, 0.0))
    at = more[first:] - np.exp(np.minimum(losses[first:], 700.0)) * less[first:]
    enough = np.flatnonzero(at <= delta)
    if not len(enough):
        return math.inf
    number = first + int(enough[0])
    if more[number] <= delta or number == first:
        found = float(losses[number])
        return max(0.0, found) if number > first else _between(more[number], less[number], delta)
    return min(float(losses[number]), _between(more[number], less[number], delta))


def _between(more: float, less: float, delta: float) -> float:
    """The epsilon at which more - exp(epsilon) * less is delta; at least 0."""
    return max(0.0, math.log((more - delta) / less)) if more > delta else 0.0
