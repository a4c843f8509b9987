"""Accuracy, top-k, confusion matrix, precision, recall and F1 against scikit-learn and hand-made counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel_core.errors import ConfigError, DataError, DtypeError, NumericsError, ShapeError
from bigmodel_metrics import F1, Accuracy, ConfusionMatrix, Precision, Recall, TopKAccuracy

ALL = [Accuracy(), TopKAccuracy(1), ConfusionMatrix(), Precision(), Recall(), F1()]

# Twelve samples of three classes, counted by hand: rows true, columns predicted.
COUNTS = np.array([[3, 1, 0], [1, 2, 2], [0, 0, 3]])
TRUE, PREDICTED = (np.repeat(side.ravel(), COUNTS.ravel()) for side in np.indices((3, 3)))


@st.composite
def logits_and_labels(draw, least: int = 1):
    n, classes = draw(st.integers(least, 40)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    # Few different values, so that ties are common.
    logits = rng.integers(-3, 4, (n, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, n)


def test_counts_made_by_hand():
    assert ConfusionMatrix()(PREDICTED, TRUE).tolist() == COUNTS.tolist()
    assert Accuracy()(PREDICTED, TRUE) == 8 / 12


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Precision("macro"), (3 / 4 + 2 / 3 + 3 / 5) / 3),
        (Recall("macro"), (3 / 4 + 2 / 5 + 3 / 3) / 3),
        (F1("macro"), (6 / 8 + 4 / 8 + 6 / 8) / 3),
        (Precision("weighted"), (4 * 3 / 4 + 5 * 2 / 3 + 3 * 3 / 5) / 12),
        (Recall("weighted"), 8 / 12),
        (F1("weighted"), (4 * 6 / 8 + 5 * 4 / 8 + 3 * 6 / 8) / 12),
        (Precision("micro"), 8 / 12),
        (Recall("micro"), 8 / 12),
        (F1("micro"), 8 / 12),
    ],
)
def test_averages_made_by_hand(metric, expected):
    assert metric(PREDICTED, TRUE) == pytest.approx(expected, rel=1e-15)


@given(logits_and_labels())
def test_accuracy_counts_the_first_largest_logit(pair):
    logits, labels = pair
    hits = [row.index(max(row)) == label for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert Accuracy()(logits, labels) == sum(hits) / len(hits)


@given(logits_and_labels(), st.integers(1, 2))
def test_top_k_looks_among_the_k_largest(pair, k):
    logits, labels = pair
    hits = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        ranking = sorted(range(len(row)), key=lambda c, row=row: (-row[c], c))
        hits.append(label in ranking[:k])
    assert TopKAccuracy(k)(logits, labels) == sum(hits) / len(hits)


@given(logits_and_labels())
def test_top_1_is_accuracy_and_top_all_is_certain(pair):
    logits, labels = pair
    assert TopKAccuracy(1)(logits, labels) == Accuracy()(logits, labels)
    assert TopKAccuracy(logits.shape[1])(logits, labels) == 1.0


@pytest.mark.parametrize("metric", [Precision, Recall, F1])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@given(logits_and_labels())
def test_averages_are_those_of_scikit_learn(metric, average, pair):
    reference = pytest.importorskip("sklearn.metrics")
    function = {Precision: reference.precision_score, Recall: reference.recall_score, F1: reference.f1_score}[
        metric
    ]
    logits, labels = pair
    expected = function(labels, logits.argmax(1), average=average, zero_division=0)
    assert metric(average)(logits, labels) == pytest.approx(expected, abs=1e-12)


@given(logits_and_labels())
def test_scores_of_each_class_are_those_of_scikit_learn(pair):
    reference = pytest.importorskip("sklearn.metrics")
    logits, labels = pair
    found = [metric("none")(logits, labels) for metric in (Precision, Recall, F1)]
    expected = reference.precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(logits.shape[1]), zero_division=0
    )
    np.testing.assert_allclose(found, expected[:3], atol=1e-12)


@pytest.mark.parametrize("metric", [Precision, Recall, F1])
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 1)), min_size=1, max_size=30))
def test_binary_scores_are_those_of_scikit_learn(metric, pairs):
    reference = pytest.importorskip("sklearn.metrics")
    function = {Precision: reference.precision_score, Recall: reference.recall_score, F1: reference.f1_score}[
        metric
    ]
    logits, labels = (np.array(side) for side in zip(*pairs, strict=True))
    expected = function(labels, logits > 0, average="binary", zero_division=0)
    assert metric("binary")(logits[:, np.newaxis].astype(np.float32), labels) == pytest.approx(
        expected, abs=1e-12
    )


@given(logits_and_labels())
def test_confusion_matrix_is_that_of_scikit_learn(pair):
    reference = pytest.importorskip("sklearn.metrics")
    logits, labels = pair
    expected = reference.confusion_matrix(labels, logits.argmax(1), labels=range(logits.shape[1]))
    assert np.array_equal(ConfusionMatrix()(logits, labels), expected)


def test_binary_logits_are_cut_at_zero():
    logits = np.array([[-1.0], [0.0], [1e-30], [5.0]])
    assert ConfusionMatrix()(logits, np.array([0, 0, 1, 0])).tolist() == [[2, 1], [0, 1]]
    assert Accuracy()(logits, np.array([0, 0, 1, 0])) == 0.75


def test_further_axes_count_as_samples():
    logits = np.random.default_rng(0).normal(size=(4, 5, 3))
    labels = np.random.default_rng(1).integers(0, 3, (4, 5))
    for metric in ALL:
        assert np.array_equal(metric(logits, labels), metric(logits.reshape(20, 3), labels.ravel()))


def test_infinite_logits_are_ordered():
    assert Accuracy()(np.array([[-np.inf, np.inf]]), np.array([1])) == 1.0


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        (np.zeros((4, 3)), np.zeros((4, 1), int)),
        (np.zeros((4, 2)), np.zeros((4, 2), int)),
        (np.zeros((4, 3)), np.zeros(3, int)),
        (np.zeros(4), np.zeros(3, int)),
        (np.zeros((4, 0)), np.zeros(4, int)),
        (np.float64(1.0), np.zeros(4, int)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(metric, prediction, target):
    with pytest.raises(ShapeError, match=type(metric).__name__):
        metric(prediction, target)


@pytest.mark.parametrize("metric", [Accuracy(), ConfusionMatrix(), F1()])
def test_a_column_of_labels_against_a_vector_is_refused(metric):
    with pytest.raises(ShapeError, match="expected one shape"):
        metric(np.zeros((4, 1), int), np.zeros(4, int))


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(("label", "classes"), [(3, 3), (-1, 3), (2, 2)])
def test_labels_out_of_range_are_refused(metric, label, classes):
    with pytest.raises(DataError, match=f"sample 1 has label {label}, expected 0 to {classes - 1}"):
        metric(np.zeros((2, classes)), np.array([0, label]))


def test_negative_predicted_labels_are_refused():
    with pytest.raises(DataError, match="predicted label -1"):
        Accuracy()(np.array([0, -1]), np.array([0, 1]))


@pytest.mark.parametrize("metric", ALL)
def test_labels_that_are_not_integers_are_refused(metric):
    with pytest.raises(DtypeError, match="integer labels"):
        metric(np.zeros((2, 3)), np.array([0.0, 1.0]))


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_prediction_that_is_nan_is_refused(metric, classes):
    logits = np.zeros((4, classes))
    logits[2, -1] = np.nan
    with pytest.raises(NumericsError, match="sample 2"):
        metric(logits, np.zeros(4, int))


@pytest.mark.parametrize("metric", ALL)
def test_no_sample_has_no_value(metric):
    with pytest.raises(DataError, match="no sample"):
        metric.result(metric.empty())
    with pytest.raises(DataError, match="no sample"):
        metric(np.zeros((0, 3)), np.zeros(0, int))


def test_options_without_sense_are_refused():
    with pytest.raises(ConfigError, match="macro, micro, weighted, binary"):
        F1("mean")
    with pytest.raises(ConfigError, match="at least 1"):
        TopKAccuracy(0)
    with pytest.raises(ConfigError, match="5, but there are 3 classes"):
        TopKAccuracy(5)(np.zeros((2, 3)), np.zeros(2, int))
    with pytest.raises(ConfigError, match="3 classes"):
        F1("binary")(np.zeros((2, 3)), np.zeros(2, int))


def test_scores_that_divide_by_zero_are_zero_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Precision("binary")(np.array([0, 0]), np.array([1, 0])) == 0.0
        assert Recall("binary")(np.array([1, 0]), np.array([0, 0])) == 0.0
        assert F1("binary")(np.array([0, 0]), np.array([0, 0])) == 0.0
