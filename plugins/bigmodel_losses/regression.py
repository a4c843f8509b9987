"""Losses of numbers: prediction and target have one shape, and nothing is broadcast."""

from __future__ import annotations

from dataclasses import dataclass

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DtypeError


def _difference(loss: bm.Loss, prediction: bm.Value, target: bm.Value) -> bm.Value:
    name, prediction = type(loss).__name__, bm.one_output(loss, prediction)
    bm.ops.elementwise.check_same_shape(name, prediction.spec, target.spec, "prediction and target")
    if not prediction.spec.is_float:
        raise DtypeError(
            f"{name} needs float predictions, got {prediction.dtype}.", fix="use a model with float outputs."
        )
    return prediction - target.astype(prediction.dtype)


@dataclass(frozen=True)
class MeanSquaredError(bm.Loss):
    """The mean of (prediction - target)^2.

    Raises:
        ShapeError: the shapes differ, (N, 1) against (N,) too.
    """

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        return ops.square(_difference(self, prediction, target))


@dataclass(frozen=True)
class MeanAbsoluteError(bm.Loss):
    """The mean of |prediction - target|.

    Raises:
        ShapeError: the shapes differ, (N, 1) against (N,) too.
    """

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        return ops.absolute(_difference(self, prediction, target))


@dataclass(frozen=True)
class Huber(bm.Loss):
    """Squared for small errors, linear beyond `delta`, so that outliers weigh less (Huber, 1964).

    Half the squared error if |error| is at most delta, else delta * (|error| - delta / 2).

    Args:
        delta: where the square ends and the line begins.

    Raises:
        ShapeError: the shapes differ, (N, 1) against (N,) too.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        bm.check_number(self, "delta", above=0)

    def each(self, prediction: bm.Value, target: bm.Value) -> bm.Value:
        return ops.huber(_difference(self, prediction, target), self.delta)
