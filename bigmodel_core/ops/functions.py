"""Functions of one number: one scalar function each, for every device.

A gradient that does not pass is 0 whatever it was: it is selected, since 0 times infinity is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError
from bigmodel_core.graph import Operand, Value
from bigmodel_core.graph.operations import operations
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.axes import integer
from bigmodel_core.ops.comparison import logical_and, where
from bigmodel_core.ops.elementwise import ElementwiseOp


class Negate(ElementwiseOp):
    """-x."""

    cpu, cuda = elementwise(lambda x: -x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (-dy,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Neg(x)


def _sign(x):
    return 1 if x > 0 else (-1 if x < 0 else x)


class Sign(ElementwiseOp):
    """-1, 0 or 1."""

    cpu, cuda = elementwise(_sign)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sign(x)


def _absolute_grad(dy, x):
    return dy if x > 0 else (-dy if x < 0 else 0)


class _AbsoluteGrad(ElementwiseOp):
    cpu, cuda = elementwise(_absolute_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        return (where(x > 0, dy, where(x < 0, -dy, 0.0)),)


class Absolute(ElementwiseOp):
    """|x|."""

    cpu, cuda = elementwise(lambda x: -x if x < 0 else x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_AbsoluteGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Abs(x)


class Exp(ElementwiseOp):
    """e ** x."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.exp(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * y,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Exp(x)


class Log(ElementwiseOp):
    """The natural logarithm."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.log(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy / x,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Log(x)


class Sqrt(ElementwiseOp):
    """The square root."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.sqrt(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * 0.5 / y,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sqrt(x)


class Square(ElementwiseOp):
    """x * x."""

    cpu, cuda = elementwise(lambda x: x * x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * (x + x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, x)


class Sin(ElementwiseOp):
    """The sine of x radians."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.sin(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * Cos()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sin(x)


class Cos(ElementwiseOp):
    """The cosine of x radians."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.cos(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (-dy * Sin()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Cos(x)


class Floor(ElementwiseOp):
    """The largest integer not above x; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.floor(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Floor(x)


class Ceil(ElementwiseOp):
    """The smallest integer not below x; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.ceil(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Ceil(x)


def _round(x):
    below = math.floor(x)
    rest = x - below
    up = rest > 0.5 or (rest == 0.5 and below - 2 * math.floor(below * 0.5) != 0)
    return below + 1 if up else below


class Round(ElementwiseOp):
    """The nearest integer, of two the even one; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(_round)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Round(x)


def round(x: Value, decimals: int = 0) -> Value:
    """The nearest number of so many decimals, of two the one whose last digit is even; no gradient flows.

    As in NumPy, it is scaled by a power of ten, rounded, and scaled back.

    Raises:
        ConfigError: decimals is no integer, or far from any number of digits.
    """
    places = integer(decimals)
    if places is None or not -300 <= places <= 300:
        raise ConfigError(f"round cannot keep {decimals!r} decimals.", fix="use an integer, such as 2.")
    return Round()(x) if places == 0 else Round()(x * 10.0**places) / 10.0**places


_NUMBERS = (int, float, np.integer, np.floating)


def _clip(x, low, high):
    return low if x < low else (high if x > high else x)


def _clip_grad(dy, x, low, high):
    return dy if (x >= low and x <= high) else 0


@dataclass(frozen=True)
class _ClipGrad(ElementwiseOp):
    low: float
    high: float
    cpu, cuda = elementwise(_clip_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        return (where(logical_and(x >= self.low, x <= self.high), dy, 0.0),)


@dataclass(frozen=True)
class Clip(ElementwiseOp):
    """x, but not below one number nor above another."""

    low: float
    high: float
    floats_only = True
    cpu, cuda = elementwise(_clip)

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"clip from {self.low} to {self.high} is empty.", fix="pass low <= high.")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_ClipGrad(self.low, self.high)(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Clip(x, emit.const(self.low), emit.const(self.high))


def clip(x: Value, low: Operand | None, high: Operand | None) -> Value:
    """x, but not below `low` nor above `high`: numbers, arrays or Values that broadcast; None is no bound.

    The gradient goes to x where it is within the bounds, else to the bound that it passes.

    Raises:
        ConfigError: there is no bound, or both are numbers and the lower one is the larger.
        ShapeError, DtypeError: a bound does not broadcast, or is of another type.
    """
    if low is None and high is None:
        raise ConfigError("clip got no bound.", fix="pass one: ops.clip(x, 0, None).")
    if (low is None or isinstance(low, _NUMBERS)) and (high is None or isinstance(high, _NUMBERS)):
        op = Clip(-math.inf if low is None else float(low), math.inf if high is None else float(high))
        if x.spec.is_float:
            return op(x)
    bounded = x if low is None else operations().maximum(x, low)
    found: Value = bounded if high is None else operations().minimum(bounded, high)
    return found


negate, absolute, sign, square = Negate(), Absolute(), Sign(), Square()
exp, log, sqrt, sin, cos = Exp(), Log(), Sqrt(), Sin(), Cos()
floor, ceil = Floor(), Ceil()

__all__ = [
    "absolute",
    "ceil",
    "clip",
    "cos",
    "exp",
    "floor",
    "log",
    "negate",
    "round",
    "sign",
    "sin",
    "sqrt",
    "square",
]
