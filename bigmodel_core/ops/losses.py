"""Losses as fused and stable ops: binary cross-entropy, Huber, hinge, and the check of labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, fabs, log1p
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.cpu import losses as cpu_kernels
from bigmodel_core.kernels.cuda import losses as cuda_kernels
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.activations import sigmoid
from bigmodel_core.ops.elementwise import ElementwiseOp, check_same_shape
from bigmodel_core.ops.functions import clip
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import ones_like

# Elementwise ------------------------------------------------------------------------------------------------


def _binary_cross_entropy(x, target):
    wrong = 1 - target if x > 0 else target  # the share of the other side
    return (0 if wrong == 0 else fabs(x) * wrong) + log1p(exp(-fabs(x)))


def _binary_cross_entropy_grad(dy, x, target):
    e = exp(-fabs(x))
    return dy * ((1 / (1 + e) if x > 0 else e / (1 + e)) - target)


class _BinaryCrossEntropyGrad(ElementwiseOp):
    cpu, cuda = elementwise(_binary_cross_entropy_grad)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        dy, x, target = inputs
        return (dy * (sigmoid(x) - target),)


class BinaryCrossEntropy(ElementwiseOp):
    """-target * log(sigmoid(x)) - (1 - target) * log(1 - sigmoid(x)), without overflow for any x."""

    floats_only = True
    cpu, cuda = elementwise(_binary_cross_entropy)

    def infer(self, x: Spec, target: Spec) -> Spec:
        check_same_shape("binary cross-entropy", x, target, "logits and targets")
        return super().infer(x, target)

    def grad(self, dy: Value, y: Value, x: Value, target: Value) -> tuple[Value, Value]:
        return _BinaryCrossEntropyGrad()(dy, x, target), -dy * x

    def onnx(self, emit: Any, x: Any, target: Any) -> Any:
        return emit.Sub(emit.Softplus(x), emit.Mul(x, target))


def _huber(x, delta):
    a = fabs(x)
    return 0.5 * x * x if a <= delta else delta * (a - 0.5 * delta)


@dataclass(frozen=True)
class Huber(ElementwiseOp):
    """x * x / 2 near zero and delta * (|x| - delta / 2) beyond delta (Huber, 1964)."""

    delta: float = 1.0
    floats_only = True
    cpu, cuda = elementwise(_huber)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (dy * clip(x, -self.delta, self.delta),)

    def onnx(self, emit: Any, x: Any) -> Any:
        near = emit.Min(emit.Abs(x), emit.const(self.delta))
        return emit.Mul(near, emit.Sub(emit.Abs(x), emit.Mul(near, emit.const(0.5))))


# Labels -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelNumbers(Op):
    """Integer labels as floats; a run that meets one below 0 or not below `classes` stops with DataError."""

    classes: int
    dtype: str = "float32"
    cpu = cpu_kernels.label_numbers
    cuda = cuda_kernels.label_numbers

    def infer(self, labels: Spec) -> Spec:
        if not labels.is_integer:
            raise DtypeError(
                f"expected integer class labels, got {labels.dtype}.", fix="convert: y.astype('int64')."
            )
        return labels.with_dtype(self.dtype)

    def grad(self, dy: Value, y: Value, labels: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, labels: Any) -> Any:
        return emit.cast(labels, self.dtype)


# Hinge ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _HingeGrad(Op):
    classes: int
    cpu = cpu_kernels.hinge_grad
    cuda = cuda_kernels.hinge_grad

    def infer(self, dy: Spec, labels: Spec, rival: Spec) -> Spec:
        return dy.with_shape((*dy.shape, self.classes))

    def grad(
        self, dy: Value, y: Value, upstream: Value, labels: Value, rival: Value
    ) -> tuple[Value, None, None]:
        slopes = self(ones_like(upstream), labels, rival)
        return sum_(dy * slopes, -1), None, None


@dataclass(frozen=True)
class MultiClassHinge(Op):
    """max(0, margin + best wrong score - right score) (Crammer and Singer, 2001).

    Takes scores (..., C) and integer labels (...). A second output names the class that the gradient pushes
    down, -1 where the margin is kept.
    """

    margin: float = 1.0
    cpu = cpu_kernels.hinge
    cuda = cuda_kernels.hinge

    def infer(self, x: Spec, labels: Spec) -> tuple[Spec, Spec]:
        if not x.is_float:
            raise DtypeError(f"hinge needs float scores, got {x.dtype}.", fix="convert: x.astype('float32').")
        if not labels.is_integer:
            raise DtypeError(
                f"hinge needs integer class labels, got {labels.dtype}.",
                fix="pass class numbers such as int64.",
            )
        if x.ndim < 1 or labels.shape != x.shape[:-1]:
            raise ShapeError(
                "hinge needs scores (..., C) and labels (...), "
                f"got {format_shape(x.shape)} and {format_shape(labels.shape)}.",
                fix="labels are one class number for each row of scores, without a last axis.",
            )
        if isinstance(x.shape[-1], str) or x.shape[-1] < 2:
            raise ShapeError(
                f"hinge over classes needs two scores or more for each sample, got {format_shape(x.shape)}.",
                fix="give the model one output for each class.",
            )
        return Spec(labels.shape, x.dtype), Spec(labels.shape, "int64")

    def grad(self, dy: Any, y: Any, x: Value, labels: Value) -> tuple[Value, None]:
        return _HingeGrad(x.shape[-1])(dy[0], labels, y[1]), None  # type: ignore[arg-type]  # a plan's sizes are integers


def binary_cross_entropy(logits: Value, targets: Value) -> Value:
    """The binary cross-entropy of logits and float targets of the same shape, for each number."""
    return BinaryCrossEntropy()(logits, targets)


def huber(x: Value, delta: float = 1.0) -> Value:
    """x * x / 2 near zero and delta * (|x| - delta / 2) beyond delta."""
    return Huber(float(delta))(x)


def label_values(labels: Value, classes: int, dtype: str) -> Value:
    """Integer labels as floats, checked at run time to be from 0 to classes - 1."""
    return LabelNumbers(classes, dtype)(labels)


def multi_class_hinge(scores: Value, labels: Value, margin: float = 1.0) -> Value:
    """max(0, margin + best wrong score - right score): scores (..., C), labels (...), losses (...)."""
    return MultiClassHinge(float(margin))(scores, labels)[0]


__all__ = ["binary_cross_entropy", "huber", "label_values", "multi_class_hinge"]
