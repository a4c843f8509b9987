"""Losses of numbers: prediction and target have one shape, and nothing is broadcast."""

from __future__ import annotations

from dataclasses import dataclass

from bigmodel_core import ops
from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Value
from bigmodel_core.nn.loss import Loss, one_output
from bigmodel_core.ops.elementwise import check_same_shape
from bigmodel_core.registry.field_limits import check_number


def _difference(loss: Loss, prediction: Value, target: Value) -> Value:
    name, prediction = type(loss).__name__, one_output(loss, prediction)
    check_same_shape(name, prediction.spec, target.spec, "prediction and target")
    if not prediction.spec.is_float:
        raise DtypeError(
            f"{name} needs float predictions, got {prediction.dtype}.", fix="use a model with float outputs."
        )
    return prediction - target.astype(prediction.dtype)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The mean of (prediction - target)^2.

    Raises:
        ShapeError: the shapes differ, (N, 1) against (N,) too.
    """

    def each(self, prediction: Value, target: Value) -> Value:
        return ops.square(_difference(self, prediction, target))


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """The mean of |prediction - target|.

    Raises:
        ShapeError: the shapes differ, (N, 1) against (N,) too.
    """

    def each(self, prediction: Value, target: Value) -> Value:
        return ops.absolute(_difference(self, prediction, target))


@dataclass(frozen=True)
class Huber(Loss):
    """Squared for small errors, linear beyond `delta`, so that outliers weigh less (Huber, 1964).

    Half the squared error where |error| is at most delta, else delta * (|error| - delta / 2).

    Args:
        delta: where the square ends and the line begins.

    Raises:
        ShapeError: the shapes differ, (N, 1) against (N,) too.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "delta", above=0)

    def each(self, prediction: Value, target: Value) -> Value:
        return ops.huber(_difference(self, prediction, target), self.delta)
