"""How operators are read whose places are computed: elements picked and written by number, order."""

from __future__ import annotations

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Shape, format_shape
from bigmodel_core.ops.sorting import TopK
from bigmodel_onnx.nodes import Call, reads
from bigmodel_onnx.shape_operators import indices_along


def _cut(x: Value, shape: Shape, axis: int, operator: str) -> Value:
    """An array cut to the sizes of indices, but along one axis."""
    for place, (size, wanted) in enumerate(zip(x.shape, shape, strict=True)):
        if place == axis or size == wanted:
            continue
        if not isinstance(size, int) or not isinstance(wanted, int) or wanted > size:
            raise ExportError(f"{operator} with indices {format_shape(shape)} for {x} cannot be read.")
        x = ops.index(x, (*[slice(None)] * place, slice(0, wanted)))
    return x


def _same_rank(call: Call, x: Value, indices: Value) -> None:
    if x.ndim != indices.ndim:
        raise ExportError(
            f"{call.operator} got {format_shape(x.shape)} and indices {format_shape(indices.shape)}, expected"
            " as many axes.",
            fix="export the model again.",
        )


@reads("GatherElements")
def _gather_elements(call: Call) -> Value:
    x = call.value(0)
    axis = call.axis(x.ndim, 0)
    indices = indices_along(call, (x.shape[axis],))
    _same_rank(call, x, indices)
    return ops.take_along_axis(_cut(x, indices.shape, axis, call.operator), indices, axis)


@reads("GatherND")
def _gather_nd(call: Call) -> Value:
    if call.get("batch_dims", 0):
        raise ExportError("GatherND with batch_dims cannot be read.", fix="let its indices name all axes.")
    x, depth = call.value(0), call.value(1).shape[-1:]
    return ops.gather_nd(x, indices_along(call, x.shape[: depth[0]] if isinstance(depth[0], int) else ()))


@reads("ScatterElements", "Scatter")
def _scatter_elements(call: Call) -> Value:
    x, updates = call.value(0), call.value(2)
    axis, how = call.axis(x.ndim, 0), call.get("reduction", "none")
    indices = indices_along(call, (x.shape[axis],))
    _same_rank(call, x, indices)
    reduction = {"none": None, "add": "add", "max": "max", "min": "min"}
    how = how.decode() if isinstance(how, bytes) else how
    if how not in reduction:
        raise ExportError(f"ScatterElements that reduces by {how!r} cannot be read.")
    others: list[tuple[Dim, Dim]] = [
        (size, wanted)
        for place, (size, wanted) in enumerate(zip(x.shape, indices.shape, strict=True))
        if place != axis
    ]
    if any(size != wanted for size, wanted in others) or indices.shape != updates.shape:
        raise ExportError(
            f"{call.operator} into {format_shape(x.shape)} with indices {format_shape(indices.shape)} and"
            f" updates {format_shape(updates.shape)} cannot be read.",
            fix="give indices and updates the array's sizes along the other axes.",
        )
    return ops.scatter(x, indices, updates, axis, reduction[how])


@reads("OneHot")
def _one_hot(call: Call) -> Value:
    """Negative indices count from the end."""
    indices, depth = call.value(0), int(call.constant(1))
    axis = call.axis(indices.ndim + 1, -1)
    indices = ops.cast(indices, "int64")
    rows = ops.one_hot(ops.where(indices < 0, indices + depth, indices), depth, "bool")
    order = [*range(axis), indices.ndim, *range(axis, indices.ndim)]
    values = call.value(2)
    return ops.where(ops.transpose(rows, order), values[1], values[0])


@reads("TopK")
def _top_k(call: Call) -> tuple[Value, Value]:
    """In order, whether the file wants one or not."""
    x = call.value(0)
    axis, count = call.axis(x.ndim, -1), call.get("k")
    count = call.dims(1).dims[0] if count is None else count
    values, places = TopK(axis, count, bool(call.get("largest", 1)))(x)
    return values, places
