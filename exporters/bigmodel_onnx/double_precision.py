"""Operators that ONNX Runtime has for float32 only, spelled out for float64 in those that it has for both.

Attributes of operators are float32 in files, which float64 results show; constants are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bigmodel_core.ops.gelu import gelu_tanh_spelled_out


def _leaky_relu(emit: Any, x: str, alpha: float = 0.01) -> Any:
    return emit.Where(emit.Greater(x, emit.const(0.0)), x, emit.Mul(x, emit.const(alpha)))


def _elu(emit: Any, x: str, alpha: float = 1.0) -> Any:
    """exp(x) - 1 is tanh(x / 2) * (exp(x) + 1), which keeps precision near 0."""
    least = emit.Min(x, emit.const(0.0))
    half = emit.Tanh(emit.Mul(least, emit.const(0.5)))
    negative = emit.Mul(half, emit.Add(emit.Exp(least), emit.const(1.0)))
    return emit.Where(emit.Greater(x, emit.const(0.0)), x, emit.Mul(negative, emit.const(alpha)))


def _softplus(emit: Any, x: str) -> Any:
    rest = emit.Log(emit.Add(emit.Exp(emit.Neg(emit.Abs(x))), emit.const(1.0)))
    return emit.Add(emit.Max(x, emit.const(0.0)), rest)


def _softsign(emit: Any, x: str) -> Any:
    return emit.Div(x, emit.Add(emit.Abs(x), emit.const(1.0)))


def _gelu(emit: Any, x: str, approximate: str = "none") -> Any:
    if approximate != "tanh":  # needs Erf, which no product of other operators replaces
        return emit.plain("Gelu", x)
    return gelu_tanh_spelled_out(emit, x)


SPELLED_OUT: dict[str, Callable[..., Any]] = {
    "Elu": _elu,
    "Gelu": _gelu,
    "LeakyRelu": _leaky_relu,
    "Softplus": _softplus,
    "Softsign": _softsign,
}
"""How to write an operator whose input is float64."""
