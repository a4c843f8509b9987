"""How changes of an image's size are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, dim_add, dim_floor_divide, dim_multiply, dim_product, format_shape
from bigmodel_core.ops.creation import counted
from bigmodel_core.ops.images import CHANNELS_FIRST, CHANNELS_LAST
from bigmodel_core.ops.interpolation import COORDINATES
from bigmodel_core.ops.resizing import Resize
from bigmodel_core.ops.sizes import size_of_dimension
from bigmodel_onnx.nodes import Call, check_size, reads
from bigmodel_onnx.shape_operators import taken

_POSITIONS: dict[str, Callable[..., Any]] = {
    "half_pixel": lambda place, scale, size, count, where: (place + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda place, scale, size, count, where: where(
        count > 1, (place + 0.5) / scale - 0.5, place * 0.0
    ),
    "asymmetric": lambda place, scale, size, count, where: place / scale,
    "align_corners": lambda place, scale, size, count, where: where(
        count > 1, place * (size - 1.0) / where(count > 1, count - 1.0, 1.0), place * 0.0
    ),
}
"""The place that a pixel comes from, in float32 as ONNX Runtime has it, which decides between two pixels."""
_ROUNDED: dict[str, Callable[..., Any]] = {
    "round_prefer_floor": lambda place, floor, ceil: ceil(place - 0.5),
    "round_prefer_ceil": lambda place, floor, ceil: floor(place + 0.5),
    "floor": lambda place, floor, ceil: floor(place),
    "ceil": lambda place, floor, ceil: ceil(place),
}
_REPEATING = {
    ("asymmetric", "floor"),
    *((position, rounding) for position in list(_POSITIONS)[:2] for rounding in list(_ROUNDED)[:2]),
}
"""How places are found and rounded if an integer factor repeats each pixel, whatever the size."""


@dataclass(frozen=True)
class _Axis:
    """An axis that changes.

    Args:
        axis: which.
        size: before.
        count: after.
        scale: how many times larger, where the file says that.
    """

    axis: int
    size: Dim
    count: Dim
    scale: float | None


@reads("Resize", "Upsample")
def _resize(call: Call) -> Value:
    x, mode = call.value(0), call.get("mode", "nearest")
    position = call.get("coordinate_transformation_mode", "half_pixel")
    position = "asymmetric" if call.opset < 11 else position  # Upsample, and Resize as it was at first
    modes = {"nearest": "nearest", "linear": "bilinear", "bilinear": "bilinear", "cubic": "bicubic"}
    if mode not in modes or position not in COORDINATES:
        raise ExportError(
            f"{call.operator} of mode {mode}, {position} cannot be read.",
            fix=f"use nearest, linear or cubic; {', '.join(COORDINATES)}.",
        )
    if call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ExportError(f"{call.operator} that keeps the aspect ratio cannot be read.")
    for name in ("antialias", "exclude_outside"):
        if call.get(name, 0) and mode != "nearest":
            raise ExportError(f"{call.operator} with {name} cannot be read.")
    axes = _axes(call, x)
    if mode == "nearest":
        return _nearest(call, x, axes, position)
    return _mixed(call, x, axes, modes[mode], position) if axes else x


def _axes(call: Call, x: Value) -> list[_Axis]:
    """The axes that change."""
    axes = call.counted(call.get("axes") or range(x.ndim), x.ndim)
    has_sizes = call.has(3)
    counts: Sequence[Dim | None] = call.dims(3).dims if has_sizes else [None] * len(axes)
    scales = [None] * len(axes) if has_sizes else _scales(call)
    if not len(counts) == len(scales) == len(axes):
        raise ExportError(f"{call.operator} has sizes for {len(counts)} of {len(axes)} axes.")
    found = []
    for axis, count, scale in zip(axes, counts, scales, strict=True):
        size = x.shape[axis]
        if scale is not None:
            if not 0 < scale < math.inf:
                raise ExportError(f"{call.operator} scales by {scale}.", fix="export the model again.")
            count = _scaled(call, size, scale)
        if scale != 1 and count is not None and count != size:
            check_size(call, (count,), "int64")
            found.append(_Axis(axis, size, count, scale))
    return found


def _scales(call: Call) -> list[float]:
    """One for each axis; old opsets have attributes, of all axes or of the last two."""
    if "height_scale" in call.attributes and call.value(0).ndim == 4:
        return [1.0, 1.0, call.get("height_scale"), call.get("width_scale")]
    given = call.get("scales")
    item = call.items[1 if call.opset < 11 else 2] if given is None else np.asarray(given)
    if not isinstance(item, np.ndarray):
        raise ExportError(f"the scales of {call.operator} must be constants.")
    return [float(number) for number in item.reshape(-1)]


def _scaled(call: Call, size: Dim, scale: float) -> Dim:
    if isinstance(size, int):
        return int(np.floor(np.float32(size) * np.float32(scale)))
    ratio = Fraction(scale)
    if ratio.denominator > 1024:  # rounded in other ways at some sizes
        raise ExportError(
            f"{call.operator} of a free dimension by {scale} cannot be read.", fix="fix it in the file."
        )
    return dim_floor_divide(dim_multiply(size, ratio.numerator), ratio.denominator)


# The nearest pixel ----------------------------------------------------------------------------------------


def _nearest(call: Call, x: Value, axes: list[_Axis], position: str) -> Value:
    rounding = "floor" if call.opset < 11 else call.get("nearest_mode", "round_prefer_floor")
    if rounding not in _ROUNDED:
        raise ExportError(f"{call.operator} of nearest_mode {rounding} cannot be read.")
    factors = {2: 1, 3: 1} if x.ndim == 4 and x.spec.is_float else {}
    rest: dict[int, Value | np.ndarray] = {}
    for item in axes:
        places = _places(x, item, position, rounding)
        factor = _factor(item, places, (position, rounding) in _REPEATING)
        if item.axis in factors and factor:
            factors[item.axis] = factor
        else:
            rest[item.axis] = places
    if max(factors.values(), default=1) > 1:
        x = ops.upsample_nearest(x, (factors[2], factors[3]))
    for axis, places in rest.items():
        x = taken(x, axis, places) if isinstance(places, np.ndarray) else ops.gather(x, places, axis)
    return x


def _factor(item: _Axis, places: Value | np.ndarray, is_repeating: bool) -> int:
    """How often each pixel is repeated; 0 if that is not all."""
    if not isinstance(places, np.ndarray):
        return int(item.scale) if is_repeating and item.scale and item.scale == int(item.scale) else 0
    factor = len(places) // int(item.size)
    return factor if factor and np.array_equal(places, np.repeat(np.arange(item.size), factor)) else 0


def _places(x: Value, item: _Axis, position: str, rounding: str) -> Value | np.ndarray:
    """Which pixel is the nearest to each place along an axis: as numbers where both sizes are known."""
    found = _POSITIONS[position], _ROUNDED[rounding]
    if isinstance(item.size, int) and isinstance(item.count, int):
        size, count = np.float32(item.size), np.float32(item.count)
        scale = np.float32(item.scale) if item.scale else count / size
        places = found[0](np.arange(item.count, dtype=np.float32), scale, size, count, np.where)
        return np.clip(found[1](places, np.floor, np.ceil), 0, item.size - 1).astype(np.int64)
    graph = x.node.graph
    sizes = [size_of_dimension(dim, graph, "float32") for dim in (item.size, item.count)]
    ratio = graph.constant(np.float32(item.scale)) if item.scale else sizes[1] / sizes[0]
    order = ops.cast(counted(graph, item.count), "float32")
    rounded = ops.cast(found[1](found[0](order, ratio, *sizes, ops.where), ops.floor, ops.ceil), "int64")
    last = size_of_dimension(dim_add(item.size, -1), graph, "int64")
    return ops.minimum(ops.maximum(rounded, 0), last)


# Mixtures of pixels ---------------------------------------------------------------------------------------


def _mixed(call: Call, x: Value, axes: list[_Axis], method: str, position: str) -> Value:
    """Neighbouring axes, as those of an image with channels first or last."""
    first, last = axes[0].axis, axes[-1].axis
    changes = {item.axis: item for item in axes}
    is_whole = first >= 2 and x.ndim <= 5
    first, last = (2, x.ndim - 1) if is_whole else (first, last)
    middle = range(first, last + 1)
    if len(middle) > (2 if method == "bicubic" else 3):
        raise ExportError(
            f"{call.operator} of mode {call.get('mode')} of the axes {', '.join(map(str, changes))} of"
            f" {format_shape(x.shape)} cannot be read.",
            fix="resize axes that are neighbours: three, or two for cubic.",
        )
    after = x.shape[last + 1 :]
    counts = tuple(changes[axis].count if axis in changes else x.shape[axis] for axis in middle)
    scales = tuple(changes[axis].scale if axis in changes else None for axis in middle)
    layout = CHANNELS_LAST if after else CHANNELS_FIRST
    op = Resize(counts, scales, method, position, call.get("cubic_coeff_a", -0.75), layout)
    if is_whole:
        return op(x)
    outer = (dim_product(x.shape[:first]), *([] if after else [1]))
    y = op(ops.reshape(x, (*outer, *x.shape[first : last + 1], *([dim_product(after)] if after else []))))
    return ops.reshape(y, (*x.shape[:first], *counts, *after))
