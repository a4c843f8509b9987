"""How operators that move numbers or see them in another shape are read."""

from __future__ import annotations

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.ops.slicing import Slice, bounded
from bigmodel_core.spec import Dim, broadcast, dim_product
from bigmodel_onnx.nodes import Call, reads
from bigmodel_onnx.shapes import Dims


@reads("Shape")
def _shape(call: Call) -> Dims:
    return Dims(call.value(0).shape[call.get("start", 0) : call.get("end", None)])


@reads("Size")
def _size(call: Call) -> Dims:
    return Dims((call.value(0).spec.size,), True)


@reads("ReduceProd")
def _reduce_prod(call: Call) -> Value:
    raise ExportError("ReduceProd of numbers that are no shape cannot be read.")


@reads("Reshape")
def _reshape(call: Call) -> Value:
    x, wanted = call.value(0), call.dims(1).dims
    if not call.get("allowzero", 0):
        wanted = tuple(x.shape[place] if dim == 0 else dim for place, dim in enumerate(wanted))
    return ops.reshape(x, wanted)


@reads("Flatten")
def _flatten(call: Call) -> Value:
    x = call.value(0)
    axis = call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return ops.reshape(x, (dim_product(x.shape[:axis]), dim_product(x.shape[axis:])))


@reads("Transpose")
def _transpose(call: Call) -> Value:
    return ops.transpose(call.value(0), call.get("perm"))


@reads("Squeeze")
def _squeeze(call: Call) -> Value:
    x, axes = call.value(0), call.axes()
    gone = (
        [axis for axis in range(x.ndim) if x.shape[axis] == 1]
        if axes is None
        else [axis % x.ndim for axis in axes]
    )
    return ops.reshape(x, tuple(dim for axis, dim in enumerate(x.shape) if axis not in gone))


@reads("Unsqueeze")
def _unsqueeze(call: Call) -> Value:
    x, axes = call.value(0), call.axes() or []
    rank = x.ndim + len(axes)
    new = {axis % rank for axis in axes}
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


@reads("Concat")
def _concat(call: Call) -> Value:
    return ops.concatenate(call.values(), call.get("axis"))


@reads("Gather")
def _gather(call: Call) -> Value:
    x, axis = call.value(0), call.get("axis", 0) % call.value(0).ndim
    place = call.items[1]
    if isinstance(place, np.ndarray) and place.ndim == 0:
        return ops.index(x, (*[slice(None)] * axis, int(place)))
    if isinstance(place, np.ndarray):  # indices from the end
        size = x.shape[axis]
        if (place < 0).any() and not isinstance(size, int):
            raise ExportError("negative indices into a free dimension cannot be read.")
        indices = call.graph.constant(
            np.where(place < 0, place + (size if isinstance(size, int) else 0), place)
        )
    else:
        indices = call.value(1)
    return taken(x, axis, indices)


def taken(x: Value, axis: int, indices: Value | np.ndarray) -> Value:
    """x[:, ..., indices] along an axis; indices may have any rank, none of them is negative."""
    if isinstance(indices, np.ndarray):
        indices = x.node.graph.constant(indices.astype(np.int64))
    if axis == 0:
        return ops.gather(x, indices)
    order = (axis, *(i for i in range(x.ndim) if i != axis))
    found = ops.gather(ops.transpose(x, order), indices)
    rank = indices.ndim
    back = (*range(rank, rank + axis), *range(rank), *range(rank + axis, found.ndim))
    return ops.transpose(found, back)


@reads("Slice")
def _slice(call: Call) -> Value:
    x = call.value(0)
    if "starts" in call.attributes:
        starts, ends = list(call.get("starts")), list(call.get("ends"))
        axes, steps = call.get("axes") or list(range(len(starts))), [1] * len(starts)
    else:
        starts, ends = list(call.dims(1).dims), list(call.dims(2).dims)
        axes = call.dims(3).numbers() if call.has(3) else list(range(len(starts)))
        steps = call.dims(4).numbers() if call.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _sliced(x, axis % x.ndim, start, end, step)
    return x


def _sliced(x: Value, axis: int, start: Dim, end: Dim, step: int) -> Value:
    size = x.shape[axis]
    if isinstance(start, int) and isinstance(end, int) and isinstance(size, int):
        return ops.index(x, (*[slice(None)] * axis, slice(start, end, step)))
    if step != 1:
        raise ExportError("a Slice with steps along a free dimension cannot be read.")
    first, length = bounded(size, start, end)
    return x if first == 0 and length == size else Slice(axis, first, length)(x)
