"""Metrics of samples that may have several labels, against counts in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, NumericsError, ShapeError
from bigmodel_metrics import F1, Accuracy, Precision, Recall

DRAW = np.random.default_rng(3)
LOGITS = DRAW.normal(size=(40, 3)).astype(np.float32)
TRUE = (DRAW.random((40, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
FOUND = LOGITS > 0
HITS, PREDICTED, HAVE = (FOUND & (TRUE == 1)).sum(0), FOUND.sum(0), (TRUE == 1).sum(0)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Accuracy(several=True), np.mean((TRUE == 1) == FOUND)),
        (Precision(several=True), np.mean(HITS / PREDICTED)),
        (Recall("none", several=True), HITS / HAVE),
        (F1(several=True), np.mean(2 * HITS / (PREDICTED + HAVE))),
        (F1("micro", several=True), 2 * HITS.sum() / (PREDICTED + HAVE).sum()),
    ],
)
def test_each_label_is_counted_by_itself(metric: bm.Metric, expected: Any) -> None:
    np.testing.assert_allclose(metric(LOGITS, TRUE), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", [Accuracy(several=True), F1(several=True)])
def test_batches_add_up(metric: bm.Metric) -> None:
    state = metric.update(metric.update(metric.empty(), LOGITS[:7], TRUE[:7]), LOGITS[7:], TRUE[7:])
    assert metric.result(state) == metric(LOGITS, TRUE)


def test_data_of_several_labels_have_each_counted() -> None:
    """Rows of one label each look like shares of classes, and are none."""
    split = bm.Split(np.eye(3, dtype="float32"), np.eye(3, dtype="float32"))
    data = bm.Data("own", split, split, labels=("a", "b", "c"), task="multilabel")
    model = bm.Sequential(bm.layers.Dense(3))
    trainer = bm.Trainer(model, "binary_cross_entropy", metrics=["accuracy"])
    trainer.fit(data, epochs=1, batch_size=3, verbose=False, validation=split)
    expected = np.mean((trainer.predict(split) > 0) == np.eye(3))
    assert trainer.evaluate(data.test)["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("logits", "true", "error"),
    [
        (LOGITS, TRUE[:, :2], ShapeError),
        (LOGITS[0], TRUE[0], ShapeError),
        (LOGITS, TRUE / 2, DataError),
        (LOGITS * np.nan, TRUE, NumericsError),
    ],
)
def test_what_cannot_be_counted_is_refused(logits: Any, true: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        F1(several=True)(logits, true)
