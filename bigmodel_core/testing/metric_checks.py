"""The checks of metrics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError, UsageError
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, behind, expect, expect_numbers
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.examples import PASS_INPUTS
from bigmodel_core.testing.registry_checks import expect_readable, registry_checks
from bigmodel_core.train.metric import Metric, MetricState

Pair = tuple[np.ndarray, np.ndarray]


def metric_checks(metric: Metric, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a metric; the reference takes predictions and targets of all samples."""

    def apart(check: Callable[..., None], *more: Any) -> Callable[[], None]:
        def run() -> None:
            prediction, target = _data(metric, inputs)
            check(metric, *more, prediction, target)

        return lambda: isolated(run)

    found: Found = {
        "runs": apart(check_runs),
        "reference": apart(check_reference, reference),
        "streaming equals one batch": apart(check_streaming),
        "merging equals one batch": apart(check_merging),
        "states stay as they were": apart(check_pure),
        "no samples": apart(check_no_samples),
        "wrong lengths": apart(check_wrong_lengths),
    }
    return {**behind("runs", found), **registry_checks(metric)}


def _data(metric: Metric, inputs: Inputs | None) -> Pair:
    if inputs is not None:
        return np.asarray(inputs[0]), np.asarray(inputs[1])
    generator = np.random.default_rng(5)
    scores = generator.normal(size=(24, 6)).astype("float32")
    candidates: list[Pair] = [
        (scores, np.concatenate([scores.argmax(-1)[:12], generator.integers(0, 6, 12)])),
        (scores[:, :1], (scores[:, 0] + generator.normal(size=24) > 0).astype("int64")),
        (scores[:, :2], scores[:, :2] + generator.normal(size=(24, 2)).astype("float32")),
    ]
    for prediction, target in candidates:
        try:
            metric(prediction, target)
            return prediction, target
        except BigmodelError:
            continue
    raise UsageError(f"no predictions for {type(metric).__name__} were found.", fix=PASS_INPUTS)


def _streamed(
    metric: Metric, prediction: np.ndarray, target: np.ndarray, sizes: tuple[int, ...]
) -> MetricState:
    state, at = metric.empty(), 0
    for size in sizes:
        state = metric.update(state, prediction[at : at + size], target[at : at + size])
        at += size
    return metric.update(state, prediction[at:], target[at:])


def check_runs(metric: Metric, prediction: np.ndarray, target: np.ndarray) -> None:
    """It takes predictions and targets, in any memory order, and gives a finite number, or several."""
    found = np.asarray(metric(np.asfortranarray(prediction), target), "float64")
    expect(not np.isinf(found).any(), f"the value is {found}")


def check_no_samples(metric: Metric, prediction: np.ndarray, target: np.ndarray) -> None:
    """Without a sample there is an error that says so."""
    expect_readable(lambda: metric.result(metric.empty()), "no sample at all")


def check_wrong_lengths(metric: Metric, prediction: np.ndarray, target: np.ndarray) -> None:
    """Predictions and targets of unequal numbers are an error."""
    expect_readable(lambda: metric(prediction, target[:-1]), "unequal lengths")


def check_reference(metric: Metric, reference: Any, prediction: np.ndarray, target: np.ndarray) -> None:
    """The value equals the reference's."""
    if reference is None:
        raise CheckSkipped("no reference was passed")
    np.testing.assert_allclose(
        metric(prediction, target), reference(prediction, target), rtol=1e-6, atol=1e-9
    )


def check_streaming(metric: Metric, prediction: np.ndarray, target: np.ndarray) -> None:
    """Batches of uneven sizes give the value of one batch."""
    state = _streamed(metric, prediction, target, (5, 1, 9))
    _expect_value(metric.result(state), metric(prediction, target))


def check_merging(metric: Metric, prediction: np.ndarray, target: np.ndarray) -> None:
    """Two workers' states merge into the state of all samples, and an empty one changes nothing."""
    half = len(target) // 2
    left = _streamed(metric, prediction[:half], target[:half], (3,))
    right = _streamed(metric, prediction[half:], target[half:], (4,))
    for state in (
        metric.merge(left, right),
        metric.merge(metric.merge(metric.empty(), left), metric.merge(right, metric.empty())),
    ):
        _expect_value(metric.result(state), metric(prediction, target))


def _expect_value(found: Any, expected: Any) -> None:
    expect_numbers(found, expected, "the value")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def check_pure(metric: Metric, prediction: np.ndarray, target: np.ndarray) -> None:
    """`update` and `merge` change neither their states nor their arrays."""
    state = metric.update(metric.empty(), prediction, target)
    before = copy.deepcopy((state, prediction, target))
    metric.merge(state, metric.update(state, prediction, target))
    for name, value in before[0].items():
        expect(np.array_equal(value, state[name]), f"the state's '{name}' was changed in place")
    expect(
        np.array_equal(before[1], prediction) and np.array_equal(before[2], target), "an array was changed"
    )
