"""Arrays with a block replaced, as caches of keys and values are written; and such a block by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Dim, Shape, Spec, dim_value, format_shape
from bigmodel_core.kernels.cpu import updates as cpu_kernels
from bigmodel_core.kernels.cuda import updates as cuda_kernels
from bigmodel_core.ops.comparison import cast
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.ops.shape import reshape, zeros_like


@dataclass(frozen=True)
class UpdateSlice(Op):
    """An array with a block replaced: inputs are the array, the block, and where that begins along the axes,
    a vector of int64.

    Where nothing needs the array afterwards, plans write the block into its memory.

    Args:
        axes: those along which the block may begin anywhere; along others it is as long as the array.
    """

    axes: tuple[int, ...]
    cpu = cpu_kernels.update_slice
    cuda = cuda_kernels.update_slice

    def infer(self, array: Spec, block: Spec, start: Spec) -> Spec:
        if block.dtype != array.dtype:
            raise DtypeError(
                f"UpdateSlice cannot write {block.dtype} into {array.dtype}.", fix="convert one of them."
            )
        _check_block(array, block.shape, self.axes, start)
        return array

    def grad(self, dy: Value, y: Value, array: Value, block: Value, start: Value) -> tuple[Any, ...]:
        rest = UpdateSlice(self.axes)(dy, zeros_like(block), start)
        return rest, SliceAt(self.axes, block.shape)(dy, start), None

    def onnx(self, emit: Any, array: Any, block: Any, start: Any) -> Any:
        shape = emit.inputs[1].shape
        order = [*self.axes, *(axis for axis in range(len(shape)) if axis not in self.axes)]
        if order == sorted(order):
            return emit.ScatterND(array, self._places(emit, shape, start), block)
        array, block = emit.Transpose(array, perm=order), emit.Transpose(block, perm=order)
        found = emit.ScatterND(array, self._places(emit, shape, start), block)
        return emit.Transpose(found, perm=[order.index(axis) for axis in range(len(shape))])

    def _places(self, emit: Any, shape: Shape, start: Any) -> Any:
        """Where each row of the block goes along the axes: (sizes along the axes..., len(axes))."""
        sizes = [shape[axis] for axis in self.axes]
        if all(isinstance(size, int) for size in sizes):
            grid = np.moveaxis(np.indices([int(size) for size in sizes]), 0, -1)
            return emit.fold(lambda first: grid + first, start) or emit.Add(emit.const(grid, "int64"), start)
        along = []
        for number, size in enumerate(sizes):
            count = emit.Squeeze(emit.shape((size,)), emit.ints((0,)))
            numbers = emit.Range(emit.const(0, "int64"), count, emit.const(1, "int64"))
            there = emit.Add(numbers, emit.Gather(start, emit.ints((number,))))
            flat = [1] * len(sizes)
            flat[number] = -1
            there = emit.Reshape(there, emit.ints((*flat, 1)))
            along.append(emit.Expand(there, emit.shape((*sizes, 1))) if len(sizes) > 1 else there)
        return emit.Concat(*along, axis=len(sizes)) if len(along) > 1 else along[0]


@dataclass(frozen=True)
class SliceAt(Op):
    """A block of an array: inputs are the array, and where the block begins, as for `UpdateSlice`.

    Args:
        axes: those along which the block may begin anywhere.
        shape: the block's.
    """

    axes: tuple[int, ...]
    shape: Shape
    exported: ClassVar[bool] = False
    cpu = cpu_kernels.slice_at
    cuda = cuda_kernels.slice_at

    def bind(self, sizes: Any) -> SliceAt:
        return replace(self, shape=tuple(dim_value(dim, sizes) for dim in self.shape))

    def infer(self, array: Spec, start: Spec) -> Spec:
        _check_block(array, self.shape, self.axes, start)
        return array.with_shape(self.shape)

    def grad(self, dy: Value, y: Value, array: Value, start: Value) -> tuple[Value, None]:
        return UpdateSlice(self.axes)(zeros_like(array), dy, start), None


def _check_block(array: Spec, block: Shape, axes: tuple[int, ...], start: Spec) -> None:
    fits = len(block) == array.ndim and all(
        not isinstance(part, int) or not isinstance(whole, int) or part <= whole
        if axis in axes
        else part == whole
        for axis, (part, whole) in enumerate(zip(block, array.shape, strict=True))
    )
    if not fits:
        raise ShapeError(
            f"a block {format_shape(block)} is no part of an array {format_shape(array.shape)}.",
            fix="give the block as many axes as the array, none of them longer.",
        )
    if start.shape != (len(axes),) or start.dtype != "int64":
        raise ShapeError(f"the block begins at {start}, expected an int64 for each axis {axes}.")


def update_slice(array: Value, value: Value, start: Value | Sequence[int | Value]) -> Value:
    """The array with a block of it replaced by a value, from `start` on along each axis.

    Where nothing needs the array afterwards, as with state that is carried and assigned, the value is
    written into its memory, and nothing else is copied.

    Args:
        array: any array.
        value: as many axes, none longer.
        start: where the value begins along each axis: numbers (below 0 from the end), or Values of integers
            that are known when the model runs; or one Value (axes,).

    Raises:
        ShapeError: the value does not fit into the array there.
        DtypeError: the two have different number types, or `start` is no integer.
        DataError: at run time, the value would run past an end of the array.
    """
    if value.ndim != array.ndim or array.ndim == 0:
        raise ShapeError(
            f"a value {format_shape(value.shape)} is no part of an array {format_shape(array.shape)}.",
            fix="give the value as many axes as the array.",
        )
    if isinstance(start, Value):
        axes = list(range(array.ndim))
        if start.shape != (array.ndim,):
            raise ShapeError(
                f"start is {format_shape(start.shape)}, expected {format_shape((array.ndim,))}.",
                fix="name where the value begins along each axis.",
            )
        return UpdateSlice(tuple(axes))(array, value, _integers(start))
    if len(start) != array.ndim:
        raise ShapeError(
            f"start names {len(start)} axes of {format_shape(array.shape)}.",
            fix="name where the value begins along each axis.",
        )
    places: dict[int, int | Value] = {}
    for axis, item in enumerate(start):
        size, part = array.shape[axis], value.shape[axis]
        place = item if isinstance(item, Value) else _counted(item, size, part, axis)
        if isinstance(place, Value) or place != 0 or part != size:
            places[axis] = place
    if not places:
        UpdateSlice(()).infer(array.spec, value.spec, Spec((0,), "int64"))
        return value
    graph = array.node.graph
    numbers = [place for place in places.values() if not isinstance(place, Value)]
    if len(numbers) == len(places):
        begin = graph.constant(numbers, "int64")
    else:
        parts = [
            reshape(_integers(place), (1,)) if isinstance(place, Value) else graph.constant([place], "int64")
            for place in places.values()
        ]
        begin = parts[0] if len(parts) == 1 else concatenate(parts, 0)
    return UpdateSlice(tuple(places))(array, value, begin)


def _counted(item: int, size: Dim, part: Dim, axis: int) -> int:
    """A place counted from the beginning of an axis."""
    place = int(item)
    if place < 0 and isinstance(size, int):
        place += size
    late = isinstance(size, int) and isinstance(part, int) and place + part > size
    if place < 0 or late:
        raise ShapeError(
            f"a value of {part} from {item} on runs past axis {axis} of {size}.",
            fix="let it begin earlier, or write less." if late else "count from the beginning.",
        )
    return place


def _integers(place: Value) -> Value:
    if not place.spec.is_integer:
        raise DtypeError(f"start is {place.dtype}, expected integers.", fix="convert it: p.astype('int64').")
    return cast(place, "int64")


__all__ = ["update_slice"]
