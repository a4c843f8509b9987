"""Rates by group: numbers counted by hand, and fairlearn's."""

from __future__ import annotations

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError

TRUE = ["yes", "yes", "no", "no", "yes", "no", "no", "no"]
GIVEN = ["yes", "no", "yes", "no", "yes", "yes", "yes", "no"]
GROUP = ["a", "a", "a", "a", "b", "b", "b", "b"]


def test_rates_are_those_counted_by_hand() -> None:
    found = bm.fairness.report(TRUE, GIVEN, GROUP, "yes")
    first, second = found.groups
    assert (first.favourable, first.selection, first.accuracy) == (0.5, 0.5, 0.5)
    assert (first.true_positive, first.false_positive) == (0.5, 0.5)
    assert (second.favourable, second.selection, second.accuracy) == (0.25, 0.75, 0.5)
    assert (second.true_positive, second.false_positive) == (1.0, pytest.approx(2 / 3))
    assert found.demographic_parity_difference == 0.25
    assert found.demographic_parity_ratio == pytest.approx(2 / 3)
    assert found.equal_opportunity_difference == found.equalised_odds_difference == 0.5
    assert found.equalised_odds_ratio == 0.5
    assert found.overall.selection == 0.625 and found.overall.samples == 8


def test_calibration_is_the_distance_of_probability_and_share_by_range() -> None:
    chances = [0.95, 0.95, 0.05, 0.05, 0.62, 0.68, 0.65, 0.65]
    first, second = bm.fairness.report(TRUE, GIVEN, GROUP, "yes", chances).groups
    assert first.calibration == pytest.approx(0.05) and first.probability == pytest.approx(0.5)
    assert second.calibration == pytest.approx(0.4) and second.probability == pytest.approx(0.65)


def test_rates_that_nothing_is_known_of_are_none_and_do_not_count() -> None:
    found = bm.fairness.report([1, 0, 1, 0, 0], [1, 0, 0, 0, 1], ["a", "a", "b", "b", "c"])
    by_name = {group.name: group for group in found.groups}
    assert by_name["c"].true_positive is None and by_name["c"].false_positive == 1.0
    assert found.equal_opportunity_difference == 1.0  # of a and b


def test_small_groups_are_flagged() -> None:
    groups = np.repeat(["many", "few"], [30, 29])
    ones = np.ones(59, int)
    assert [(g.name, g.is_small) for g in bm.fairness.report(ones, ones, groups).groups] == [
        ("many", False),
        ("few", True),
    ]


def test_one_group_alone_and_arrays_of_unequal_length_are_errors() -> None:
    with pytest.raises(DataError, match="there is one group"):
        bm.fairness.report([1, 0], [1, 0], ["a", "a"])
    with pytest.raises(DataError, match=r"\(2,\), \(2,\), \(3,\)"):
        bm.fairness.report([1, 0], [1, 0], ["a", "a", "b"])


def test_what_would_look_fair_since_nothing_is_compared_is_an_error() -> None:
    with pytest.raises(DataError, match="class 1, and none is given it: the first true class is 'yes'"):
        bm.fairness.report(TRUE, GIVEN, GROUP)
    with pytest.raises(DataError, match="here and words there: the first true class is 1, .* '1'"):
        bm.fairness.report([1, 0, 1, 0], ["1", "0", "1", "0"], GROUP[2:6])
    for wrong in (np.nan, 1.5, -0.1):
        with pytest.raises(DataError, match="a probability is not between 0 and 1"):
            bm.fairness.report([1, 0, 1, 0], [1, 0, 1, 0], GROUP[2:6], probability=[0.5, 0.2, 0.1, wrong])


def test_groups_may_be_named_by_anything() -> None:
    for kind in ("S1", "U1", object):
        found = bm.fairness.report(TRUE, GIVEN, np.array(GROUP, kind), "yes").groups
        assert [(group.name, group.selection) for group in found] == [("a", 0.5), ("b", 0.75)]


def test_numbers_are_fairlearns() -> None:
    theirs = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed")
    random = np.random.default_rng(0)
    true, groups = random.integers(0, 3, 500), random.integers(0, 4, 500)
    predicted = np.where(random.random(500) < 0.5 + 0.1 * groups, true, random.integers(0, 3, 500))
    found = bm.fairness.report(true, predicted, groups, favourable=2)
    given = {"y_true": true == 2, "y_pred": predicted == 2, "sensitive_features": groups}
    for name, function in {
        "demographic_parity_difference": theirs.demographic_parity_difference,
        "demographic_parity_ratio": theirs.demographic_parity_ratio,
        "equalised_odds_difference": theirs.equalized_odds_difference,
        "equalised_odds_ratio": theirs.equalized_odds_ratio,
        "equal_opportunity_difference": theirs.equal_opportunity_difference,
    }.items():
        assert getattr(found, name) == pytest.approx(function(**given), abs=1e-6), name
    rates = {"selection": theirs.selection_rate, "true_positive": theirs.true_positive_rate}
    rates["false_positive"] = theirs.false_positive_rate
    frame = theirs.MetricFrame(metrics=rates, **given).by_group
    for group in found.groups:
        for name in rates:
            assert getattr(group, name) == pytest.approx(frame.loc[int(group.name), name], abs=1e-6)
