"""How operators that write into an array are read."""

from __future__ import annotations

import itertools

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Constant, Value
from bigmodel_core.graph.spec import Shape, format_shape
from bigmodel_core.ops.arithmetic import Add
from bigmodel_core.ops.concatenation import Concatenate
from bigmodel_core.ops.positions import Positions
from bigmodel_core.ops.shape import BroadcastTo, Reshape
from bigmodel_core.ops.updates import UpdateSlice
from bigmodel_onnx.nodes import Call, reads

MOST_PIECES = 256
"""So many blocks at constant places are written one by one."""


@reads("ScatterND")
def _scatter(call: Call) -> Value:
    """A block, at a constant place or at one that is computed; or a few blocks at constant places."""
    if call.get("reduction", "none") not in ("none", b"none"):
        raise ExportError("ScatterND that combines numbers cannot be read.", fix="let it replace them.")
    x, places, block = call.value(0), call.items[1], call.value(2)
    if isinstance(places, np.ndarray):
        return _at_constants(x, places, block)
    start = _start(call.value(1))
    if start is None:
        raise ExportError(
            "ScatterND cannot be read where its indices are not those of one block.",
            fix="write blocks of fixed sizes.",
        )
    return UpdateSlice(tuple(range(start.shape[0])))(x, block, start)  # type: ignore[arg-type]  # a number, as in `_start`


def _start(places: Value) -> Value | None:
    """Where the block begins whose indices these are: a grid, moved; in parts by axis if sizes are free."""
    if isinstance(places.node.op, Concatenate) and places.node.op.axis == places.ndim - 1:
        parts = [_along(value, axis) for axis, value in enumerate(places.node.inputs)]
        found = [part for part in parts if part is not None]
        return ops.concatenate(found, 0) if len(found) == len(parts) == places.ndim - 1 else None
    alone = _along(places, 0) if places.ndim == 2 else None
    if alone is not None or not isinstance(places.node.op, Add):
        return alone
    for grid, start in itertools.permutations(places.node.inputs):
        op = grid.node.op
        if isinstance(op, Constant) and _is_grid(op.array) and start.spec.size == op.array.shape[-1]:
            return ops.reshape(start.astype("int64"), (op.array.shape[-1],))
    return None


def _along(places: Value, axis: int) -> Value | None:
    """Where positions along one axis begin, repeated along the others."""
    size = places.shape[axis]
    while isinstance(places.node.op, (BroadcastTo, Reshape)):
        if isinstance(places.node.op, Reshape) and places.shape[axis] != places.spec.size:
            return None
        places = places.node.inputs[0]
    if not isinstance(places.node.op, Add):
        return None
    for numbers, start in itertools.permutations(places.node.inputs):
        op = numbers.node.op
        counts = isinstance(op, Positions) or (isinstance(op, Constant) and _is_grid(op.array[:, None]))
        if numbers.shape == (size,) and start.spec.size == 1 and counts:
            return ops.reshape(start.astype("int64"), (1,))
    return None


def _is_grid(places: np.ndarray) -> bool:
    sizes = places.shape[:-1]
    return places.shape[-1] == len(sizes) and np.array_equal(places, np.moveaxis(np.indices(sizes), 0, -1))


def _at_constants(x: Value, places: np.ndarray, block: Value) -> Value:
    depth = places.shape[-1]
    if not all(isinstance(dim, int) for dim in x.shape[:depth]):
        raise ExportError("ScatterND with constant indices along a free dimension cannot be read.")
    sizes = np.array(x.shape[:depth], np.int64)
    places = np.where(places < 0, places + sizes, places)
    if ((places < 0) | (places >= sizes)).any():
        raise ExportError(f"the indices of ScatterND run past the axes of {format_shape(x.shape)}.")
    rest: Shape = x.shape[depth:]
    if places.size and _is_grid(places - places.reshape(-1, depth)[0]):
        start = [int(place) for place in places.reshape(-1, depth)[0]]
        return ops.update_slice(x, block, [*start, *(0 for _ in rest)])
    rows = places.reshape(-1, depth)
    if len(rows) > MOST_PIECES:
        raise ExportError(
            f"ScatterND of {len(rows)} separate pieces cannot be read; at most {MOST_PIECES} are."
        )
    pieces = ops.reshape(block, (len(rows), *(1 for _ in range(depth)), *rest))
    for number, row in enumerate(rows):
        x = ops.update_slice(x, pieces[number], [*map(int, row), *(0 for _ in rest)])
    return x
