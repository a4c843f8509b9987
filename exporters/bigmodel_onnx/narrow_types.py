"""Operators that ONNX does not have for bytes or truth values, which compute in int64 instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_BINARY = ("Add", "Div", "Mul", "Sub")
_LACKING = {
    **dict.fromkeys((*_BINARY, *_COMPARISONS, "Abs", "Max", "Min", "Sign"), ("bool",)),
    "Neg": ("bool", "uint8"),
    **dict.fromkeys(("CumSum", "ReduceProd", "ReduceSum"), ("uint8",)),
}


def is_lacking(operator: str, dtype: str, opset: int) -> bool:
    """Whether an operator does not take numbers of a type."""
    is_new = operator in _BINARY and dtype == "uint8" and opset < 14
    return is_new or dtype in _LACKING.get(operator, ())


def in_int64(emit: Any, operator: str, inputs: Sequence[str | None], attributes: dict[str, Any]) -> Any:
    """A node whose operands of the first one's type are converted, and its result back."""
    dtype = emit.type_of(inputs[0])
    wide = [emit.cast(name, "int64") if emit.type_of(name) == dtype else name for name in inputs]
    found = emit.add(operator, wide, 1, attributes)
    return found if operator in _COMPARISONS else emit.cast(found, dtype)
