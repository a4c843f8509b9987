"""Metrics of classification and regression."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_metrics.classification import Accuracy, ConfusionMatrix, TopKAccuracy
from bigmodel_metrics.precision_recall import F1, Precision, Recall
from bigmodel_metrics.ranking import AUC
from bigmodel_metrics.regression import R2, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError

__all__ = [
    "AUC",
    "F1",
    "R2",
    "Accuracy",
    "ConfusionMatrix",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopKAccuracy",
]


@bm.hookimpl
def bigmodel_metrics() -> list[type[bm.Metric]]:
    """The metrics of this package."""
    return [
        Accuracy,
        TopKAccuracy,
        Precision,
        Recall,
        F1,
        AUC,
        ConfusionMatrix,
        MeanAbsoluteError,
        MeanSquaredError,
        RootMeanSquaredError,
        R2,
    ]
