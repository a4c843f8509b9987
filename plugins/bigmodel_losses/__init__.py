"""The losses that come with bigmodel; all take scores (logits), never probabilities."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_losses.classification import BinaryCrossEntropy, CrossEntropy
from bigmodel_losses.detection import Ssd
from bigmodel_losses.distillation import Distillation
from bigmodel_losses.hinge import Hinge
from bigmodel_losses.quantile import Quantile
from bigmodel_losses.regression import Huber, MeanAbsoluteError, MeanSquaredError
from bigmodel_losses.segmentation import Dice
from bigmodel_losses.sequences import CTC

__all__ = [
    "CTC",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Distillation",
    "Hinge",
    "Huber",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Quantile",
    "Ssd",
]


@bm.hookimpl
def bigmodel_losses() -> list[type[bm.Loss]]:
    """The losses of this package."""
    return [
        CrossEntropy,
        BinaryCrossEntropy,
        Hinge,
        Distillation,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Quantile,
        CTC,
        Dice,
        Ssd,
    ]
