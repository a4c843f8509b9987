"""Reductions: sum, mean, maximum, minimum, position of the largest; `sum`, `max`, `min` here take Values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import Shape, Spec, dim_product, format_shape
from bigmodel_core.kernels.cpu import reduce as cpu_kernels
from bigmodel_core.kernels.cuda import reduce as cuda_kernels
from bigmodel_core.ops.axes import Axes, normal_axes, normal_axis
from bigmodel_core.ops.elementwise import check_floats


@dataclass(frozen=True)
class Reduction(Op):
    """An op that makes one number out of those along some axes."""

    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self, x: Spec) -> Spec:
        axes = normal_axes(self.axes, x.ndim)
        if self.keepdims:
            return x.with_shape(1 if axis in axes else dim for axis, dim in enumerate(x.shape))
        return x.with_shape(dim for axis, dim in enumerate(x.shape) if axis not in axes)

    def permuted(self, order: tuple[int, ...], x: Spec) -> Self | None:
        """Only where the reduced axes are neighbours again and the others keep their order."""
        axes = tuple(sorted(order.index(axis) for axis in normal_axes(self.axes, x.ndim)))
        rest = [axis for axis in order if order.index(axis) not in axes]
        if not axes or axes[-1] - axes[0] + 1 != len(axes) or rest != sorted(rest):
            return None
        return replace(self, axes=axes)

    def kept(self, x: Spec) -> Shape:
        """The output's shape with the reduced axes kept as 1."""
        return tuple(1 if axis in self.axes else dim for axis, dim in enumerate(x.shape))


class Sum(Reduction):
    """The sum along axes; float32 is accumulated in float64 along rows, pairwise over blocks along
    columns."""

    cpu = cpu_kernels.sum_
    cuda = cuda_kernels.sum_

    def infer(self, x: Spec) -> Spec:
        if x.dtype == "bool":
            raise DtypeError("Sum needs numbers, got bool.", fix="convert: x.astype('int64').")
        return super().infer(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (operations().broadcast_to(dy.reshape(*self.kept(x.spec)), x.shape),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.ReduceSum(x, emit.ints(self.axes), keepdims=int(self.keepdims))


class SumSquare(Reduction):
    """The sum of squares along axes, none of which is stored; along rows in float64."""

    cpu = cpu_kernels.sum_square
    cuda = cuda_kernels.sum_square

    def infer(self, x: Spec) -> Spec:
        check_floats("SumSquare", x)
        return super().infer(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (x * (dy.reshape(*self.kept(x.spec)) * 2.0),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.reduce("ReduceSumSquare", x, self.axes, self.keepdims)


class _Extreme(Reduction):
    def infer(self, x: Spec) -> Spec:
        for axis in normal_axes(self.axes, x.ndim):
            if x.shape[axis] == 0:
                raise ShapeError(f"{type(self).__name__} along an empty axis of {format_shape(x.shape)}.")
        return super().infer(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        """Shared equally if several numbers are the extreme one, as NaN is if there is one."""
        ops, kept = operations(), self.kept(x.spec)
        chosen = ops.logical_or(ops.equal(x, y.reshape(*kept)), ops.not_equal(x, x))
        count = Sum(self.axes, keepdims=True)(chosen.astype(x.dtype))
        return (ops.where(chosen, dy.reshape(*kept) / count, 0.0),)


def _numbers(emit: Any, x: Any) -> Any:
    """What ONNX orders: truth values as 0 and 1."""
    return emit.cast(x, "uint8") if emit.inputs[0].dtype == "bool" else x


class Max(_Extreme):
    """The largest number along axes."""

    cpu = cpu_kernels.max_
    cuda = cuda_kernels.max_

    def onnx(self, emit: Any, x: Any) -> Any:
        found = emit.reduce("ReduceMax", _numbers(emit, x), self.axes, self.keepdims)
        return emit.cast(found, "bool") if emit.inputs[0].dtype == "bool" else found


class Min(_Extreme):
    """The smallest number along axes."""

    cpu = cpu_kernels.min_
    cuda = cuda_kernels.min_

    def onnx(self, emit: Any, x: Any) -> Any:
        found = emit.reduce("ReduceMin", _numbers(emit, x), self.axes, self.keepdims)
        return emit.cast(found, "bool") if emit.inputs[0].dtype == "bool" else found


class _Position(_Extreme):
    """Where an extreme number is along one axis, as int64: the first if there are several, NaN if there is
    one."""

    def infer(self, x: Spec) -> Spec:
        return super().infer(x).with_dtype("int64")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:  # type: ignore[override]  # integers have no gradient
        return (None,)


class ArgMax(_Position):
    """The position of the largest number along one axis, the first if there are several; int64."""

    cpu = cpu_kernels.argmax
    cuda = cuda_kernels.argmax

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.ArgMax(_numbers(emit, x), axis=self.axes[0], keepdims=int(self.keepdims))


class ArgMin(_Position):
    """The position of the smallest number along one axis, the first if there are several; int64."""

    cpu = cpu_kernels.argmin
    cuda = cuda_kernels.argmin

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.ArgMin(_numbers(emit, x), axis=self.axes[0], keepdims=int(self.keepdims))


def reduced(op: type[Reduction], x: Value, axis: Axes, keepdims: bool) -> Value:
    """Apply a reduction whose kernel takes neighbouring axes, transposing first if they are not."""
    axes = normal_axes(axis, x.ndim)
    if not axes:
        return x
    if axes[-1] - axes[0] + 1 == len(axes):
        return op(axes, keepdims)(x)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    moved = operations().transpose(x, rest + axes)
    result = op(tuple(range(len(rest), x.ndim)))(moved)
    return result.reshape(*op(axes, True).kept(x.spec)) if keepdims else result


def sum(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The sum along axes (all by default)."""
    return reduced(Sum, x, axis, keepdims)


def mean(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The mean along axes (all by default), for floats; NaN if there is nothing along them."""
    check_floats("mean", x.spec)
    count = dim_product(x.shape[axis] for axis in normal_axes(axis, x.ndim))
    total = sum(x, axis, keepdims)
    if isinstance(count, int):
        return total * (1.0 / count if count else math.nan)
    return total / operations().size_of(x, normal_axes(axis, x.ndim), x.dtype)


def max(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The largest number along axes (all by default)."""
    return reduced(Max, x, axis, keepdims)


def min(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The smallest number along axes (all by default)."""
    return reduced(Min, x, axis, keepdims)


def argmax(x: Value, axis: int = -1, keepdims: bool = False) -> Value:
    """The index of the largest number along an axis; int64."""
    return ArgMax((normal_axis(axis, x.ndim),), keepdims)(x)


def argmin(x: Value, axis: int = -1, keepdims: bool = False) -> Value:
    """The index of the smallest number along an axis; int64."""
    return ArgMin((normal_axis(axis, x.ndim),), keepdims)(x)


def reduce_to(x: Value, shape: Shape) -> Value:
    """Sum over the axes along which `shape` was broadcast: the gradient of broadcasting."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + axis for axis, dim in enumerate(shape) if dim == 1 and x.shape[lead + axis] != 1
    )
    return (sum(x, axes) if axes else x).reshape(*shape)


__all__ = ["argmax", "argmin", "max", "mean", "min", "reduce_to", "sum"]
