"""Elements picked by numbers that are computed: along an axis, place by place, by coordinates; one-hot rows.

Indices count from 0. One that is negative or past the end stops the run with an error, as in PyTorch: a -1
that stands for "nothing" never picks the last element unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.dtypes import INDICES
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import Shape, Spec, broadcast, dim_product, format_shape
from bigmodel_core.kernels.cpu import indexing as cpu_kernels
from bigmodel_core.kernels.cuda import indexing as cuda_kernels
from bigmodel_core.ops.arithmetic import maximum
from bigmodel_core.ops.axes import integer, normal_axis, with_axis
from bigmodel_core.ops.comparison import cast, equal, where
from bigmodel_core.ops.positions import Positions
from bigmodel_core.ops.shape import broadcast_to, reshape, zeros_like
from bigmodel_core.ops.sizes import size_of_dimension
from bigmodel_core.ops.slicing import index


def check_indices(name: str, indices: Spec) -> None:
    """Raise DtypeError where indices are no integers that name places."""
    if indices.dtype not in INDICES:
        raise DtypeError(
            f"{name} needs {' or '.join(INDICES)} indices, got {indices.dtype}.",
            fix="convert: i.astype('int64').",
        )


@dataclass(frozen=True)
class Gather(Op):
    """The slices of a table along an axis that indices name; their shape takes the axis's place.

    Args:
        axis: counted from the first one.
        padded: whether -1 names no slice, and gives zeros.
    """

    axis: int = 0
    padded: bool = False
    cpu = cpu_kernels.gather
    cuda = cuda_kernels.gather

    def infer(self, table: Spec, indices: Spec) -> Spec:
        check_indices("Gather", indices)
        if table.ndim <= self.axis:
            raise ShapeError(f"Gather needs a table of rows, got {format_shape(table.shape)}.")
        return table.with_shape((*table.shape[: self.axis], *indices.shape, *table.shape[self.axis + 1 :]))

    def grad(self, dy: Value, y: Value, table: Value, indices: Value) -> tuple[Value, None]:
        return _GatherGrad(self.axis, table.shape, self.padded)(dy, indices), None

    def onnx(self, emit: Any, table: Any, indices: Any) -> Any:
        if not self.padded:
            return emit.Gather(table, indices, axis=self.axis or None)
        dtype, (rows, places) = emit.inputs[1].dtype, emit.inputs
        none = emit.const(0, dtype)
        found = emit.Gather(table, emit.Max(indices, none), axis=self.axis or None)
        along = (*places.shape, *(1,) * (rows.ndim - 1 - self.axis))
        named = emit.GreaterOrEqual(indices, none)
        if len(along) > places.ndim:
            named = emit.Unsqueeze(named, emit.ints(tuple(range(places.ndim, len(along)))))
        return emit.Where(named, found, emit.const(0, rows.dtype))


@dataclass(frozen=True)
class _GatherGrad(Op):
    axis: int
    shape: Shape
    padded: bool = False
    cpu = cpu_kernels.gather_grad
    cuda = cuda_kernels.gather_grad

    def infer(self, dy: Spec, indices: Spec) -> Spec:
        return dy.with_shape(self.shape)

    def grad(self, dy: Value, y: Value, upstream: Value, indices: Value) -> tuple[Value, None]:
        return Gather(self.axis, self.padded)(dy, indices), None

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """As files have it: every line of the axis along which indices count gets its numbers."""
        dy, indices = inputs
        if self.padded:  # what no index names adds zeros to the first line
            after = (1,) * (len(self.shape) - 1 - self.axis)
            dy = where(reshape(indices >= 0, (*indices.shape, *after)), dy, 0.0)
            indices = maximum(indices, 0)
        count = dim_product(indices.shape)
        along = reshape(indices, with_axis((1,) * len(self.shape), self.axis, count))
        nothing = broadcast_to(dy.node.graph.constant(0, dy.dtype), self.shape)
        rows = reshape(dy, with_axis(self.shape, self.axis, count))
        return (operations().scatter(nothing, along, rows, self.axis, "add"),)


def gather(table: Value, indices: Value, axis: int = 0, padded: bool = False) -> Value:
    """The slices of a table along an axis that indices name: `numpy.take`, and `table[indices]` for axis 0.

    Args:
        table: any array.
        indices: int32 or int64, of any shape, which takes the place of the axis in the result; from 0 on.
        axis: which axis they count along.
        padded: whether -1 stands for no slice, and gives zeros.

    Raises:
        ShapeError: the table has no such axis.
        DtypeError: the indices are no integers.
        DataError: at run time, an index is negative (but for the -1 of padding) or past the end.
    """
    return Gather(normal_axis(axis, table.ndim) if table.ndim else 0, bool(padded))(table, indices)


# Place by place -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TakeAlong(Op):
    """At each place, the element of its line along an axis that the index there names.

    Args:
        axis: counted from the first one; along others, indices are as long as the array.
    """

    axis: int
    cpu = cpu_kernels.take_along
    cuda = cuda_kernels.take_along

    def infer(self, x: Spec, indices: Spec) -> Spec:
        check_indices("TakeAlong", indices)
        return x.with_shape(indices.shape)

    def grad(self, dy: Value, y: Value, x: Value, indices: Value) -> tuple[Value, None]:
        return operations().scatter(zeros_like(x), indices, dy, self.axis, "add"), None

    def onnx(self, emit: Any, x: Any, indices: Any) -> Any:
        return emit.GatherElements(x, indices, axis=self.axis)


def take_along_axis(x: Value, indices: Value, axis: int = -1) -> Value:
    """At each place, the element of its line along an axis that the index there names: as in NumPy.

    `take_along_axis(x, argsort(x, 1), 1)` is x with sorted rows. Along the other axes, arrays and indices
    broadcast.

    Args:
        x: any array.
        indices: int32 or int64, of as many axes; from 0 on.
        axis: which axis they count along.

    Raises:
        ShapeError: the two have not as many axes, or do not broadcast along the others.
        DtypeError: the indices are no integers.
        DataError: at run time, an index is negative or past the end.
    """
    axis = normal_axis(axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ShapeError(
            f"take_along_axis needs indices of as many axes as the array {format_shape(x.shape)}, got"
            f" {format_shape(indices.shape)}.",
            fix="give them axes of size 1; to pick whole slices use bm.ops.gather.",
        )
    size, count = x.shape[axis], indices.shape[axis]
    try:
        common = broadcast(with_axis(x.shape, axis, 1), with_axis(indices.shape, axis, 1))
    except ShapeError:
        raise ShapeError(
            f"take_along_axis: {format_shape(x.shape)} and indices {format_shape(indices.shape)} do not"
            f" broadcast along the axes other than {axis}."
        ) from None
    whole = broadcast_to(x, with_axis(common, axis, size))
    return TakeAlong(axis)(whole, broadcast_to(indices, with_axis(common, axis, count)))


# By coordinates -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GatherND(Op):
    """The parts of an array whose first coordinates are the rows of the last axis of indices."""

    cpu = cpu_kernels.gather_nd
    cuda = cuda_kernels.gather_nd

    def infer(self, x: Spec, indices: Spec) -> Spec:
        check_indices("GatherND", indices)
        depth = indices.shape[-1] if indices.ndim else 0
        if not isinstance(depth, int) or not 1 <= depth <= x.ndim:
            raise ShapeError(
                f"GatherND needs coordinates in the last axis of its indices, 1 to {x.ndim} of"
                f" {format_shape(x.shape)}, got indices {format_shape(indices.shape)}.",
                fix="stack the coordinates along a last axis.",
            )
        return x.with_shape((*indices.shape[:-1], *x.shape[depth:]))

    def grad(self, dy: Value, y: Value, x: Value, indices: Value) -> tuple[Value, None]:
        depth = indices.shape[-1]
        assert isinstance(depth, int)
        rows = (dim_product(x.shape[:depth]), *x.shape[depth:])
        return reshape(_GatherGrad(0, rows)(dy, flat_places(indices, x.shape[:depth])), x.shape), None

    def onnx(self, emit: Any, x: Any, indices: Any) -> Any:
        wide = emit.inputs[1].dtype == "int64"
        return emit.GatherND(x, indices if wide else emit.cast(indices, "int64"))


def flat_places(indices: Value, sizes: Shape) -> Value:
    """Coordinates in the last axis as the places they name in rows of axes laid out one after the other."""
    parts = [index(indices, (..., number)) for number in range(len(sizes))]
    flat = parts[0]
    for part, size in zip(parts[1:], sizes[1:], strict=True):
        flat = flat * size_of_dimension(size, flat.node.graph, flat.dtype) + part
    return flat


def gather_nd(x: Value, indices: Value) -> Value:
    """The parts of an array whose first coordinates are given: ONNX's GatherND.

    Args:
        x: any array.
        indices: int32 or int64 (..., D), each row the coordinates along the first D axes; from 0 on.

    Returns:
        (..., and the axes of x from D on).

    Raises:
        ShapeError: there are more coordinates than axes.
        DtypeError: the indices are no integers.
        DataError: at run time, a coordinate is negative or past the end of its axis.
    """
    return GatherND()(x, indices)


def one_hot(indices: Value, depth: int, dtype: str = "float32") -> Value:
    """Rows that are 1 at the place that an integer names, and 0 elsewhere: (...) to (..., depth).

    A number that names no place, such as -1, gives a row of zeros, as in JAX.

    Args:
        indices: integers.
        depth: how long rows are.
        dtype: the number type of the rows.

    Raises:
        DtypeError: the indices are no integers.
        ConfigError: the depth is no positive integer.
    """
    if not indices.spec.is_integer:
        check_indices("one_hot", indices.spec)
    count = integer(depth)
    if count is None or count < 1:
        raise ConfigError(f"the depth of one_hot is {depth!r}.", fix="use how many classes there are.")
    indices = cast(indices, "int64")
    places = Positions(count)(indices.node.graph.constant(0, "int64"))
    return equal(reshape(indices, (*indices.shape, 1)), places).astype(dtype)


__all__ = ["gather", "gather_nd", "one_hot", "take_along_axis"]
