"""Activations: one scalar function each, for every device, and one for the gradient.

A gradient that does not pass is 0 whatever it was: it is selected, since 0 times infinity is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph import Value
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.arithmetic import minimum
from bigmodel_core.ops.comparison import where
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.functions import exp


class _ReluGrad(ElementwiseOp):
    selects = True
    cpu, cuda = elementwise(lambda dy, y: 0 if y <= 0 else dy)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, y = inputs
        return (where(y <= 0, 0.0, dy),)


class Relu(ElementwiseOp):
    """max(x, 0) (Nair and Hinton, 2010)."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: 0 if x < 0 else x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_ReluGrad()(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Relu(x)


def _leaky_relu_grad(dy, x, slope):
    return dy if x > 0 else (slope * dy if slope != 0 else 0)


@dataclass(frozen=True)
class _LeakyReluGrad(ElementwiseOp):
    slope: float
    cpu, cuda = elementwise(_leaky_relu_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        return (where(x > 0, dy, self.slope * dy if self.slope else 0.0),)


@dataclass(frozen=True)
class LeakyRelu(ElementwiseOp):
    """x if positive, else slope * x (Maas et al., 2013)."""

    slope: float = 0.01
    floats_only = True
    cpu, cuda = elementwise(lambda x, slope: x if x > 0 else slope * x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_LeakyReluGrad(self.slope)(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.LeakyRelu(x, alpha=self.slope)


def _elu(x, alpha):
    e = alpha * math.expm1(0 if x > 0 else x)
    return x if x > 0 else e


def _elu_grad(dy, x, alpha):
    e = alpha * math.exp(0 if x > 0 else x)
    return dy if x > 0 else dy * e


@dataclass(frozen=True)
class _EluGrad(ElementwiseOp):
    alpha: float
    cpu, cuda = elementwise(_elu_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        return (dy * where(x > 0, 1.0, self.alpha * exp(minimum(x, 0.0))),)


@dataclass(frozen=True)
class Elu(ElementwiseOp):
    """x if positive, else alpha * (exp(x) - 1) (Clevert et al., 2015)."""

    alpha: float = 1.0
    floats_only = True
    cpu, cuda = elementwise(_elu)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_EluGrad(self.alpha)(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Elu(x, alpha=self.alpha)


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


class _SigmoidGrad(ElementwiseOp):
    cpu, cuda = elementwise(lambda dy, y: dy * y * (1 - y))

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, y = inputs
        return (dy * y * (1.0 - y),)


class Sigmoid(ElementwiseOp):
    """1 / (1 + exp(-x))."""

    floats_only = True
    cpu, cuda = elementwise(_sigmoid)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SigmoidGrad()(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Sigmoid(x)


class _TanhGrad(ElementwiseOp):
    cpu, cuda = elementwise(lambda dy, y: dy * (1 - y * y))

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, y = inputs
        return (dy * (1.0 - y * y),)


class Tanh(ElementwiseOp):
    """The hyperbolic tangent."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: math.tanh(x))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_TanhGrad()(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Tanh(x)


def _silu_grad(dy, x):
    s = 1 / (1 + math.exp(-x))
    return dy * s * (1 + x * (1 - s))


class _SiluGrad(ElementwiseOp):
    cpu, cuda = elementwise(_silu_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        s = sigmoid(x)
        return (dy * s * (1.0 + x * (1.0 - s)),)


class Silu(ElementwiseOp):
    """x * sigmoid(x) (Elfwing et al., 2017)."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: x / (1 + math.exp(-x)))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SiluGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, emit.Sigmoid(x))


def _softplus(x):
    return (x if x > 0 else 0) + math.log1p(math.exp(-math.fabs(x)))


class Softplus(ElementwiseOp):
    """log(1 + exp(x)), computed without overflow."""

    floats_only = True
    cpu, cuda = elementwise(_softplus)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * Sigmoid()(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Softplus(x)


def _softsign_grad(dy, x):
    d = 1 + math.fabs(x)
    return dy / (d * d)


class _SoftsignGrad(ElementwiseOp):
    cpu, cuda = elementwise(_softsign_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x = inputs
        d = 1.0 + abs(x)
        return (dy / (d * d),)


class Softsign(ElementwiseOp):
    """x / (1 + |x|)."""

    floats_only = True
    cpu, cuda = elementwise(lambda x: x / (1 + math.fabs(x)))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SoftsignGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Softsign(x)


relu, sigmoid, tanh, silu = Relu(), Sigmoid(), Tanh(), Silu()
softplus, softsign = Softplus(), Softsign()


def leaky_relu(x: Value, slope: float = 0.01) -> Value:
    """x if positive, else slope * x."""
    return LeakyRelu(float(slope))(x)


def elu(x: Value, alpha: float = 1.0) -> Value:
    """x if positive, else alpha * (exp(x) - 1)."""
    return Elu(float(alpha))(x)


__all__ = [
    "elu",
    "leaky_relu",
    "relu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
]
