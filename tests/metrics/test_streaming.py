"""Every metric: streamed, merged and taken at once give one value, and nothing handed in is changed."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigmodel_metrics
from bigmodel_core.train.metric import Metric
from bigmodel_metrics import (
    AUC,
    F1,
    R2,
    Accuracy,
    ConfusionMatrix,
    Dice,
    MeanAbsoluteError,
    MeanIoU,
    MeanSquaredError,
    Precision,
    Recall,
    RootMeanSquaredError,
    TopKAccuracy,
)

CLASSIFICATION = [
    Accuracy(),
    TopKAccuracy(2),
    ConfusionMatrix(),
    Precision("micro"),
    Recall("weighted"),
    F1(),
    MeanIoU(),
    Dice(),
]
REGRESSION = [MeanAbsoluteError(), MeanSquaredError(), RootMeanSquaredError(), R2()]
TWO_CLASSES = [AUC()]
ALL = CLASSIFICATION + TWO_CLASSES + REGRESSION


def samples(metric: Metric, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if metric in CLASSIFICATION:
        return rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 4, n)
    if metric in TWO_CLASSES:
        labels = rng.integers(0, 2, n)
        labels[:2] = 0, 1
        return rng.integers(-3, 4, (n, 1)).astype(np.float32), labels
    target = rng.normal(3.0, 2.0, (n, 2)).astype(np.float32)
    return (target + rng.normal(size=(n, 2))).astype(np.float32), target


def stream(metric: Metric, prediction: np.ndarray, target: np.ndarray, cuts: list[int]):
    state = metric.empty()
    for p, t in zip(np.split(prediction, cuts), np.split(target, cuts), strict=True):
        state = metric.update(state, p, t)
    return state


def test_every_metric_of_the_package_is_tested_here():
    found = {cls.__name__: cls for cls in bigmodel_metrics.bigmodel_metrics()}
    assert set(found) == set(bigmodel_metrics.__all__)
    apart = (".texts", ".tags", ".detection")
    of_texts = {name for name, cls in found.items() if cls.__module__.endswith(apart)}
    assert {type(metric).__name__ for metric in ALL} == set(found) - of_texts  # those have files of their own


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
@given(st.integers(2, 60), st.lists(st.integers(0, 60), max_size=6), st.integers(0, 100))
def test_streaming_gives_the_value_of_one_shot(metric, n, cuts, seed):
    prediction, target = samples(metric, n, seed)
    streamed = metric.result(stream(metric, prediction, target, sorted(min(cut, n) for cut in cuts)))
    np.testing.assert_allclose(streamed, metric(prediction, target), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
@given(st.integers(2, 60), st.integers(0, 60), st.integers(0, 100))
def test_merged_workers_give_the_value_of_one_shot(metric, n, cut, seed):
    prediction, target = samples(metric, n, seed)
    parts = [
        stream(metric, p, t, [])
        for p, t in zip(np.split(prediction, [min(cut, n)]), np.split(target, [min(cut, n)]), strict=True)
    ]
    expected = metric(prediction, target)
    for a, b in (parts, reversed(parts)):
        np.testing.assert_allclose(metric.result(metric.merge(a, b)), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_states_and_inputs_stay_as_they_were(metric):
    prediction, target = samples(metric, 10)
    before = prediction.copy(), target.copy()
    state = metric.update(metric.empty(), prediction, target)
    kept = copy.deepcopy(state)
    value = metric.result(state)
    metric.merge(state, metric.update(state, prediction, target))
    np.asarray(metric.result(state))[...] = -1
    assert all(np.array_equal(state[key], kept[key]) for key in kept)
    np.testing.assert_array_equal(metric.result(state), value if np.ndim(value) == 0 else kept["matrix"])
    assert np.array_equal(prediction, before[0])
    assert np.array_equal(target, before[1])


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_an_empty_batch_changes_nothing(metric):
    prediction, target = samples(metric, 10)
    state = metric.update(metric.empty(), prediction, target)
    after = metric.update(state, prediction[:0], target[:0])
    assert np.array_equal(metric.result(after), metric.result(state))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_arrays_that_are_not_contiguous_have_the_same_value(metric):
    prediction, target = samples(metric, 20)
    strided = np.asfortranarray(prediction)[::2], np.repeat(target, 2, axis=0)[::4]
    assert np.array_equal(metric(*strided), metric(prediction[::2].copy(), target[::2].copy()))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_metric_is_frozen_named_and_says_what_is_better(metric):
    with pytest.raises((FrozenInstanceError, AttributeError)):
        metric.name = "other"
    assert "name" not in {field.name for field in fields(metric)}
    expected = {"confusion_matrix": None} | dict.fromkeys((m.name for m in REGRESSION[:3]), False)
    assert metric.higher_is_better is expected.get(metric.name, True)


def test_names_are_those_of_the_registry():
    assert [metric.name for metric in bigmodel_metrics.bigmodel_metrics()] == [
        "accuracy",
        "top_k_accuracy",
        "precision",
        "recall",
        "f1",
        "auc",
        "confusion_matrix",
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "r2",
        "perplexity",
        "bleu",
        "rouge",
        "token_error_rate",
        "sequence_f1",
        "mean_iou",
        "dice",
        "mean_average_precision",
    ]


def test_classes_that_come_later_make_the_state_grow():
    first, second = np.array([0, 1]), np.array([2, 4])
    metric = ConfusionMatrix()
    state = stream(metric, np.concatenate([first, second]), np.concatenate([first, second]), [2])
    assert np.array_equal(metric.result(state), np.diag([1, 1, 1, 0, 1]))
