"""How padding and changes of an image's size are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, dim_add
from bigmodel_core.ops.slicing import Slice
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
    sides = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    number = call.constant(2) if call.has(2) else call.get("value", 0.0)
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise ExportError(f"Pad of mode {mode} cannot be read.")
    sides = {axis: both for axis, both in sides.items() if both != (0, 0)}
    image = mode == "constant" and number == 0 and x.ndim == 4 and x.spec.is_float and set(sides) <= {2, 3}
    free = any(not isinstance(pad, int) for pad in pads)
    if image and (free or min(map(int, pads), default=0) >= 0):
        (top, below), (left, right) = sides.get(2, (0, 0)), sides.get(3, (0, 0))
        return ops.zero_pad(x, (top, left, below, right))
    if free:
        raise ExportError(
            "Pad by free sizes can be read for zeros around images alone.", fix="fix the sizes."
        )
    for axis, (before, after) in ((axis, (int(a), int(b))) for axis, (a, b) in sides.items()):
        size = x.shape[axis]
        if before < 0 or after < 0:
            gone = max(-before, 0) + max(-after, 0)
            if isinstance(size, int) and gone > size:
                raise ExportError(f"Pad takes {gone} of {size} away.", fix="export the model again.")
            x = Slice(axis, max(-before, 0), dim_add(size, -gone))(x)
            before, after = max(before, 0), max(after, 0)
            size = x.shape[axis]
        if mode == "constant":
            fill = call.graph.constant(number, x.dtype)
            around = [(*x.shape[:axis], count, *x.shape[axis + 1 :]) for count in (before, after)]
            parts = [ops.broadcast_to(fill, shape) if shape[axis] else None for shape in around]
            x = ops.concatenate([part for part in (parts[0], x, parts[1]) if part is not None], axis)
        elif not isinstance(size, int):
            raise ExportError(f"Pad of mode {mode} along a free dimension cannot be read.")
        else:
            check_size(call, (*x.shape[:axis], size + before + after), x.dtype)
            x = taken(x, axis, np.pad(np.arange(size), (before, after), mode))
    return x


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
