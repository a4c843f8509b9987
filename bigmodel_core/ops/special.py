"""Functions that keep their digits near 0, and the error function: one scalar function each."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.graph import Value
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.functions import exp

_TWO_OVER_ROOT_PI = 1.1283791670955126


class Log1p(ElementwiseOp):
    """log(1 + x), with all digits near 0."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.log1p(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy / (1.0 + x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        """Near 0 it is 2 artanh(x / (2 + x)) by its series, whose terms are below 0.03 of each other."""
        ratio = emit.Div(x, emit.Add(x, emit.const(2.0)))
        square = emit.Mul(ratio, ratio)
        last = emit.inputs[0].number_type.nbytes + 2
        series = emit.const(2 / (2 * last + 1))
        for term in reversed(range(last)):
            series = emit.Add(emit.Mul(series, square), emit.const(2 / (2 * term + 1)))
        near = emit.Less(emit.Abs(x), emit.const(0.29))
        return emit.Where(near, emit.Mul(ratio, series), emit.Log(emit.Add(x, emit.const(1.0))))


class Expm1(ElementwiseOp):
    """exp(x) - 1, with all digits near 0."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.expm1(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * (y + 1.0),)

    def onnx(self, emit: Any, x: Any) -> Any:
        half = emit.Tanh(emit.Mul(x, emit.const(0.5)))
        return emit.Mul(half, emit.Add(emit.Exp(x), emit.const(1.0)))


class _ErfGrad(ElementwiseOp):
    cpu, cuda = elementwise(lambda dy, x: dy * (_TWO_OVER_ROOT_PI * math.exp(-x * x)))

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        return (dy * _TWO_OVER_ROOT_PI * exp(-x * x),)


class Erf(ElementwiseOp):
    """The error function: 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.erf(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_ErfGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Erf(x)


log1p, expm1, erf = Log1p(), Expm1(), Erf()

__all__ = ["erf", "expm1", "log1p"]
