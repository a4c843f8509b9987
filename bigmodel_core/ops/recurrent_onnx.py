"""Recurrent ops as ONNX's own RNN, LSTM and GRU operators: weights and gates laid out anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bigmodel_core.ops.recurrent import Recurrent

ORDER = {"tanh": (0,), "relu": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""Where each of ONNX's gates lies in ours: input, output, forget, cell; update, reset, hidden."""


def lower(op: Recurrent, emit: Any, x: Any, *names: Any) -> tuple[Any, ...]:
    """Emit one operator; returns the names of y and the last states, and None for what the gradient keeps."""
    weight, recurrent, input_bias, recurrent_bias, *rest = names
    _, batch, units = emit.outputs[0].shape
    order = ORDER[op.cell]
    lengths = emit.cast(rest.pop(0), "int32") if op.has_lengths else None
    initial = [emit.reshape(state, (1, batch, units)) for state in rest]
    operator = {"lstm": "LSTM", "gru": "GRU"}.get(op.cell, "RNN")
    attributes: dict[str, Any] = {"hidden_size": units, "direction": "reverse" if op.reverse else "forward"}
    if operator == "RNN":
        attributes["activations"] = [op.cell.capitalize()]
    if operator == "GRU":
        attributes["linear_before_reset"] = 1  # the reset gate after the product
    outputs = getattr(emit, operator)(
        x,
        _weight(emit, weight, order, units),
        _weight(emit, recurrent, order, units),
        _bias(emit, (input_bias, recurrent_bias), order, units),
        lengths,
        *initial,
        outputs=1 + op.states,
        **attributes,
    )
    y = emit.Squeeze(outputs[0], emit.ints((1,)))
    states = [emit.Squeeze(state, emit.ints((0,))) for state in outputs[1:]]
    if op.has_lengths and op.has_initial:  # ONNX Runtime gives zeros for rows of length 0
        empty = emit.Unsqueeze(emit.Equal(lengths, emit.const(0, "int32")), emit.ints((1,)))
        states = [emit.Where(empty, old, new) for old, new in zip(rest, states, strict=True)]
    return (y, *states, *(None,) * (len(emit.outputs) - 1 - len(states)))


def _ordered(array: np.ndarray, order: Sequence[int], units: int) -> np.ndarray:
    """The gates, which lie one after the other along the last axis, in another order."""
    return np.concatenate([array[..., gate * units : (gate + 1) * units] for gate in order], -1)


def _weight(emit: Any, weight: Any, order: Sequence[int], units: int) -> Any:
    """(inputs, gates) as ONNX's (1, gates, inputs)."""
    folded = emit.fold(lambda array: _ordered(array, order, units).T[None], weight)
    if folded is not None:
        return folded
    return emit.Unsqueeze(
        emit.Transpose(_joined(emit, [weight], order, units, 1), perm=[1, 0]), emit.ints((0,))
    )


def _bias(emit: Any, biases: Sequence[Any], order: Sequence[int], units: int) -> Any:
    """Both biases as ONNX's (1, 2 * gates)."""
    folded = emit.fold(
        lambda *arrays: np.concatenate([_ordered(array, order, units) for array in arrays])[None], *biases
    )
    if folded is not None:
        return folded
    return emit.Unsqueeze(_joined(emit, biases, order, units, 0), emit.ints((0,)))


def _joined(emit: Any, values: Sequence[Any], order: Sequence[int], units: int, axis: int) -> Any:
    """Weights that the file computes: their gates cut out and joined in another order."""
    parts = [emit.slice(value, axis, gate * units, units) for value in values for gate in order]
    return parts[0] if len(parts) == 1 else emit.Concat(*parts, axis=axis)
