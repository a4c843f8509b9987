"""How the operands of a node are brought to one shape: as in NumPy, and as opsets up to 6 did it.

These broadcast the second operand only if the attribute `broadcast` says so; its axes are then those of
the first from the attribute `axis` on, or the last ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Shape, dim_product, format_shape
from bigmodel_onnx.nodes import Call

_OLD = {"Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub"}
"""Operators whose second operand broadcasts only on request."""


def aligned(call: Call) -> tuple[Value, Value]:
    """Both operands, the second in a shape that repeats by NumPy's rule."""
    a, b = call.value(0), call.value(1)
    return a, ops.reshape(b, second_shape(call, a.shape, b.shape))


def aligned_arrays(call: Call) -> list[np.ndarray]:
    """All operands as arrays, aligned in the same manner."""
    arrays: list[Any] = list(call.items)
    if len(arrays) == 2:
        arrays[1] = arrays[1].reshape(second_shape(call, arrays[0].shape, arrays[1].shape))
    return arrays


def second_shape(call: Call, first: Shape, second: Shape) -> Shape:
    """The shape of the second operand that NumPy's rule repeats as the node says.

    Raises:
        ExportError: the operands do not fit by the rule of an old opset.
    """
    if call.opset >= 7 or call.operator not in _OLD:
        return second
    if not call.get("broadcast", 0):
        if first != second:
            raise ExportError(
                f"the operands {format_shape(first)} and {format_shape(second)} of {call.operator} differ,"
                f" and opset {call.opset} broadcasts only with broadcast=1.",
                fix="export the model again with opset 7 or newer.",
            )
        return second
    if dim_product(second) == 1:
        return ()
    axis = call.get("axis")
    rest = len(first) - len(second)
    start = rest if axis is None else axis + len(first) if axis < 0 else axis
    fits = 0 <= start <= rest and all(b in (1, a) for a, b in zip(first[start:], second, strict=False))
    if not fits:
        raise ExportError(
            f"{format_shape(second)} cannot be broadcast to {format_shape(first)} from axis {start} on.",
            fix="export the model again with opset 7 or newer.",
        )
    return (*second, *(1,) * (rest - start))
