"""How a node of a file becomes a value, a constant or a shape."""

from __future__ import annotations

from typing import Any

from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_onnx.folding import folded
from bigmodel_onnx.nodes import Call, check_size
from bigmodel_onnx.shapes import HANDLED, Dims, compute


def read_node(call: Call) -> Any:
    """What a node gives: Values, arrays or Dims; a tuple if it has several outputs.

    Raises:
        ExportError: it cannot be read.
    """
    found = folded(call)
    if found is not None:
        return found
    dims = _followed(call)
    if dims is not None:
        return dims
    result = readers()[call.operator](call)
    for value in result if isinstance(result, tuple) else (result,):
        if isinstance(value, Value):
            check_size(call, value.shape, value.dtype)
    return result


def _followed(call: Call) -> Dims | None:
    """The result if an operator works on shapes alone; None if it is an op of the graph."""
    if call.operator not in HANDLED or not call.items or any(item is None for item in call.items):
        return None
    if not any(isinstance(item, Dims) for item in call.items):
        return None
    items = [found for item in call.items if (found := Dims.of(item)) is not None]
    if len(items) < len(call.items):
        return None
    return compute(call.operator, items, call.attributes)


def readers() -> dict[str, Any]:
    """What reads each operator; the modules that fill the table are imported when a file is."""
    from bigmodel_onnx import (
        attention_operators,
        image_operators,
        index_operators,
        nodes,
        normalization_operators,
        operators,
        padding_operators,
        recurrent_operators,
        resize_operators,
        rotary_operators,
        scan_operator,
        shape_operators,
        update_operators,
    )

    assert padding_operators and image_operators and normalization_operators and operators and index_operators
    assert (
        attention_operators
        and recurrent_operators
        and rotary_operators
        and resize_operators
        and scan_operator
        and shape_operators
        and update_operators
    )
    return nodes.READERS


def refuse_unknown(operators: list[str]) -> None:
    """Raise ExportError with all operators that cannot be read."""
    known = readers()
    unknown = sorted({name for name in operators if name not in known})
    if unknown:
        raise ExportError(
            f"the file has operators that cannot be read: {', '.join(unknown)}.",
            fix="run the file in ONNX Runtime as it is, or export it from simpler layers.",
        )
