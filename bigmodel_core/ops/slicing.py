"""Slices along one axis, forwards and backwards, and NumPy's basic indexing, which is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    canonical,
    dim_add,
    dim_floor_divide,
    dim_max,
    dim_min,
    dim_multiply,
    dim_value,
    format_shape,
)
from bigmodel_core.kernels.cpu import slicing as cpu_kernels
from bigmodel_core.kernels.cuda import slicing as cuda_kernels
from bigmodel_core.ops.axes import integer, with_axis
from bigmodel_core.ops.creation import counted
from bigmodel_core.ops.sizes import size_of_dimension


@dataclass(frozen=True)
class Slice(Op):
    """`length` elements along one axis from `start` on, each `step`-th.

    Args:
        axis: which axis.
        start: the first element; a negative number counts from the end.
        length: how many.
        step: distance between neighbours; below 0 they are taken backwards.
    """

    axis: int
    start: Dim
    length: Dim
    step: int = 1
    cpu = cpu_kernels.slice_
    cuda = cuda_kernels.slice_

    def bind(self, sizes: Mapping[str, int]) -> Slice:
        """The same with named dimensions replaced by sizes."""
        start, length = dim_value(self.start, sizes), dim_value(self.length, sizes)
        if start < 0 and isinstance(self.start, str) and (length or self.step > 0):
            raise ShapeError(
                f"a slice that starts at {self.start} would start at {start}.", fix="use longer sequences."
            )
        return replace(self, start=start, length=length)

    def bound_start(self, whole: Spec) -> int:
        """The first element's position, once sizes are known."""
        assert isinstance(self.start, int)
        size = whole.shape[self.axis]
        assert isinstance(size, int)
        return self.start + size if self.start < 0 else self.start

    def infer(self, x: Spec) -> Spec:
        size = x.shape[self.axis]
        if isinstance(size, int) and isinstance(self.start, int) and isinstance(self.length, int):
            first = self.bound_start(x)
            ends = (first, first + (self.length - 1) * self.step) if self.length else (max(first - 1, 0),)
            if (size and not all(0 <= place < size for place in ends)) or (self.length and not size):
                raise ShapeError(
                    f"the slice from {self.start}, {self.length} long, runs past axis {self.axis} of"
                    f" {format_shape(x.shape)}."
                )
        return x.with_shape(self.length if axis == self.axis else dim for axis, dim in enumerate(x.shape))

    def permuted(self, order: tuple[int, ...], x: Spec) -> Slice:
        return replace(self, axis=order.index(self.axis))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        if (self.start, self.step) == (-1, -1) and self.length == x.shape[self.axis]:
            return (self(dy),)  # all of it, turned round
        return (_SliceGrad(self.axis, self.start, self.length, self.step, x.shape)(dy),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.slice(x, self.axis, self.start, self.length, self.step)


@dataclass(frozen=True)
class _SliceGrad(Op):
    axis: int
    start: Dim
    length: Dim
    step: int
    shape: Shape
    cpu = cpu_kernels.slice_grad
    cuda = cuda_kernels.slice_grad

    def forward(self) -> Slice:
        return Slice(self.axis, self.start, self.length, self.step)

    def bind(self, sizes: Mapping[str, int]) -> _SliceGrad:
        bound = self.forward().bind(sizes)
        shape = tuple(dim_value(dim, sizes) for dim in self.shape)
        return replace(self, start=bound.start, length=bound.length, shape=shape)

    def infer(self, dy: Spec) -> Spec:
        return dy.with_shape(self.shape)

    def permuted(self, order: tuple[int, ...], dy: Spec) -> _SliceGrad:
        return replace(self, axis=order.index(self.axis), shape=tuple(self.shape[axis] for axis in order))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (self.forward()(dy),)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """As files have it: written to where it was taken."""
        (dy,) = inputs
        graph, size, ops = dy.node.graph, self.shape[self.axis], operations()
        is_from_end = isinstance(self.start, int) and self.start < 0
        first = size_of_dimension(dim_add(size, self.start) if is_from_end else self.start, graph, "int64")
        places = counted(graph, self.length) * self.step + first
        along = ops.reshape(places, with_axis((1,) * len(self.shape), self.axis, self.length))
        nothing = ops.broadcast_to(graph.constant(0, dy.dtype), self.shape)
        return (ops.scatter(nothing, along, dy, self.axis),)


def index(x: Value, key: Any) -> Value:
    """NumPy's basic slicing: integers, slices, `...` and None.

    Slices are cut at the ends of an axis, of a free dimension too: `x[:, :10]` of ("N", "T") has
    min(T, 10) columns. A bound may be a named dimension, which must be on the axis.

    Raises:
        ShapeError: more indices than dimensions, an index out of range, or one of another kind, as an array.
    """
    from bigmodel_core.ops.shape import reshape

    keys = [_basic(item) for item in (key if isinstance(key, tuple) else (key,))]
    if keys.count(Ellipsis) > 1:
        raise ShapeError("an index contains more than one '...'.")
    given = len([item for item in keys if item is not None and item is not Ellipsis])
    if given > x.ndim:
        raise ShapeError(f"{given} indices for {x.ndim} dimensions {format_shape(x.shape)}.")
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - given)
    shape: list[Dim] = []
    axis = 0
    for item in keys:
        if item is None:
            shape.append(1)
            continue
        if isinstance(item, (int, str)):
            x = _sliced(x, axis, item, 1, 1)
        else:
            x = _range(x, axis, item)
            shape.append(x.shape[axis])
        axis += 1
    return reshape(x, (*shape, *x.shape[axis:]))


