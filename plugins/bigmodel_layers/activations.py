"""Activations: functions of each number, and softmax along an axis. None has parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class Relu(bm.Layer):
    """max(x, 0) (Nair and Hinton, 2010)."""

    def __call__(self, x: Any) -> Any:
        return ops.relu(x)


@dataclass(frozen=True)
class LeakyRelu(bm.Layer):
    """x if positive, else slope * x (Maas et al., 2013).

    Args:
        slope: the slope of the negative side.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        bm.check_number(self, "slope")

    def __call__(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.slope)


@dataclass(frozen=True)
class Elu(bm.Layer):
    """x if positive, else alpha * (exp(x) - 1) (Clevert et al., 2015).

    Args:
        alpha: the distance of the lower bound from zero.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        bm.check_number(self, "alpha", at_least=0)

    def __call__(self, x: Any) -> Any:
        return ops.elu(x, self.alpha)


@dataclass(frozen=True)
class Sigmoid(bm.Layer):
    """1 / (1 + exp(-x))."""

    def __call__(self, x: Any) -> Any:
        return ops.sigmoid(x)


@dataclass(frozen=True)
class Tanh(bm.Layer):
    """The hyperbolic tangent."""

    def __call__(self, x: Any) -> Any:
        return ops.tanh(x)


@dataclass(frozen=True)
class Gelu(bm.Layer):
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016).

    Args:
        approximate: whether to use the authors' approximation by tanh, as GPT-2 does.
    """

    approximate: bool = False

    def __call__(self, x: Any) -> Any:
        return ops.gelu_tanh(x) if self.approximate else ops.gelu(x)


@dataclass(frozen=True)
class Silu(bm.Layer):
    """x * sigmoid(x) (Elfwing et al., 2017), also known as swish."""

    def __call__(self, x: Any) -> Any:
        return ops.silu(x)


@dataclass(frozen=True)
class Softplus(bm.Layer):
    """log(1 + exp(x)), computed without overflow (Dugas et al., 2001)."""

    def __call__(self, x: Any) -> Any:
        return ops.softplus(x)


@dataclass(frozen=True)
class Softsign(bm.Layer):
    """x / (1 + |x|) (Bergstra et al., 2009)."""

    def __call__(self, x: Any) -> Any:
        return ops.softsign(x)


@dataclass(frozen=True)
class Softmax(bm.Layer):
    """exp(x) / sum(exp(x)) along an axis: probabilities from scores.

    Losses of this project take scores, not probabilities: a classifier that is trained with `CrossEntropy`
    ends with its last dense layer.

    Args:
        axis: the axis whose numbers add up to 1.

    Raises:
        ShapeError: the input has no such axis.
    """

    axis: int = -1

    def __post_init__(self) -> None:
        bm.check_number(self, "axis", whole=True)

    def __call__(self, x: Any) -> Any:
        return ops.softmax(x, self.axis)


@dataclass(frozen=True)
class LogSoftmax(bm.Layer):
    """The logarithm of softmax along an axis.

    Args:
        axis: the axis whose exponentials add up to 1.

    Raises:
        ShapeError: the input has no such axis.
    """

    axis: int = -1

    def __post_init__(self) -> None:
        bm.check_number(self, "axis", whole=True)

    def __call__(self, x: Any) -> Any:
        return ops.log_softmax(x, self.axis)
