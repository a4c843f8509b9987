"""How padding and changes of an image's size are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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


_POSITIONS: dict[str, Callable[..., Any]] = {
    "half_pixel": lambda place, scale, size, count: (place + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda place, scale, size, count: (
        (place + 0.5) / scale - 0.5 if count > 1 else place * 0.0
    ),
    "asymmetric": lambda place, scale, size, count: place / scale,
    "align_corners": lambda place, scale, size, count: place * ((size - 1) / max(count - 1, 1)),
}
_ROUNDED: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


_REPEATING = {
    ("asymmetric", "floor"),
    *((position, rounding) for position in list(_POSITIONS)[:2] for rounding in list(_ROUNDED)[:2]),
}
"""How places are found and rounded if an integer factor repeats each pixel, whatever the size."""


def _scales_given(call: Call) -> Any:
    """The scales that old opsets have as attributes: of all axes, or of the last two."""
    if "height_scale" in call.attributes and call.value(0).ndim == 4:
        return [1.0, 1.0, call.get("height_scale"), call.get("width_scale")]
    return call.get("scales")


@reads("Resize", "Upsample")
def _resize(call: Call) -> Value:
    """The nearest pixel, whose place is known now where sizes are."""
    x = call.value(0)
    old = call.opset < 11  # Upsample, and Resize as it was at first
    mode, rounding = call.get("mode", "nearest"), call.get("nearest_mode", "round_prefer_floor")
    position = call.get("coordinate_transformation_mode", "half_pixel")
    position, rounding = ("asymmetric", "floor") if old else (position, rounding)
    if mode != "nearest" or position not in _POSITIONS or rounding not in _ROUNDED:
        raise ExportError(
            f"{call.operator} of mode {mode}, {position} cannot be read.", fix="use mode nearest."
        )
    if call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ExportError(f"{call.operator} that keeps the aspect ratio cannot be read.")
    axes = call.counted(call.get("axes") or range(x.ndim), x.ndim)
    place = 1 if old else 2
    counts = call.dims(3).dims if call.has(3) else [None] * len(axes)
    scales = _scales_given(call) or (_numbers(call, place) if not call.has(3) else [None] * len(axes))
    factors = {2: 1, 3: 1}
    rest: dict[int, np.ndarray] = {}
    for axis, scale, count in zip(axes, scales, counts, strict=True):
        size = x.shape[axis]
        if scale == 1 or count == size:
            continue
        if not isinstance(size, int) and axis in factors and x.ndim == 4 and x.spec.is_float:
            if count is None and scale == int(scale) and (position, rounding) in _REPEATING:
                factors[axis] = int(scale)
                continue
        if not isinstance(size, int) or isinstance(count, str):
            raise ExportError(
                f"{call.operator} of a free dimension cannot be read.", fix="fix it in the file."
            )
        wide = int(count) if count is not None else int(np.floor(size * scale))
        check_size(call, (wide,), "int64")
        ratio = wide / size if count is not None else scale
        places = np.arange(wide, dtype=np.float32)  # ONNX Runtime's type, which decides between two pixels
        source = _ROUNDED[rounding](_POSITIONS[position](places, np.float32(ratio), size, wide))
        indices = np.clip(source, 0, size - 1).astype(np.int64)
        if axis in factors and np.array_equal(indices, np.repeat(np.arange(size), max(wide // size, 1))):
            factors[axis] = wide // size
        else:
            rest[axis] = indices
    whole = {axis: factor for axis, factor in factors.items() if factor > 1}
    if whole and x.ndim == 4 and x.spec.is_float:  # free sizes come here alone
        x = ops.upsample_nearest(x, (factors[2], factors[3]))
    else:
        rest |= {axis: np.repeat(np.arange(x.spec.sizes[axis]), factor) for axis, factor in whole.items()}
    for axis, indices in rest.items():
        x = taken(x, axis, indices)
    return x


def _numbers(call: Call, place: int) -> list[float]:
    item = call.items[place]
    if not isinstance(item, np.ndarray):
        raise ExportError(f"input {place + 1} of {call.operator} must be a constant.")
    return [float(number) for number in item.reshape(-1)]
