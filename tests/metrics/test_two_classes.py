"""One logit a sample: every metric of classes takes it, with labels of any type, and AUC ranks it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel_core.errors import DataError, ShapeError
from bigmodel_metrics import AUC, F1, Accuracy, ConfusionMatrix, Precision, Recall

LOGITS = np.array([[0.3], [-2.0], [1.5], [-0.1], [0.0], [2.0]], "float32")
LABELS = np.array([1, 0, 0, 1, 0, 1])
BY_CLASS = [Accuracy(), Precision("binary"), Recall("binary"), F1("binary"), AUC()]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32", "uint64", "bool", "float32", "float64"])
@pytest.mark.parametrize("metric", BY_CLASS, ids=lambda metric: metric.name)
def test_labels_of_every_type_and_shape_count_the_same(metric, dtype):
    sklearn = pytest.importorskip("sklearn.metrics")
    function = {
        "accuracy": sklearn.accuracy_score,
        "precision": sklearn.precision_score,
        "recall": sklearn.recall_score,
        "f1": sklearn.f1_score,
        "auc": sklearn.roc_auc_score,
    }[metric.name]
    scores = LOGITS[:, 0]
    expected = function(LABELS, scores if metric.name == "auc" else scores > 0)
    for logits, labels in itertools.product((LOGITS, scores), (LABELS, LABELS[:, None])):
        assert metric(logits, labels.astype(dtype)) == pytest.approx(expected, abs=1e-15)


def test_a_target_between_the_classes_is_refused():
    for metric in (*BY_CLASS, ConfusionMatrix()):
        with pytest.raises(DataError, match=r"sample 1 has the target 0\.25, expected 0 or 1"):
            metric(LOGITS[:2], np.array([[1.0], [0.25]]))


def test_labels_beyond_int64_are_shown_as_they_are():
    wrong = np.array([1, 2**63 + 1], "uint64")
    for logits in (LOGITS[:2], np.zeros((2, 3), "float32")):
        with pytest.raises(DataError, match="9223372036854775809"):
            Accuracy()(logits, wrong)
    with pytest.raises(DataError, match="9223372036854775809"):
        Accuracy()(np.array([0, 1]), wrong)


# AUC -------------------------------------------------------------------------------------------------------

scored = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@given(scored, st.integers(1, 7))
def test_auc_with_ties_is_that_of_scikit_learn_however_samples_are_batched(pairs, size):
    sklearn = pytest.importorskip("sklearn.metrics")
    scores = np.array([score / 3 for score, _ in pairs], "float32")
    labels = np.array([label for _, label in pairs])
    metric, state = AUC(), AUC().empty()
    for start in range(0, len(scores), size):
        state = metric.update(state, scores[start : start + size, None], labels[start : start + size])
    assert metric.result(state) == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-12)


def test_auc_counts_pairs():
    """The definition itself: the share of pairs that are ranked right, ties counting half."""
    generator = np.random.default_rng(3)
    scores, labels = generator.integers(0, 50, 300) / 7, generator.integers(0, 2, 300)
    ones, zeros = scores[labels == 1][:, None], scores[labels == 0]
    expected = np.mean((ones > zeros) + 0.5 * (ones == zeros))
    assert AUC()(scores[:, None], labels) == pytest.approx(expected, abs=1e-15)


def test_auc_of_two_scores_ranks_their_difference():
    generator = np.random.default_rng(4)
    logits, labels = generator.normal(size=(50, 2)).astype("float32"), generator.integers(0, 2, 50)
    wide = logits.astype("float64")
    assert AUC()(logits, labels) == AUC()(wide[:, 1] - wide[:, 0], labels)


def test_auc_keeps_few_parts_of_many_batches():
    metric, state = AUC(), AUC().empty()
    for _ in range(500):
        state = metric.update(state, np.zeros((3, 1)), np.array([0, 1, 1]))
    assert len(state) < 12
    assert metric.result(state) == 0.5


def test_auc_needs_both_classes():
    with pytest.raises(DataError, match="all 3 samples are of class 1, expected both"):
        AUC()(np.zeros((3, 1)), np.ones(3, int))


def test_auc_of_many_classes_is_refused():
    with pytest.raises(ShapeError, match="AUC.*expected one score per sample"):
        AUC()(np.zeros((3, 4)), np.zeros(3, int))
