"""The Swish activation as a plugin: an op with kernels, gradient and ONNX lowering, and its layer."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import bigmodel_core as bm


def swish(x, beta):
    return x / (1 + exp(-beta * x))


def swish_grad(dy, x, beta):
    s = 1 / (1 + exp(-beta * x))
    return dy * s * (1 + beta * x * (1 - s))


@dataclass(frozen=True)
class SwishGradOp(bm.Op):
    """The gradient of SwishOp with respect to its input."""

    beta: float
    cpu, cuda = bm.elementwise(swish_grad)

    def infer(self, dy, x):
        return x


@dataclass(frozen=True)
class SwishOp(bm.Op):
    """x * sigmoid(beta * x)."""

    beta: float
    cpu, cuda = bm.elementwise(swish)

    def infer(self, x):
        return x

    def grad(self, dy, y, x):
        return (SwishGradOp(self.beta)(dy, x),)

    def onnx(self, emit, x):
        return emit.Mul(x, emit.Sigmoid(emit.Mul(x, emit.const(self.beta))))


@dataclass(frozen=True)
class Swish(bm.Layer):
    """x * sigmoid(beta * x) (Ramachandran et al., 2017).

    Args:
        beta: how steep the sigmoid is.
    """

    beta: float = 1.0

    def __call__(self, x):
        return SwishOp(self.beta)(x)


@bm.hookimpl
def bigmodel_layers():
    """The layers of this plugin."""
    return [Swish]
