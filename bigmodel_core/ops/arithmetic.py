"""Arithmetic of two numbers: one scalar function each, for every device.

A gradient that does not pass is 0 whatever it was: it is selected, since 0 times infinity is NaN.
"""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.graph import Operand, Value
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.comparison import Where, equal, logical_and, logical_or, not_equal, where
from bigmodel_core.ops.elementwise import ElementwiseOp, binary, constant_like, paired
from bigmodel_core.ops.functions import Sqrt, Square, log
from bigmodel_core.ops.reduce import reduce_to


class Add(ElementwiseOp):
    """a + b."""

    cpu, cuda = elementwise(lambda a, b: a + b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy, a.shape), reduce_to(dy, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Add(a, b)


class Subtract(ElementwiseOp):
    """a - b."""

    cpu, cuda = elementwise(lambda a, b: a - b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy, a.shape), reduce_to(-dy, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Sub(a, b)


class Multiply(ElementwiseOp):
    """a * b."""

    cpu, cuda = elementwise(lambda a, b: a * b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy * b, a.shape), reduce_to(dy * a, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Mul(a, b)


class Divide(ElementwiseOp):
    """a / b, for floats."""

    floats_only = True
    cpu, cuda = elementwise(lambda a, b: a / b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy / b, a.shape), reduce_to(-dy * y / b, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Div(a, b)


def _power(a, b):
    return a**b


def _power_grad_base(dy, a, b):
    return 0 if b == 0 else dy * (b * a ** (b - 1))


def _power_grad_exponent(dy, y, a, b):
    return 0 if a == 0 and b >= 0 else dy * (y * math.log(a))


class _PowerGradBase(ElementwiseOp):
    cpu, cuda = elementwise(_power_grad_base)

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[Value, Value, Value]:
        upstream, a, b = inputs
        weight = dy * upstream
        less, nothing = b - 1.0, constant_like(0.0, b)
        to_base = Where()(equal(b, 0.0), nothing, self(weight * b, a, less))
        lower = Power()(a, less)
        to_exponent = weight * lower + _PowerGradExponent()(weight * b, lower, a, less)
        return self(dy, a, b), reduce_to(to_base, a.shape), reduce_to(to_exponent, b.shape)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, a, b = inputs
        return (where(equal(b, 0.0), 0.0, dy * (b * Power()(a, b - 1.0))),)


class _PowerGradExponent(ElementwiseOp):
    """0 where 0 ** b stays 0, or 1; NaN for a base below 0, which has powers at whole exponents only."""

    cpu, cuda = elementwise(_power_grad_exponent)

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[Value, Value, Value, Value | None]:
        upstream, power, a, b = inputs
        weight = dy * upstream
        to_power = self(weight, constant_like(1.0, power), a, b)
        to_base = Where()(equal(a, 0.0), weight * Power()(a, b - 1.0), weight * power / a)
        return self(dy, power, a, b), to_power, reduce_to(to_base, a.shape), None

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, power, a, b = inputs
        return (where(logical_and(equal(a, 0.0), b >= 0.0), 0.0, dy * (power * log(a))),)


class Power(ElementwiseOp):
    """a ** b, for floats."""

    floats_only = True
    cpu, cuda = elementwise(_power)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        to_base, to_exponent = _PowerGradBase()(dy, a, b), _PowerGradExponent()(dy, y, a, b)
        return reduce_to(to_base, a.shape), reduce_to(to_exponent, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Pow(a, b)


def _maximum(a, b):
    return a if (a > b or a != a) else b


def _minimum(a, b):
    return a if (a < b or a != a) else b


class _WhereFirst(ElementwiseOp):
    """The gradient where a was chosen, which a NaN is; else 0."""

    cpu, cuda = elementwise(lambda dy, a, y: dy if (a == y or a != a) else 0)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, a, y = inputs
        return (where(_is_first(a, y), dy, 0.0),)


class _WhereSecond(ElementwiseOp):
    """The gradient where a was not chosen; else 0."""

    cpu, cuda = elementwise(lambda dy, a, y: 0 if (a == y or a != a) else dy)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, a, y = inputs
        return (where(_is_first(a, y), 0.0, dy),)


def _is_first(a: Value, y: Value) -> Value:
    return logical_or(equal(a, y), not_equal(a, a))


class Choice(ElementwiseOp):
    """One of a and b; if they are equal, the gradient goes to a."""

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(_WhereFirst()(dy, a, y), a.shape), reduce_to(_WhereSecond()(dy, a, y), b.shape)


class Maximum(Choice):
    """The larger of a and b; if they are equal, the gradient goes to a."""

    cpu, cuda = elementwise(_maximum)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Max(a, b)


class Minimum(Choice):
    """The smaller of a and b; if they are equal, the gradient goes to a."""

    cpu, cuda = elementwise(_minimum)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Min(a, b)


def power(a: Operand, b: Operand) -> Value:
    """a ** b."""
    if isinstance(a, Value) and isinstance(b, (int, float)):
        if b == 1:
            return a
        if b == 2:
            return Square()(a)
        if b == 0.5:
            return Sqrt()(a)
    left, right = paired(a, b)
    return Power()(left, right)


add, subtract, multiply, divide = binary(Add()), binary(Subtract()), binary(Multiply()), binary(Divide())
maximum, minimum = binary(Maximum()), binary(Minimum())

__all__ = ["add", "divide", "maximum", "minimum", "multiply", "power", "subtract"]
