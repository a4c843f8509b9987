"""Epsilon against numeric integration, exact values, a published one and Opacus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bigmodel_core.accounting.epsilon import epsilon_of, noise_for
from bigmodel_core.accounting.gaussian import divergence, renyi_epsilon
from bigmodel_core.errors import ConfigError


def integrated(noise: float, rate: float, order: int) -> float:
    """The Rényi divergence of the mixture from the plain Gaussian, by the trapezoidal rule."""
    x = np.linspace(-40 * noise, 40 * noise + order, 40_001)
    plain = -0.5 * (x / noise) ** 2
    mixed = np.logaddexp(math.log1p(-rate) + plain, math.log(rate) - 0.5 * ((x - 1) / noise) ** 2)
    terms = order * mixed + (1 - order) * plain
    largest = terms.max()
    total = np.trapezoid(np.exp(terms - largest), x) / (noise * math.sqrt(2 * math.pi))
    return float(largest + math.log(total)) / (order - 1)


@pytest.mark.parametrize("order", [2, 5, 11, 32])
@pytest.mark.parametrize(("noise", "rate"), [(1.1, 0.004), (0.7, 0.05), (4.0, 0.01), (2.0, 0.5)])
def test_divergences_are_those_of_numeric_integration(noise: float, rate: float, order: int) -> None:
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
def test_without_sampling_epsilon_is_the_exact_one_to_one_percent(noise: float, steps: int) -> None:
    found = epsilon_of([(noise, 1.0, steps)], 1e-5)
    assert delta_of_gaussians(noise, steps, found) < 1e-5 < delta_of_gaussians(noise, steps, 0.99 * found)
    assert found < renyi_epsilon([(noise, 1.0, steps)], 1e-5)


@pytest.mark.parametrize(("noise", "rate"), [(1.0, 0.01), (0.6, 0.2), (2.5, 0.5)])
def test_epsilon_of_one_step_is_the_exact_one(noise: float, rate: float) -> None:
    found = epsilon_of([(noise, rate, 1)], 1e-5)
    x = np.linspace(-40 * noise, 40 * noise + 1, 400_001)
    plain, moved = (
        np.exp(-0.5 * ((x - at) / noise) ** 2) / (noise * math.sqrt(2 * math.pi)) for at in (0, 1)
    )
    mixed = (1 - rate) * plain + rate * moved

    def delta(epsilon: float) -> float:
        pairs = ((mixed, plain), (plain, mixed))
        return max(float(np.trapezoid(np.maximum(p - math.exp(epsilon) * q, 0), x)) for p, q in pairs)

    assert delta(found) <= 1e-5 < delta(0.98 * found)


def test_hardly_any_noise_has_the_bound_of_renyi() -> None:
    for uses in ([(1e-3, 1.0, 1)], [(1e-3, 0.5, 20)]):
        assert epsilon_of(uses, 1e-5) == renyi_epsilon(uses, 1e-5)


def test_epsilon_is_at_most_that_of_the_moments_accountant() -> None:
    # Abadi et al. (2016), section 3: rate 0.01, noise 4, 10,000 steps, delta 1e-5 give 1.26.
    assert 0.9 < epsilon_of([(4.0, 0.01, 10_000)], 1e-5) < 1.26


def test_uses_add_up_and_those_of_another_noise_count_too() -> None:
    whole = epsilon_of([(1.1, 0.01, 700)], 1e-5)
    assert epsilon_of([(1.1, 0.01, 300), (1.1, 0.01, 400)], 1e-5) == pytest.approx(whole, rel=1e-9)
    assert epsilon_of([(1.1, 0.01, 300), (0.8, 0.01, 400)], 1e-5) > whole
    assert epsilon_of([], 1e-5) == 0.0


@pytest.mark.parametrize("epsilon", [3.0])
def test_the_noise_for_an_epsilon_spends_just_less(epsilon: float) -> None:
    noise = noise_for(epsilon, 0.01, 200, 1e-5)
    assert epsilon_of([(noise, 0.01, 200)], 1e-5) <= epsilon < epsilon_of([(noise * 0.99, 0.01, 200)], 1e-5)
    assert noise_for(epsilon, 0.01, 0, 1e-5) == 0.0  # no step spends nothing


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
    uses = [(noise, rate, steps)]
    tight, renyi = accountants.PRVAccountant(), accountants.RDPAccountant()
    tight.history = renyi.history = uses
    assert epsilon_of(uses, 1e-5) == pytest.approx(tight.get_epsilon(1e-5, eps_error=1e-3), rel=0.01)
    orders = list(range(2, 65))
    assert renyi_epsilon(uses, 1e-5) == pytest.approx(renyi.get_epsilon(1e-5, alphas=orders), rel=1e-6)
