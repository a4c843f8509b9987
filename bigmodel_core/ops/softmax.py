"""Softmax, log-softmax and the cross-entropy of them: stable, and fused into one pass over the classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.cpu import softmax as cpu_kernels
from bigmodel_core.kernels.cuda import softmax as cuda_kernels
from bigmodel_core.ops.axes import normal_axis
from bigmodel_core.ops.comparison import not_equal, where
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.functions import exp
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import ones_like


@dataclass(frozen=True)
class _AlongAxis(Op):
    axis: int

    def infer(self, *inputs: Spec) -> Spec:
        x = inputs[0]
        check_floats(type(self).__name__, x)
        if x.shape[self.axis] == 0:
            raise ShapeError(f"{type(self).__name__} along an empty axis of {format_shape(x.shape)}.")
        return x


class _SoftmaxGrad(_AlongAxis):
    cpu = cpu_kernels.softmax_grad
    cuda = cuda_kernels.softmax_grad

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, y = inputs
        return (y * (dy - sum_(dy * y, self.axis, keepdims=True)),)


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along an axis."""

    cpu = cpu_kernels.softmax
    cuda = cuda_kernels.softmax

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_SoftmaxGrad(self.axis)(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Softmax(x, axis=self.axis)


class _LogSoftmaxGrad(_AlongAxis):
    cpu = cpu_kernels.log_softmax_grad
    cuda = cuda_kernels.log_softmax_grad

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, y = inputs
        return (dy - exp(y) * sum_(dy, self.axis, keepdims=True),)


class LogSoftmax(_AlongAxis):
    """The logarithm of softmax along an axis."""

    cpu = cpu_kernels.log_softmax
    cuda = cuda_kernels.log_softmax

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_LogSoftmaxGrad(self.axis)(dy, y),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.LogSoftmax(x, axis=self.axis)


def softmax(x: Value, axis: int = -1) -> Value:
    """exp(x) / sum(exp(x)) along an axis."""
    return Softmax(normal_axis(axis, x.ndim))(x)


def log_softmax(x: Value, axis: int = -1) -> Value:
    """The logarithm of softmax along an axis."""
    return LogSoftmax(normal_axis(axis, x.ndim))(x)


# Cross-entropy -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossEntropyGrad(Op):
    """The gradient of `SoftmaxCrossEntropy`, of those of the losses, the logits, labels and the shift."""

    smoothing: float
    ignore: int | None = None
    cpu = cpu_kernels.cross_entropy_grad
    cuda = cuda_kernels.cross_entropy_grad

    def infer(self, dy: Spec, x: Spec, labels: Spec, shift: Spec) -> Spec:
        return x

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[Value, Value, None, None]:
        """The shift is a function of x, and differentiated as one."""
        upstream, x, labels, shift = inputs
        slopes = self(ones_like(upstream), x, labels, shift)
        along = x.ndim - 1
        if self.ignore is not None:
            upstream = where(not_equal(labels, self.ignore), upstream, 0.0)
        weight = dy * upstream.reshape(*upstream.shape, 1)
        return sum_(dy * slopes, along), _SoftmaxGrad(along)(weight, Softmax(along)(x)), None, None


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Op):
    """-log softmax(x)[label] for logits (..., C) and integer labels (...); a second output serves the
    gradient.

    Args:
        smoothing: how much of each label's weight is spread evenly over all classes (Szegedy et al., 2016).
        ignore: a label whose loss is 0.
    """

    smoothing: float = 0.0
    ignore: int | None = None
    cpu = cpu_kernels.cross_entropy
    cuda = cuda_kernels.cross_entropy

    def infer(self, x: Spec, labels: Spec) -> tuple[Spec, Spec]:
        if not x.is_float:
            raise DtypeError(
                f"cross-entropy needs float logits, got {x.dtype}.", fix="convert: x.astype('float32')."
            )
        if not labels.is_integer:
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
        return CrossEntropyGrad(self.smoothing, self.ignore)(dy[0], x, labels, y[1]), None


def cross_entropy(logits: Value, labels: Value, smoothing: float = 0.0, ignore: int | None = None) -> Value:
    """-log softmax(logits)[label] for each row: logits (..., C), integer labels (...), losses (...).

    Args:
        logits: scores of the classes.
        labels: numbers of classes.
        smoothing: how much of each label's weight is spread evenly over all classes.
        ignore: a label that counts nothing, such as -1: its loss and its gradient are 0.

    Raises:
        ShapeError, DtypeError: the labels are no integers, or not one for each row.
        DataError: at run time, a label is no class.
    """
    return SoftmaxCrossEntropy(smoothing, None if ignore is None else int(ignore))(logits, labels)[0]


__all__ = ["cross_entropy", "log_softmax", "softmax"]