def _basic(item: Any) -> Any:
    """An index with integers of any kind as Python's own, and texts as the dimensions that they are.

    Raises:
        ShapeError: it is none of NumPy's basic ones.
    """
    if not isinstance(item, slice):
        return item if item is None or item is Ellipsis else _place(item)
    bounds = (item.start, item.stop, item.step)
    start, stop, step = (None if bound is None else _place(bound) for bound in bounds)
    if isinstance(step, str) or step == 0:
        raise ShapeError(f"a slice has the step {step}.", fix="use an integer other than 0.")
    return slice(start, stop, step)


def _place(item: Any) -> Dim:
    if isinstance(item, str):
        return canonical(item)
    place = integer(item)
    if place is not None:
        return place
    raise ShapeError(
        f"cannot index with {item!r}.",
        fix="use integers, slices, ... and None; bm.ops.gather takes rows by number, bm.ops.where by truth.",
    )


def _range(x: Value, axis: int, item: slice) -> Value:
    size = x.shape[axis]
    named = isinstance(size, str) or isinstance(item.start, str) or isinstance(item.stop, str)
    step = 1 if item.step is None else item.step
    if not named:
        start, stop, step = item.indices(size)  # type: ignore[arg-type]  # not named: an integer
        return _sliced(x, axis, start, len(range(start, stop, step)), step)
    if step < 0:
        return _backwards(x, axis, item.start, item.stop, -step)
    first, length = bounded(size, item.start, item.stop)
    return _sliced(x, axis, first, dim_floor_divide(dim_add(length, step - 1), step), step)


def _backwards(x: Value, axis: int, start: Dim | None, stop: Dim | None, step: int) -> Value:
    """A slice of a free axis from its end on: of the reversed axis, where ~0 is 0, if it has bounds."""
    size = x.shape[axis]
    if start is None and stop is None:
        return _sliced(x, axis, -1, dim_floor_divide(dim_add(size, step - 1), step), -step)
    if isinstance(start, str) or isinstance(stop, str):
        raise ShapeError("a backward slice has a named dimension as a bound.", fix="use integers, or flip.")
    turned = Slice(axis, -1, size, -1)(x)
    first, last = (end if end is None else ~end for end in (start, stop))
    return _range(turned, axis, slice(first, last, step))


_FAR = 2**31 - 1
"""A bound this large means the end of an axis, or its beginning."""


def bounded(size: Dim, start: Dim | None, stop: Dim | None) -> tuple[Dim, Dim]:
    """Where a slice of an axis begins and how long it is, in any sizes of named dimensions.

    Args:
        size: that of the axis.
        start: a number, counted from the end where it is negative and cut at both ends as in NumPy; or a
            named dimension, which must be on the axis. None is the beginning.
        stop: the first element behind the slice, in the same manner. None is the end.

    >>> bounded("T", None, 10), bounded("T", 1, -1)
    ((0, 'min(T, 10)'), (1, 'T - min(T, 2)'))
    """
    start = 0 if start is None else start
    first = _on_axis(size, start)
    if stop is None or (isinstance(stop, int) and stop >= _FAR):
        return first, dim_add(size, dim_multiply(first, -1))
    length = dim_add(_on_axis(size, stop), dim_multiply(first, -1))
    if isinstance(start, str) or isinstance(stop, str):
        return first, length
    if (start < 0) == (stop < 0):  # both are cut in the same place
        return first, length if start < stop else 0
    if start >= 0:
        return first, dim_max(dim_add(size, stop - start), 0)
    return first, dim_max(length, 0)


def _on_axis(size: Dim, bound: Dim) -> Dim:
    if isinstance(bound, str):
        return bound
    if abs(bound) >= _FAR:
        return size if bound > 0 else 0
    return dim_min(size, bound) if bound >= 0 else dim_max(dim_add(size, bound), 0)


def _sliced(x: Value, axis: int, start: Dim, length: Dim, step: int) -> Value:
    size = x.shape[axis]
    if isinstance(size, int) and isinstance(start, int) and length == 1 and not -size <= start < size:
        raise ShapeError(f"index {start} is out of range for axis {axis} of {format_shape(x.shape)}.")
    if (start == 0 and length == size and step == 1) or (length == size == 1):
        return x
    return Slice(axis, start, length, step)(x)


__all__ = ["index"]
