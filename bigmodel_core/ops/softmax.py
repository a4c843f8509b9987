"""Softmax, log-softmax and the cross-entropy of them: stable, and fused into one pass over the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import exp, log
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import INTEGERS, Spec, format_shape
from bigmodel_core.kernels.array import kernel
from bigmodel_core.kernels.cpu.math import larger
from bigmodel_core.kernels.cuda.kernels import CudaLaunches
from bigmodel_core.ops.reduce import normal_axes, split_axes


def _rows(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    view = split_axes(inputs[0].shape, (op.axis,))
    return [view] * len(outputs), [view] * len(inputs)


def softmax_rows(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            top = x[i, 0, k]
            for j in range(1, x.shape[1]):
                top = larger(top, x[i, j, k])
            total = top - top
            for j in range(x.shape[1]):
                e = exp(x[i, j, k] - top)
                out[i, j, k] = e
                total += e
            for j in range(x.shape[1]):
                out[i, j, k] /= total


def softmax_grad_rows(out, dy, y, start, stop):
    for i in range(start, stop):
        for k in range(y.shape[2]):
            total = 0.0
            for j in range(y.shape[1]):
                total += dy[i, j, k] * y[i, j, k]
            for j in range(y.shape[1]):
                out[i, j, k] = y[i, j, k] * (dy[i, j, k] - total)


def log_softmax_rows(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            top = x[i, 0, k]
            for j in range(1, x.shape[1]):
                top = larger(top, x[i, j, k])
            total = top - top
            for j in range(x.shape[1]):
                total += exp(x[i, j, k] - top)
            shift = top + log(total)
            for j in range(x.shape[1]):
                out[i, j, k] = x[i, j, k] - shift


def log_softmax_grad_rows(out, dy, y, start, stop):
    for i in range(start, stop):
        for k in range(y.shape[2]):
            total = dy[i, 0, k]
            for j in range(1, y.shape[1]):
                total += dy[i, j, k]
            for j in range(y.shape[1]):
                out[i, j, k] = dy[i, j, k] - exp(y[i, j, k]) * total


@dataclass(frozen=True)
class _AlongAxis(Op):
    axis: int

    def infer(self, *inputs: Spec) -> Spec:
        x = inputs[0]
        if not x.is_float:
            raise DtypeError(
                f"{type(self).__name__} needs float32 or float64, got {x.dtype}.",
                fix="convert: x.astype('float32').",
            )
        if x.shape[self.axis] == 0:
            raise ShapeError(f"{type(self).__name__} along an empty axis of {format_shape(x.shape)}.")
        return x


@dataclass(frozen=True)
class _SoftmaxGrad(_AlongAxis):
    cpu = kernel(softmax_grad_rows, views=_rows, cost=2)
    cuda = CudaLaunches("softmax:softmax_grad")


@dataclass(frozen=True)
class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along an axis."""

    cpu = kernel(softmax_rows, views=_rows, cost=8)
    cuda = CudaLaunches("softmax:softmax")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SoftmaxGrad(self.axis)(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Softmax(x, axis=self.axis)


@dataclass(frozen=True)
class _LogSoftmaxGrad(_AlongAxis):
    cpu = kernel(log_softmax_grad_rows, views=_rows, cost=8)
    cuda = CudaLaunches("softmax:log_softmax_grad")


@dataclass(frozen=True)
class LogSoftmax(_AlongAxis):
    """The logarithm of softmax along an axis."""

    cpu = kernel(log_softmax_rows, views=_rows, cost=8)
    cuda = CudaLaunches("softmax:log_softmax")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_LogSoftmaxGrad(self.axis)(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.LogSoftmax(x, axis=self.axis)


def softmax(x: Value, axis: int = -1) -> Value:
    """exp(x) / sum(exp(x)) along an axis."""
    return Softmax(normal_axes(axis, x.ndim)[0])(x)


def log_softmax(x: Value, axis: int = -1) -> Value:
    """The logarithm of softmax along an axis."""
    return LogSoftmax(normal_axes(axis, x.ndim)[0])(x)


# Cross-entropy -------------------------------------------------------------------------------------------


def cross_entropy_rows(loss, shift, x, labels, smoothing, start, stop, status):
    """loss (rows,): -log softmax(x)[label]; shift (rows,): log(sum(exp(x))), which the gradient needs
    again."""
    classes = x.shape[1]
    for i in range(start, stop):
        label = labels[i]
        if label < 0 or label >= classes:
            if status[0] == 0:
                status[1] = label
                status[2] = classes
                status[3] = i
                status[0] = 1
            loss[i] = 0
            shift[i] = 0
            continue
        top = x[i, 0]
        for j in range(1, classes):
            top = larger(top, x[i, j])
        total = top - top
        for j in range(classes):
            total += exp(x[i, j] - top)
        log_sum = top + log(total)
        shift[i] = log_sum
        if smoothing == 0:
            loss[i] = log_sum - x[i, label]
        else:
            plain = x[i, 0]
            for j in range(1, classes):
                plain += x[i, j]
            loss[i] = log_sum - (1 - smoothing) * x[i, label] - smoothing * plain / classes


def cross_entropy_grad_rows(out, dy, x, labels, shift, smoothing, start, stop):
    classes = x.shape[1]
    for i in range(start, stop):
        scale = dy[i]
        log_sum = shift[i]
        even = scale * smoothing / classes
        for j in range(classes):
            out[i, j] = exp(x[i, j] - log_sum) * scale - even
        label = labels[i]
        if 0 <= label < classes:
            out[i, label] -= scale * (1 - smoothing)


def _matrix(spec: Spec) -> tuple[int, int]:
    return math.prod(spec.shape[:-1]), spec.shape[-1]  # type: ignore[arg-type,return-value]  # a plan's sizes are integers


def _vector(spec: Spec) -> tuple[int]:
    return (math.prod(spec.shape),)  # type: ignore[arg-type]  # a plan's sizes are integers


@dataclass(frozen=True)
class _CrossEntropyGrad(Op):
    smoothing: float
    cpu = kernel(
        cross_entropy_grad_rows,
        views=lambda op, i, o: (
            [_matrix(o[0])],
            [_vector(i[0]), _matrix(i[1]), _vector(i[2]), _vector(i[3])],
        ),
        cost=8,
    )
    cuda = CudaLaunches("softmax:cross_entropy_grad")

    def infer(self, dy: Spec, x: Spec, labels: Spec, shift: Spec) -> Spec:
        return x


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Op):
    """-log softmax(x)[label] for logits (..., C) and integer labels (...); a second output serves the
    gradient.

    Args:
        smoothing: how much of each label's weight is spread evenly over all classes (Szegedy et al., 2016).
    """

    smoothing: float = 0.0
    cpu = kernel(
        cross_entropy_rows,
        views=lambda op, i, o: ([_vector(o[0]), _vector(o[1])], [_matrix(i[0]), _vector(i[1])]),
        cost=8,
    )
    cuda = CudaLaunches("softmax:cross_entropy")

    def infer(self, x: Spec, labels: Spec) -> tuple[Spec, Spec]:
        if not x.is_float:
            raise DtypeError(
                f"cross-entropy needs float logits, got {x.dtype}.", fix="convert: x.astype('float32')."
            )
        if labels.dtype not in INTEGERS:
            raise DtypeError(
                f"cross-entropy needs integer class labels, got {labels.dtype}.",
                fix="pass class numbers such as int64; for one-hot targets take argmax first.",
            )
        if x.ndim < 1 or labels.shape != x.shape[:-1]:
            raise ShapeError(
                f"cross-entropy needs logits (..., C) and labels (...), got {format_shape(x.shape)} and"
                f" {format_shape(labels.shape)}.",
                fix="labels are one class number for each row of logits, without a last axis.",
            )
        return Spec(labels.shape, x.dtype), Spec(labels.shape, x.dtype)

    def grad(self, dy: Any, y: Any, x: Value, labels: Value) -> tuple[Value, None]:
        return _CrossEntropyGrad(self.smoothing)(dy[0], x, labels, y[1]), None


def cross_entropy(logits: Value, labels: Value, smoothing: float = 0.0) -> Value:
    """-log softmax(logits)[label] for each row: logits (..., C), integer labels (...), losses (...)."""
    return SoftmaxCrossEntropy(smoothing)(logits, labels)[0]
