"""Metrics of classification, regression, texts and tags."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_metrics.classification import Accuracy, ConfusionMatrix, TopKAccuracy
from bigmodel_metrics.detection import MeanAveragePrecision
from bigmodel_metrics.precision_recall import F1, Precision, Recall
from bigmodel_metrics.ranking import AUC
from bigmodel_metrics.regression import R2, MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from bigmodel_metrics.segmentation import Dice, MeanIoU
from bigmodel_metrics.tags import SequenceF1
from bigmodel_metrics.texts import BLEU, ROUGE, Perplexity, TokenErrorRate

__all__ = [
    "AUC",
    "BLEU",
    "F1",
    "R2",
    "ROUGE",
    "Accuracy",
    "ConfusionMatrix",
    "Dice",
    "MeanAbsoluteError",
    "MeanAveragePrecision",
    "MeanIoU",
    "MeanSquaredError",
    "Perplexity",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SequenceF1",
    "TokenErrorRate",
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
        Perplexity,
        BLEU,
        ROUGE,
        TokenErrorRate,
        SequenceF1,
        MeanIoU,
        Dice,
        MeanAveragePrecision,
    ]
