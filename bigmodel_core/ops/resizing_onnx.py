"""Resizing in ONNX files: which of it ONNX Runtime does in the same way, and the node."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import Dim, Spec, dim_divide
from bigmodel_core.ops.images import CHANNELS_FIRST
from bigmodel_core.ops.interpolation import Interpolation


def lacks(op: Interpolation, x: Spec) -> bool:
    """Whether ONNX Runtime's Resize would give something else, or nothing: it takes float32 alone, and finds
    the nearest pixels by other numbers of that type."""
    spatial = op.spatial(x.shape)
    lines = list(zip(spatial, op.sizes, op.scales, strict=True))
    if x.dtype != "float32" or op.layout != CHANNELS_FIRST:
        return True
    scaled = [scale is not None for scale in op.scales]
    if any(scaled) and not all(
        _keeps_size(size, count, scale) if scale else _factor(size, count) for size, count, scale in lines
    ):
        return True
    return op.method.startswith("nearest") and not all(
        _repeats(size, count, scale) or (op.method == "nearest" and _keeps_places(size, count, scale))
        for size, count, scale in lines
    )


def write(op: Interpolation, emit: Any, x: Any) -> Any:
    """The node Resize: by whole factors where there are, else to sizes."""
    shape = emit.inputs[0].shape
    spatial = op.spatial(shape)
    is_row = len(spatial) == 1
    whole = (*shape[:2], *([1] if is_row else []), *op.sizes)
    options: dict[str, Any] = {"mode": "nearest", "nearest_mode": "floor"}
    position = "asymmetric"
    if not op.method.startswith("nearest"):
        options, position = {"mode": "linear"}, op.coordinates
    if op.method == "bicubic":
        options = {"mode": "cubic", "cubic_coeff_a": op.cubic}
    options["coordinate_transformation_mode"] = position
    factors = [scale or _factor(a, b) for a, b, scale in zip(spatial, op.sizes, op.scales, strict=True)]
    scales = sizes = None
    if None in factors:
        if emit.opset >= 18:
            whole, options["axes"] = op.sizes, list(range(len(whole) - len(op.sizes), len(whole)))
        sizes = emit.shape(whole)
    else:
        scales = emit.const([1.0] * (len(whole) - len(factors)) + factors, "float32")
    given = emit.Unsqueeze(x, emit.ints((2,))) if is_row else x
    found = emit.Resize(given, None, scales, sizes, **options)
    return emit.Squeeze(found, emit.ints((2,))) if is_row else found


def _factor(size: Dim, count: Dim) -> float | None:
    """How many times larger an axis becomes, if that is a whole number."""
    found = dim_divide(count, size)
    return float(found) if isinstance(found, int) else None


def _repeats(size: Dim, count: Dim, scale: float | None) -> bool:
    """Whether the nearest pixels are all, repeated."""
    return scale is None and _factor(size, count) is not None


def _keeps_places(size: Dim, count: Dim, scale: float | None) -> bool:
    """Whether ONNX Runtime, which divides by a scale, finds the same nearest pixels."""
    if not isinstance(size, int) or not isinstance(count, int):
        return False
    order = np.arange(count, dtype=np.float32)
    rate = np.float32(1 / scale) if scale else np.float32(size) / np.float32(count)
    divisor = np.float32(scale) if scale else np.float32(count) / np.float32(size)
    return bool((np.floor(order * rate) == np.floor(order / divisor)).all())


def _keeps_size(size: Dim, count: Dim, scale: float) -> bool:
    """Whether ONNX Runtime makes as many pixels of a scale, which it has in float32."""
    if not isinstance(size, int):
        return Fraction(scale).denominator <= 1024  # products with sizes are exact
    return math.floor(np.float32(size) * np.float32(scale)) == count
