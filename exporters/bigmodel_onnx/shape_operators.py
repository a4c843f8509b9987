"""How operators that move numbers or see them in another shape are read."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    broadcast,
    dim_add,
    dim_floor_divide,
    dim_product,
    dim_subtract,
    format_shape,
)
from bigmodel_core.ops.creation import diagonal, numbers_between
from bigmodel_core.ops.slicing import Slice, bounded
from bigmodel_onnx.nodes import Call, dtype_of, reads
from bigmodel_onnx.selection import Selection
from bigmodel_onnx.shapes import Dims, part


@reads("Shape")
def _shape(call: Call) -> Dims:
    shape = call.value(0).shape
    return Dims(shape[call.get("start", 0) : call.get("end", None)])


@reads("Size")
def _size(call: Call) -> Dims:
    return Dims((call.value(0).spec.size,), True)


@reads("Reshape")
def _reshape(call: Call) -> Value:
    x, wanted = call.value(0), call.get("shape")
    wanted = call.dims(1).dims if wanted is None else tuple(wanted)  # up to opset 4, an attribute
    if not call.get("allowzero", 0):
        wanted = tuple(x.shape[place] if dim == 0 else dim for place, dim in enumerate(wanted))
    return ops.reshape(x, wanted)


@reads("Flatten")
def _flatten(call: Call) -> Value:
    x, given = call.value(0), call.get("axis", 1)
    axis = given + x.ndim if given < 0 else call.counted([given], x.ndim + 1)[0]
    return ops.reshape(x, (dim_product(x.shape[:axis]), dim_product(x.shape[axis:])))


@reads("Transpose")
def _transpose(call: Call) -> Value:
    x, order = call.value(0), call.get("perm")
    if order is None:
        return ops.transpose(x)
    if len(call.counted(order, x.ndim)) < x.ndim:
        raise ExportError(f"Transpose names {len(order)} of {x.ndim} axes.", fix="export the model again.")
    return ops.transpose(x, order)


@reads("Squeeze")
def _squeeze(call: Call) -> Value:
    """The axes that are named; if none is, those of size 1, which must be known now."""
    x = call.value(0)
    gone = call.axes(x.ndim)
    if gone is None:
        free = [str(dim) for dim in x.shape if not isinstance(dim, int)]
        if free:
            raise ExportError(
                f"Squeeze without axes of {format_shape(x.shape)} cannot be read: {free[0]} may be 1.",
                fix="name the axes in the file, or give it fixed sizes there.",
            )
        gone = [axis for axis, dim in enumerate(x.shape) if dim == 1]
    if any(x.shape[axis] != 1 for axis in gone):
        raise ExportError(
            f"Squeeze cannot take the axes {', '.join(map(str, gone))} from {format_shape(x.shape)}.",
            fix="fix those sizes to 1 in the file.",
        )
    return ops.reshape(x, tuple(dim for axis, dim in enumerate(x.shape) if axis not in gone))


@reads("Unsqueeze")
def _unsqueeze(call: Call) -> Value:
    x = call.value(0)
    count = len(call.attributes["axes"] if "axes" in call.attributes else call.dims(1).dims)
    rank = x.ndim + count
    new = call.axes(rank) or []
    rest = iter(x.shape)
    return ops.reshape(x, tuple(1 if axis in new else next(rest) for axis in range(rank)))


@reads("Expand")
def _expand(call: Call) -> Value:
    x = call.value(0)
    return ops.broadcast_to(x, broadcast(x.shape, call.dims(1).dims))


@reads("ConstantOfShape")
def _constant_of_shape(call: Call) -> Value:
    fill = call.get("value", np.zeros(1, np.float32)).reshape(())
    dtype = call.floats.get(fill.dtype.name, fill.dtype.name)
    return ops.broadcast_to(call.graph.constant(fill, dtype), call.dims(0).dims)


@reads("Range")
def _range(call: Call) -> Value:
    start, limit, step = (call.dims(place).dims[0] for place in range(3))
    if not isinstance(step, int) or step == 0:
        raise ExportError(f"Range with a step of {step} cannot be read.", fix="use a constant step.")
    return numbers_between(call.graph, start, limit, step, call.dims(0).dtype)


@reads("Concat")
def _concat(call: Call) -> Value | Selection:
    if isinstance(call.items[0], Selection):
        return call.items[0].joined(call)
    values = call.values()
    return ops.concatenate(values, call.axis(values[0].ndim, 1 if call.opset < 4 else 0))


@reads("Split")
def _split(call: Call) -> tuple[Value, ...]:
    """Parts of given sizes, or as many as there are outputs, the last of which may be smaller."""
    x = call.value(0)
    axis = call.axis(x.ndim, 0)
    size, count = x.shape[axis], call.get("num_outputs", call.outputs)
    widths: list[Dim] = list(call.get("split") or (call.dims(1).dims if call.has(1) else ()))
    if not widths:
        widths = [dim_floor_divide(dim_add(size, count - 1), count)] * (count - 1)
        widths.append(dim_subtract(size, dim_product((count - 1, *widths[:1]))))
    places = list(accumulate(widths, dim_add))
    if places[-1] != size:
        raise ExportError(
            f"the parts of Split have {places[-1]} along axis {axis} of {format_shape(x.shape)}.",
            fix="export the model again.",
        )
    return tuple(ops.split(x, places[:-1], axis))


@reads("Tile")
def _tile(call: Call) -> Value:
    return ops.tile(call.value(0), call.dims(1).dims)


@reads("Trilu")
def _trilu(call: Call) -> Value:
    k = int(call.constant(1)) if call.has(1) else 0
    return (ops.triu if call.get("upper", 1) else ops.tril)(call.value(0), k)


@reads("EyeLike")
def _eye_like(call: Call) -> Value:
    x = call.value(0)
    dtype = dtype_of(call.get("dtype")) if "dtype" in call.attributes else x.dtype
    if dtype is None or x.ndim != 2:
        raise ExportError(f"EyeLike of {format_shape(x.shape)} and type {call.get('dtype')} cannot be read.")
    rows, columns = x.shape
    return ops.cast(diagonal(call.graph, rows, columns, call.get("k", 0)), call.floats.get(dtype, dtype))


@reads("Gather")
def _gather(call: Call) -> Value:
    x = call.value(0)
    axis = call.axis(x.ndim, 0)
    place = call.items[1]
    if isinstance(place, np.ndarray) and place.ndim == 0:
        return ops.index(x, (*[slice(None)] * axis, int(place)))
    return ops.gather(x, indices_along(call, (x.shape[axis],)), axis)


def indices_along(call: Call, sizes: Shape) -> Value:
    """The second input, which counts along an axis, or along one for each number of its last axis; constants
    may count from the end.

    Args:
        call: the node.
        sizes: of the axes.

    Raises:
        ExportError: constant indices are out of range.
    """
    places = call.items[1]
    if not isinstance(places, np.ndarray):
        return call.value(1)
    if all(isinstance(size, int) for size in sizes):
        limits = np.array(sizes, np.int64)
        if ((places < -limits) | (places >= limits)).any():
            raise ExportError(
                f"the indices of {call.operator} run from {places.min()} to {places.max()}, the axis has"
                f" {', '.join(map(str, sizes))}.",
                fix="export the model again.",
            )
        places = np.where(places < 0, places + limits, places)
    elif (places < 0).any():
        raise ExportError("negative indices into a free dimension cannot be read.")
    return call.graph.constant(places.astype(np.int64))


def taken(x: Value, axis: int, places: np.ndarray) -> Value:
    """x[:, ..., places] along an axis; none of the places is negative."""
    return ops.gather(x, x.node.graph.constant(places.astype(np.int64)), axis)


@reads("Slice")
def _slice(call: Call) -> Value:
    if isinstance(call.items[0], Selection):
        return call.items[0].cut(call)
    x = call.value(0)
    if "starts" in call.attributes:
        starts, ends = list(call.get("starts")), list(call.get("ends"))
        axes, steps = call.get("axes") or list(range(len(starts))), [1] * len(starts)
    else:
        starts, ends = list(call.dims(1).dims), list(call.dims(2).dims)
        axes = call.dims(3).numbers() if call.has(3) else list(range(len(starts)))
        steps = call.dims(4).numbers() if call.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, call.counted(axes, x.ndim), steps, strict=True):
        x = _sliced(x, axis, start, end, step)
    return x


def _sliced(x: Value, axis: int, start: Dim, end: Dim, step: int) -> Value:
    size = x.shape[axis]
    if isinstance(start, int) and isinstance(end, int) and isinstance(size, int):
        return ops.index(x, (*[slice(None)] * axis, part(size, start, end, step)))
    if step < 0 and isinstance(start, int) and isinstance(end, int) and (start == -1 or start >= 0):
        ends = slice(None if start == -1 else start, None if end < -(2**31) + 2 else end, step)
        return ops.index(x, (*[slice(None)] * axis, ends))
    if step < 1:
        raise ExportError("a Slice that runs backwards along a free dimension cannot be read.")
    first, reach = bounded(size, start, end)
    length = dim_floor_divide(dim_add(reach, step - 1), step)
    return x if first == 0 and length == size else Slice(axis, first, length, step)(x)
