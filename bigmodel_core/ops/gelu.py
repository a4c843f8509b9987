"""Gelu and its approximation by tanh: one scalar function each, for every device."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.graph import Value
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.activations import tanh
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.functions import exp

_ROOT_HALF = 0.5**0.5
_ROOT_TWO_OVER_PI = (2 / math.pi) ** 0.5
_ONE_OVER_ROOT_TWO_PI = (2 * math.pi) ** -0.5


def _gelu(x):
    return 0.5 * x * (1 + math.erf(x * _ROOT_HALF))


def _gelu_grad(dy, x):
    return dy * (0.5 * (1 + math.erf(x * _ROOT_HALF)) + x * _ONE_OVER_ROOT_TWO_PI * math.exp(-0.5 * x * x))


def _gelu_share(x):
    return 0.5 * (1 + math.erf(x * _ROOT_HALF))


def _gelu_grad_of_share(dy, x, share):
    return dy * (share + x * _ONE_OVER_ROOT_TWO_PI * math.exp(-0.5 * x * x))


def _gelu_tanh(x):
    return 0.5 * x * (1 + math.tanh(_ROOT_TWO_OVER_PI * (x + 0.044715 * x * x * x)))


def _gelu_tanh_grad(dy, x):
    t = math.tanh(_ROOT_TWO_OVER_PI * (x + 0.044715 * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _ROOT_TWO_OVER_PI * (1 + 0.134145 * x * x))


def _gelu_tanh_share(x):
    return 0.5 * (1 + math.tanh(_ROOT_TWO_OVER_PI * (x + 0.044715 * x * x * x)))


def _gelu_tanh_grad_of_share(dy, x, share):
    return dy * (share + x * share * (1 - share) * (2 * _ROOT_TWO_OVER_PI) * (1 + 0.134145 * x * x))


class _GeluShare(ElementwiseOp):
    """The share of x that goes through, which is what x is multiplied by."""

    exported = False
    cpu, cuda = elementwise(_gelu_share)


class _GeluGradOfShare(ElementwiseOp):
    exported = False
    cpu, cuda = elementwise(_gelu_grad_of_share)


class _GeluTanhShare(ElementwiseOp):
    exported = False
    cpu, cuda = elementwise(_gelu_tanh_share)


class _GeluTanhGradOfShare(ElementwiseOp):
    exported = False
    cpu, cuda = elementwise(_gelu_tanh_grad_of_share)


class _GeluGrad(ElementwiseOp):
    cpu, cuda = elementwise(_gelu_grad)

    def gradient_of(self) -> Gelu:
        return gelu

    def with_forward(self, dy: Value, x: Value) -> tuple[Value, Value]:
        share = _GeluShare()(x)
        return x * share, _GeluGradOfShare()(dy, x, share)

    def grad(self, dy: Value, y: Value, upstream: Value, x: Value) -> tuple[Value, Value]:
        density = exp(-0.5 * x * x) * _ONE_OVER_ROOT_TWO_PI
        return self(dy, x), dy * upstream * density * (2.0 - x * x)

    def onnx(self, emit: Any, dy: Any, x: Any) -> Any:
        half, one = emit.const(0.5), emit.const(1.0)
        normal = emit.Mul(half, emit.Add(one, emit.Erf(emit.Mul(x, emit.const(_ROOT_HALF)))))
        density = emit.Mul(
            emit.Exp(emit.Neg(emit.Mul(half, emit.Mul(x, x)))), emit.const(_ONE_OVER_ROOT_TWO_PI)
        )
        return emit.Mul(dy, emit.Add(normal, emit.Mul(x, density)))


class Gelu(ElementwiseOp):
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016)."""

    floats_only = True
    cpu, cuda = elementwise(_gelu)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_GeluGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        if emit.opset >= 20:
            return emit.Gelu(x)
        normal = emit.Add(emit.Erf(emit.Mul(x, emit.const(_ROOT_HALF))), emit.const(1.0))
        return emit.Mul(emit.Mul(x, normal), emit.const(0.5))


class _GeluTanhGrad(ElementwiseOp):
    cpu, cuda = elementwise(_gelu_tanh_grad)

    def gradient_of(self) -> GeluTanh:
        return gelu_tanh

    def with_forward(self, dy: Value, x: Value) -> tuple[Value, Value]:
        share = _GeluTanhShare()(x)
        return x * share, _GeluTanhGradOfShare()(dy, x, share)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        t = tanh(_ROOT_TWO_OVER_PI * (x + 0.044715 * x * x * x))
        inner = _ROOT_TWO_OVER_PI * (1.0 + 0.134145 * x * x)
        return (dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner),)


class GeluTanh(ElementwiseOp):
    """The approximation of Gelu by tanh (Hendrycks and Gimpel, 2016)."""

    floats_only = True
    cpu, cuda = elementwise(_gelu_tanh)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_GeluTanhGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Gelu(x, approximate="tanh") if emit.opset >= 20 else gelu_tanh_spelled_out(emit, x)


def gelu_tanh_spelled_out(emit: Any, x: Any) -> Any:
    """The approximation in ONNX operators that every opset has, and ONNX Runtime for every float; in the
    order in which the runtime knows them as one."""
    one = emit.const(1.0)
    slope = emit.Add(emit.Mul(emit.Mul(x, emit.const(0.044715)), x), one)
    bend = emit.Tanh(emit.Mul(emit.Mul(x, emit.const(_ROOT_TWO_OVER_PI)), slope))
    return emit.Mul(emit.Mul(x, emit.const(0.5)), emit.Add(bend, one))


gelu, gelu_tanh = Gelu(), GeluTanh()

__all__ = ["gelu", "gelu_tanh"]
