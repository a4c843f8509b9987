"""Ops that see numbers in another shape: reshape, broadcast, transpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Constant, Op, Value
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    dim_divide,
    dim_product,
    dim_value,
    format_shape,
)
from bigmodel_core.kernels.cpu import shape as cpu_kernels
from bigmodel_core.kernels.cuda import shape as cuda_kernels
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.axes import normal_axis, several
from bigmodel_core.ops.elementwise import ElementwiseOp, broadcast_shape
from bigmodel_core.ops.reduce import reduce_to


@dataclass(frozen=True)
class Reshape(Op):
    """The same numbers in another shape; costs nothing."""

    shape: Shape
    alias: ClassVar[bool] = True
    """The output is the input's memory."""

    def infer(self, x: Spec) -> Spec:
        if dim_product(self.shape) != x.size:
            raise ShapeError(
                f"cannot reshape {format_shape(x.shape)} into {format_shape(self.shape)}: the number of"
                " elements differs.",
                fix="use -1 for one dimension to have it inferred.",
            )
        return x.with_shape(self.shape)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (reshape(dy, x.shape),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.reshape(x, self.shape)


def reshape(x: Value, shape: Sequence[Dim]) -> Value:
    """The same numbers in another shape; one dimension may be -1.

    Raises:
        ShapeError: the number of elements differs, or -1 cannot be inferred.
    """
    wanted = several(shape)
    if wanted.count(-1) > 1:
        raise ShapeError(
            f"the shape {format_shape(wanted)} has more than one -1.",
            fix="leave one dimension to be inferred.",
        )
    if -1 in wanted:
        known = dim_product(dim for dim in wanted if dim != -1)
        before, after = list(x.shape), []
        for dim in wanted:  # sums of names do not divide as numbers do: what is in both is left out
            if dim in before and dim != 0:
                before.remove(dim)
            elif dim != -1:
                after.append(dim)
        rest = dim_divide(dim_product(before), dim_product(after))
        if rest is None:
            raise ShapeError(
                f"cannot reshape {format_shape(x.shape)} into {format_shape(wanted)}: "
                f"{x.spec.size} elements do not divide by {known}."
            )
        wanted = tuple(rest if dim == -1 else dim for dim in wanted)
    return x if wanted == x.shape else Reshape(wanted)(x)


def flatten(x: Value, start: int = 1) -> Value:
    """Joins all dimensions from `start` on."""
    return reshape(x, (*x.shape[:start], dim_product(x.shape[start:])))


@dataclass(frozen=True)
class BroadcastTo(ElementwiseOp):
    """The array broadcast to a shape."""

    shape: Shape
    cpu, cuda = elementwise(lambda x: x)

    def bind(self, sizes: Mapping[str, int]) -> BroadcastTo:
        return BroadcastTo(tuple(dim_value(dim, sizes) for dim in self.shape))

    def infer(self, x: Spec) -> Spec:
        if broadcast_shape("BroadcastTo", x.shape, self.shape) != self.shape:
            raise ShapeError(f"cannot broadcast {format_shape(x.shape)} to {format_shape(self.shape)}.")
        return x.with_shape(self.shape)

    def permuted(self, order: tuple[int, ...], x: Spec) -> BroadcastTo | None:
        if len(self.shape) != len(order):
            return None
        return BroadcastTo(tuple(self.shape[axis] for axis in order))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (reduce_to(dy, x.shape),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.expand(x, self.shape)


def broadcast_to(x: Value, shape: Shape) -> Value:
    """The array broadcast to a shape."""
    wanted = shape if type(shape) is tuple else several(shape)
    return x if x.shape == wanted else BroadcastTo(wanted)(x)


def zeros_like(x: Value) -> Value:
    """Zeros of the same shape and type."""
    return broadcast_to(x.node.graph.constant(0, x.dtype), x.shape)


def is_zero(value: Value) -> bool:
    """Whether a value is zeros that are known now, as the gradient of an unused output is."""
    op = value.node.op
    if isinstance(op, BroadcastTo):
        op = value.node.inputs[0].node.op
    return isinstance(op, Constant) and not op.array.any()


def ones_like(x: Value) -> Value:
    """Ones of the same shape and type."""
    return broadcast_to(x.node.graph.constant(1, x.dtype), x.shape)


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""

    permutation: tuple[int, ...]
    cpu = cpu_kernels.transpose
    cuda = cuda_kernels.transpose

    def infer(self, x: Spec) -> Spec:
        if sorted(self.permutation) != list(range(x.ndim)):
            raise ShapeError(
                f"{self.permutation} is not a permutation of the axes of {format_shape(x.shape)}.",
                fix=f"name each axis from 0 to {x.ndim - 1} once.",
            )
        return x.with_shape(x.shape[axis] for axis in self.permutation)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (transpose(dy, tuple(self.permutation.index(axis) for axis in range(x.ndim))),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Transpose(x, perm=list(self.permutation))


def transpose(x: Value, permutation: Sequence[int] | None = None) -> Value:
    """The axes in another order (reversed by default).

    Raises:
        ShapeError: an axis is out of range, or not each is named once.
    """
    given = reversed(range(x.ndim)) if permutation is None else several(permutation)
    order = tuple(normal_axis(axis, x.ndim) for axis in given)
    if isinstance(x.node.op, Transpose) and sorted(order) == list(range(x.ndim)):  # one move, or none
        before = x.node.op.permutation
        return transpose(x.node.inputs[0], tuple(before[axis] for axis in order))
    return x if order == tuple(range(x.ndim)) else Transpose(order)(x)


__all__ = ["broadcast_to", "flatten", "reshape", "transpose", "zeros_like"]
