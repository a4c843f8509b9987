"""Errors and R2 against scikit-learn and NumPy in float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bigmodel_core.errors import DataError, DtypeError, ShapeError
from bigmodel_metrics import R2, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError

ALL = [MeanAbsoluteError(), MeanSquaredError(), RootMeanSquaredError(), R2()]

pairs = st.tuples(st.integers(2, 20), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float32, shape, elements=st.floats(-100, 100, width=16))] * 2)
)


@given(pairs)
def test_errors_are_those_of_exact_arithmetic(pair):
    prediction, target = pair
    differences = [Fraction(float(p)) - Fraction(float(t)) for p, t in zip(*map(np.ravel, pair), strict=True)]
    squared = float(sum(d * d for d in differences) / len(differences))
    absolute = float(sum(map(abs, differences)) / len(differences))
    assert MeanAbsoluteError()(prediction, target) == pytest.approx(absolute, rel=1e-12)
    assert MeanSquaredError()(prediction, target) == pytest.approx(squared, rel=1e-12)
    assert RootMeanSquaredError()(prediction, target) == pytest.approx(squared**0.5, rel=1e-12)


@given(pairs)
def test_r2_is_that_of_scikit_learn(pair):
    reference = pytest.importorskip("sklearn.metrics")
    prediction, target = (side.astype(np.float64) for side in pair)
    assert R2()(prediction, target) == pytest.approx(
        reference.r2_score(target, prediction), rel=1e-9, abs=1e-9
    )


def test_r2_of_published_numbers():
    # The example of scikit-learn's documentation of r2_score: 0.948...
    value = R2()(np.array([2.5, 0.0, 2, 8]), np.array([3, -0.5, 2, 7]))
    assert value == pytest.approx(1 - 1.5 / 29.1875, rel=1e-14)


def test_predicting_the_mean_has_r2_zero():
    target = np.array([[1.0], [2.0], [6.0]])
    assert R2()(np.full((3, 1), 3.0), target) == pytest.approx(0.0, abs=1e-15)


def test_equal_targets_score_one_when_met_and_zero_when_not():
    target = np.full((3, 1), 0.1)
    assert R2()(target, target) == 1.0
    assert R2()(target + 0.01, target) == 0.0


def test_a_large_mean_costs_r2_no_precision():
    target = 1e9 + np.array([[0.0], [1.0], [2.0], [3.0]])
    prediction = target + np.array([[0.5], [-0.5], [0.5], [-0.5]])
    metric = R2()
    state = metric.empty()
    for row in range(4):
        state = metric.update(state, prediction[row : row + 1], target[row : row + 1])
    assert metric.result(state) == pytest.approx(0.8, rel=1e-9)


def test_vectors_and_columns_have_the_same_value():
    prediction, target = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 5.0])
    for metric in ALL:
        assert metric(prediction, target) == metric(prediction[:, np.newaxis], target[:, np.newaxis])


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    "shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1), (4, 2)), ((4,), (3,)), ((4,), ())]
)
def test_shapes_that_would_broadcast_are_refused(metric, shapes):
    with pytest.raises(ShapeError, match=type(metric).__name__):
        metric(*map(np.zeros, shapes))


@pytest.mark.parametrize("metric", ALL)
def test_words_are_refused(metric):
    with pytest.raises(DtypeError):
        metric(np.array(["a", "b"]), np.array(["a", "b"]))


@pytest.mark.parametrize("metric", ALL)
def test_no_sample_has_no_value(metric):
    with pytest.raises(DataError):
        metric.result(metric.empty())
    with pytest.raises(DataError):
        metric(np.zeros((0, 1)), np.zeros((0, 1)))


def test_r2_of_one_sample_is_not_defined():
    with pytest.raises(DataError, match="at least 2"):
        R2()(np.zeros(1), np.zeros(1))


@pytest.mark.parametrize("metric", ALL)
def test_nan_is_passed_on(metric):
    assert np.isnan(metric(np.array([1.0, np.nan]), np.array([1.0, 2.0])))


def test_integers_do_not_overflow():
    prediction, target = np.array([0, 0], np.uint8), np.array([255, 255], np.uint8)
    assert MeanAbsoluteError()(prediction, target) == 255
    assert MeanSquaredError()(prediction, target) == 255**2
