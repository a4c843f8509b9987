"""Epsilon against numeric integration, closed forms, published values and Opacus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bigmodel_core.accounting.gaussian import divergence, epsilon_of, noise_for
from bigmodel_core.errors import ConfigError


def integrated(noise: float, rate: float, order: float) -> float:
    """The Rényi divergence of the mixture from the plain Gaussian, by the trapezoidal rule."""
    x = np.linspace(-40 * noise, 40 * noise + order, 40_001)
    plain = -0.5 * (x / noise) ** 2
    mixed = np.logaddexp(math.log1p(-rate) + plain, math.log(rate) - 0.5 * ((x - 1) / noise) ** 2)
    terms = order * mixed + (1 - order) * plain
    largest = terms.max()
    total = np.trapezoid(np.exp(terms - largest), x) / (noise * math.sqrt(2 * math.pi))
    return float(largest + math.log(total)) / (order - 1)


@pytest.mark.parametrize("order", [1.1, 1.5, 2, 4.7, 10.9, 32])
@pytest.mark.parametrize(("noise", "rate"), [(1.1, 0.004), (0.7, 0.05), (4.0, 0.01), (2.0, 0.5)])
def test_divergences_are_those_of_numeric_integration(noise: float, rate: float, order: float) -> None:
    assert divergence(noise, rate, order) == pytest.approx(
        integrated(noise, rate, order), rel=1e-6, abs=1e-12
    )


def delta_of_gaussians(noise: float, steps: int, epsilon: float) -> float:
    """The exact delta of the Gaussian mechanism without sampling (Balle and Wang, 2018)."""
    mu = math.sqrt(steps) / noise

    def phi(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    return phi(mu / 2 - epsilon / mu) - math.exp(epsilon) * phi(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (3.0, 10), (20.0, 100)])
def test_without_sampling_epsilon_is_above_the_exact_one_and_near_it(noise: float, steps: int) -> None:
    found = epsilon_of([(noise, 1.0, steps)], 1e-5)
    assert delta_of_gaussians(noise, steps, found) < 1e-5 < delta_of_gaussians(noise, steps, 0.85 * found)


def test_epsilon_is_at_most_that_of_the_moments_accountant() -> None:
    # Abadi et al. (2016), section 3: rate 0.01, noise 4, 10,000 steps, delta 1e-5 give 1.26.
    assert 0.9 < epsilon_of([(4.0, 0.01, 10_000)], 1e-5) < 1.26


def test_uses_add_up_and_those_of_another_noise_count_too() -> None:
    whole = epsilon_of([(1.1, 0.01, 700)], 1e-5)
    assert epsilon_of([(1.1, 0.01, 300), (1.1, 0.01, 400)], 1e-5) == pytest.approx(whole, rel=1e-12)
    assert epsilon_of([(1.1, 0.01, 300), (0.8, 0.01, 400)], 1e-5) > whole
    assert epsilon_of([], 1e-5) == 0.0


@pytest.mark.parametrize("epsilon", [0.3, 3.0, 12.0])
def test_the_noise_for_an_epsilon_spends_just_less(epsilon: float) -> None:
    noise = noise_for(epsilon, 0.01, 1000, 1e-5)
    assert epsilon_of([(noise, 0.01, 1000)], 1e-5) <= epsilon < epsilon_of([(noise * 0.99, 0.01, 1000)], 1e-5)


def test_an_epsilon_that_no_noise_keeps_to_and_a_delta_that_is_none_are_errors() -> None:
    with pytest.raises(ConfigError, match="no noise keeps"):
        noise_for(1e-5, 1.0, 10**6, 1e-9)
    with pytest.raises(ConfigError, match="delta is 1"):
        epsilon_of([(1.0, 0.1, 10)], 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("noise", "rate", "steps"), [(1.1, 256 / 60000, 14_100), (0.7, 0.01, 500), (2.0, 0.1, 300)]
)
def test_epsilon_is_within_one_percent_of_opacus(torch: Any, noise: float, rate: float, steps: int) -> None:
    accountants = pytest.importorskip("opacus.accountants", reason="Opacus is not installed")
    theirs = accountants.RDPAccountant()
    theirs.history = [(noise, rate, steps)]
    assert epsilon_of([(noise, rate, steps)], 1e-5) == pytest.approx(theirs.get_epsilon(1e-5), rel=0.01)
