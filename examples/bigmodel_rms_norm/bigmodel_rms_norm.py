"""RMS normalisation as a plugin: an op whose kernels take several launches with scratch memory between them.

Rows are scaled to a mean square of 1. Each kernel first computes a number or two a row, which lie in scratch
memory that the plan gives, then all numbers of the output; functions that compute one row serve both devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import sqrt

import bigmodel_core as bm
from bigmodel_core import ops


def rate_of(x, i, epsilon):
    """1 / sqrt(mean(x[i] ** 2) + epsilon)."""
    total = x[i, 0] * x[i, 0]
    for j in range(1, x.shape[1]):
        total += x[i, j] * x[i, j]
    number = x.dtype.type  # whole numbers would make the division one of float64
    return number(1) / sqrt(total / number(x.shape[1]) + epsilon)


def pull_of(dy, x, i, rate):
    """mean(dy[i] * x[i]) * rate ** 3: what each number of the row takes of the gradient for the others."""
    total = dy[i, 0] * x[i, 0]
    for j in range(1, x.shape[1]):
        total += dy[i, j] * x[i, j]
    return total / x.dtype.type(x.shape[1]) * rate * rate * rate


# On the CPU a launch does the rows from `start` to `stop`.


def rates(out, x, epsilon, start, stop):
    for i in range(start, stop):
        out[i] = rate_of(x, i, epsilon)


def scaled(out, x, rate, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * rate[i]


def pulls(out, dy, x, rate, start, stop):
    for i in range(start, stop):
        out[i] = pull_of(dy, x, i, rate[i])


def pulled(out, dy, x, rate, pull, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = dy[i, j] * rate[i] - x[i, j] * pull[i]


CPU = {function.__name__: bm.kernel(function) for function in (rates, scaled, pulls, pulled)}


# On CUDA each of many threads does a share of the pieces: of rows, or of single numbers.


def cuda_rates(out, x, epsilon, thread, threads):
    for i in range(thread, x.shape[0], threads):
        out[i] = rate_of(x, i, epsilon)


def cuda_scaled(out, x, rate, thread, threads):
    columns = x.shape[1]
    for n in range(thread, x.shape[0] * columns, threads):
        out[n // columns, n % columns] = x[n // columns, n % columns] * rate[n // columns]


def cuda_pulls(out, dy, x, rate, thread, threads):
    for i in range(thread, x.shape[0], threads):
        out[i] = pull_of(dy, x, i, rate[i])


def cuda_pulled(out, dy, x, rate, pull, thread, threads):
    columns = x.shape[1]
    for n in range(thread, x.shape[0] * columns, threads):
        i, j = n // columns, n % columns
        out[i, j] = dy[i, j] * rate[i] - x[i, j] * pull[i]


CUDA = {
    function.__name__.removeprefix("cuda_"): bm.cuda_kernel(function)
    for function in (cuda_rates, cuda_scaled, cuda_pulls, cuda_pulled)
}


# What is launched is the same on both.


def normalised(call, kernels):
    rows, columns = rows_of(call.inputs[0])
    x, out = call.input(0).reshape(rows, columns), call.output(0).reshape(rows, columns)
    rate = call.temporary((rows,))
    return [*call.launch(kernels["rates"], [rate], [x]), *call.launch(kernels["scaled"], [out], [x, rate])]


def differentiated(call, kernels):
    rows, columns = rows_of(call.inputs[0])
    dy, x, out = (part.reshape(rows, columns) for part in (call.input(0), call.input(1), call.output(0)))
    rate, pull = call.temporary((rows,)), call.temporary((rows,))
    return [
        *call.launch(kernels["rates"], [rate], [x]),
        *call.launch(kernels["pulls"], [pull], [dy, x, rate]),
        *call.launch(kernels["pulled"], [out], [dy, x, rate, pull]),
    ]


def rows_of(spec):
    """How many rows an array has, and how long they are."""
    return math.prod(spec.shape[:-1]), spec.shape[-1]


@dataclass(frozen=True)
class RmsNormGradOp(bm.Op):
    """The gradient of RmsNormOp with respect to its input."""

    epsilon: float
    cpu = bm.cpu_launches(lambda call: differentiated(call, CPU))
    cuda = bm.cuda_launches(lambda call: differentiated(call, CUDA))

    def infer(self, dy, x):
        return x

    def decomposed(self, dy, x):  # for gradients of this one
        rate = 1 / ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return (dy * rate - x * rate**3 * ops.mean(dy * x, axis=-1, keepdims=True),)


@dataclass(frozen=True)
class RmsNormOp(bm.Op):
    """x / sqrt(mean(x ** 2) + epsilon) along the last axis."""

    epsilon: float
    cpu = bm.cpu_launches(lambda call: normalised(call, CPU))
    cuda = bm.cuda_launches(lambda call: normalised(call, CUDA))

    def infer(self, x):
        if x.ndim < 1 or x.shape[-1] == 0:
            raise bm.errors.ShapeError(f"RmsNorm needs numbers along the last axis, got {x.shape}.")
        return x

    def grad(self, dy, y, x):
        return (RmsNormGradOp(self.epsilon)(dy, x),)

    def onnx(self, emit, x):
        squares = emit.reduce("ReduceMean", emit.Mul(x, x), (emit.inputs[0].ndim - 1,), True)
        return emit.Div(x, emit.Sqrt(emit.Add(squares, emit.const(self.epsilon))))


@dataclass(frozen=True)
class RootMeanSquareNorm(bm.Layer):
    """Rows scaled to a mean square of 1, then by a learned factor a column (Zhang and Sennrich, 2019).

    Args:
        epsilon: what is added to the mean square.
    """

    epsilon: float = 1e-5

    def __call__(self, x):
        scale = self.parameter("scale", x.shape[-1:], 1.0)
        return RmsNormOp(self.epsilon)(x) * scale


@bm.hookimpl
def bigmodel_layers():
    """The layers of this plugin."""
    return [RootMeanSquareNorm]
