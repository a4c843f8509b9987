"""How padding is read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.dtypes import dtype_named
from bigmodel_core.graph.spec import Dim, dim_subtract
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.ops.padding import Pad
from bigmodel_onnx.nodes import Call, check_size, reads
from bigmodel_onnx.shape_operators import taken


@reads("Pad")
def _pad(call: Call) -> Value:
    x, mode = call.value(0), call.get("mode", "constant")
    pads: list[Dim] = list(call.get("pads") or call.get("paddings") or call.dims(1).dims)
    axes = call.dims(3).numbers() if call.has(3) else list(range(len(pads) // 2))
    axes = call.counted(axes, x.ndim)
    if len(pads) != 2 * len(axes) or (not call.has(3) and len(axes) < x.ndim):
        raise ExportError(
            f"Pad has {len(pads)} numbers, expected {2 * x.ndim}.", fix="export the model again."
        )
    if mode not in (*MODES, "wrap"):
        raise ExportError(f"Pad of mode {mode} cannot be read.")
    sides = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    sides = {axis: both for axis, both in sides.items() if both != (0, 0)}
    if mode != "constant":
        x, sides = _cut(x, sides)
    widths = tuple(sides.get(axis, (0, 0)) for axis in range(x.ndim))
    padded = Pad(widths, "constant").infer(x.spec)
    check_size(call, padded.shape, x.dtype)
    if mode != "wrap":
        return ops.pad(x, widths, mode, _border_value(call, x.dtype) if mode == "constant" else 0)
    for axis, (before, after) in sides.items():
        size = x.shape[axis]
        if not all(isinstance(number, int) for number in (size, before, after)):
            raise ExportError(f"Pad of mode {mode} by or along a free dimension cannot be read.")
        x = taken(x, axis, np.pad(np.arange(size), (int(before), int(after)), mode="wrap"))
    return x


def _border_value(call: Call, dtype: str) -> float | int | bool:
    """The number around an array."""
    if not call.has(2):
        found: float = call.get("value", 0)
        return found if dtype_named(dtype).is_float else int(found)
    call.constant(2)  # it is one
    value: float | int | bool = call.items[2].reshape(()).astype(dtype).item()
    return value


def _cut(x: Value, sides: Mapping[int, tuple[Dim, Dim]]) -> tuple[Value, dict[int, tuple[Dim, Dim]]]:
    """An array without what pads below 0 take away, and the other pads."""
    rest = {}
    for axis, both in sides.items():
        gone = [min(pad, 0) if isinstance(pad, int) else 0 for pad in both]
        if any(gone):
            x = ops.pad(x, {axis: (gone[0], gone[1])})
        rest[axis] = dim_subtract(both[0], gone[0]), dim_subtract(both[1], gone[1])
    return x, rest
