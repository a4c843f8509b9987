"""The layer keeps every promise of the conformance kit; its splines are those of the definition."""

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.testing import compute, parametrize_checks
from bigmodel_kan import KAN, splines


def spline(x, number, degree, knots):
    """One B-spline by the definition of Cox and de Boor, number by number."""
    if degree == 0:
        return ((x >= knots[number]) & (x < knots[number + 1])).astype("float64")
    rising = (x - knots[number]) / (knots[number + degree] - knots[number])
    falling = (knots[number + degree + 1] - x) / (knots[number + degree + 1] - knots[number + 1])
    return rising * spline(x, number, degree - 1, knots) + falling * spline(x, number + 1, degree - 1, knots)


def all_splines(x, grid=5, degree=3, low=-2.0, high=2.0):
    knots = low + (high - low) / grid * np.arange(-degree, grid + degree + 1)
    return np.stack([spline(x, number, degree, knots) for number in range(grid + degree)], -1)


def reference(x, state):
    curves = all_splines(x).reshape(*x.shape[:-1], -1)
    return x / (1 + np.exp(-x)) @ state["base"] + curves @ state["weight"]


@parametrize_checks(KAN(3), inputs=[(4, 7)], reference=reference)
def test_conformance(check):
    check()


@pytest.mark.parametrize(("grid", "degree"), [(1, 0), (4, 1), (5, 3), (3, 4)])
def test_splines(grid, degree):
    x = np.random.default_rng(0).uniform(-3, 3, (5, 20))
    found = compute(lambda x: splines(x, grid, degree, -1.0, 2.0), x)
    np.testing.assert_allclose(found, all_splines(x, grid, degree, -1.0, 2.0), atol=1e-12)
    np.testing.assert_allclose(found.sum(-1)[(x >= -1) & (x < 2)], 1, atol=1e-12)


def test_wrong_fields_and_inputs_are_named():
    with pytest.raises(bm.errors.ConfigError, match="high"):
        KAN(3, low=1.0, high=0.0)
    with pytest.raises(bm.errors.ShapeError, match="expected floats"):
        KAN(3).build(bm.Spec(("N", 4), "int64"))
