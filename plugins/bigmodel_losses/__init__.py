"""The losses that come with bigmodel; all take scores (logits), never probabilities."""

from __future__ import annotations

from bigmodel_core.nn.loss import Loss
from bigmodel_core.registry.hookspecs import hookimpl
from bigmodel_losses.classification import BinaryCrossEntropy, CrossEntropy, Hinge
from bigmodel_losses.regression import Huber, MeanAbsoluteError, MeanSquaredError

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Hinge", "Huber", "MeanAbsoluteError", "MeanSquaredError"]


@hookimpl
def bigmodel_losses() -> list[type[Loss]]:
    """The losses of this package."""
    return [CrossEntropy, BinaryCrossEntropy, Hinge, MeanSquaredError, MeanAbsoluteError, Huber]
