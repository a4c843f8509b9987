"""How Scan is read: as a loop of the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_onnx.nodes import Call, reads


@reads("Scan")
def _scan(call: Call) -> Any:
    if call.opset < 9:
        raise ExportError("Scan over batches, of operator set 8, cannot be read.", fix="use a newer one.")
    body, count = call.get("body"), call.get("num_scan_inputs", 0)
    carries = len(call.items) - count
    if body is None or count < 1 or carries < 0:
        raise ExportError(f"Scan goes over {count} of its {len(call.items)} inputs.")
    values = call.values()
    axes = _each(call, "scan_input_axes", count)
    backward = _each(call, "scan_input_directions", count)
    reverse = all(backward)
    xs = [
        _turned(_first(value, axis), bool(back) != reverse)
        for value, axis, back in zip(values[carries:], axes, backward, strict=True)
    ]

    def step(carried: tuple[Value, ...], parts: tuple[Value, ...]) -> Any:
        found = [call.as_value(item, "an output of the body") for item in body([*carried, *parts])]
        if len(found) < carries:
            raise ExportError(f"the body of Scan gives {len(found)} values, but {carries} are carried.")
        return tuple(found[:carries]), tuple(found[carries:])

    carried, ys = ops.scan(step, tuple(values[:carries]), tuple(xs), reverse=reverse)
    axes = _each(call, "scan_output_axes", len(ys))
    backward = _each(call, "scan_output_directions", len(ys))
    turned = [_turned(y, bool(back) != reverse) for y, back in zip(ys, backward, strict=True)]
    return (*carried, *(_last(y, axis) for y, axis in zip(turned, axes, strict=True)))


def _each(call: Call, name: str, count: int) -> Sequence[int]:
    """An attribute with a number for each of the arrays that are taken apart or made; 0 by default."""
    found = call.get(name) or [0] * count
    if len(found) != count:
        raise ExportError(f"{name} of Scan has {len(found)} numbers, expected {count}.")
    return [int(number) for number in found]


def _turned(value: Value, is_turned: bool) -> Value:
    return ops.flip(value, 0) if is_turned else value


def _first(value: Value, axis: int) -> Value:
    """An array with an axis as the first one."""
    order = list(range(value.ndim))
    order.insert(0, order.pop(axis))
    return ops.transpose(value, order)


def _last(value: Value, axis: int) -> Value:
    """An array with the first axis at another place."""
    order = list(range(1, value.ndim))
    order.insert(axis if axis >= 0 else axis + value.ndim, 0)
    return ops.transpose(value, order)
