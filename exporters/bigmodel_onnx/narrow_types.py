"""Operators that ONNX does not have for bytes or truth values, which compute in int64 instead."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES


@functools.cache
def _types(operator: str, opset: int) -> tuple[Sequence[str], bool]:
    """The types that an operator of one result takes first, as ONNX names them; none if there is no such
    operator. And whether its result has that type."""
    from onnx.defs import SchemaError, get_schema

    try:
        schema = get_schema(operator, opset, "")
    except SchemaError:
        return (), False
    if len(schema.outputs) != 1 or not schema.inputs:
        return (), False
    first, result = schema.inputs[0], schema.outputs[0]
    return tuple(first.types), first.type_str == result.type_str


def is_lacking(operator: str, dtype: str, opset: int) -> bool:
    """Whether an operator takes int64, but not whole numbers or truth values of a type."""
    if dtype not in DTYPES or DTYPES[dtype].is_float:
        return False
    taken, _ = _types(operator, opset)
    return "tensor(int64)" in taken and f"tensor({dtype})" not in taken


def in_int64(emit: Any, operator: str, inputs: Sequence[str | None], attributes: dict[str, Any]) -> Any:
    """A node whose operands of the first one's type are converted, and its result back if of that type."""
    dtype = emit.type_of(inputs[0])
    wide = [emit.cast(name, "int64") if emit.type_of(name) == dtype else name for name in inputs]
    found = emit.add(operator, wide, 1, attributes)
    return emit.cast(found, dtype) if _types(operator, emit.opset)[1] else found
