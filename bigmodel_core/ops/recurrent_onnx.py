"""Recurrent ops as ONNX's own RNN, LSTM and GRU operators: weights and gates laid out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bigmodel_core.ops.recurrent import Recurrent

ORDER = {"tanh": (0,), "relu": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""Where each of ONNX's gates is in ours: input, output, forget, cell; update, reset, hidden."""


def lower(op: Recurrent, emit: Any, x: Any, *names: Any) -> tuple[Any, ...]:
    """Emit one operator; returns the names of y and the last states, and None for what the gradient keeps."""
    y, *states = native([op], emit, x, [names])
    y = emit.Squeeze(y, emit.ints((1,)))
    states = [emit.Squeeze(state, emit.ints((0,))) for state in states]
    return (y, *states, *(None,) * (len(emit.outputs) - 1 - len(states)))


def native(
    directions: Sequence[Recurrent],
    emit: Any,
    x: Any,
    names: Sequence[Sequence[Any]],
    initial: Sequence[Any] | None = None,
) -> list[Any]:
    """Emit one operator for one direction or for two, forward and reverse.

    Args:
        directions: the ops; they differ in their direction only.
        emit: what writes nodes; its outputs begin with that of the first op.
        x: the input (T, N, F) of all directions.
        names: the further inputs of each op.
        initial: the initial states (directions, N, H), if they exist as such.

    Returns:
        y (T, directions, N, H) and the last states (directions, N, H) each.
    """
    op = directions[0]
    weights, recurrent_weights, input_biases, recurrent_biases, *rest = zip(*names, strict=True)
    _, batch, units = emit.outputs[0].shape
    order = ORDER[op.cell]
    lengths = emit.cast(rest.pop(0)[0], "int32") if op.has_lengths else None
    if initial is None:
        apart = [[emit.reshape(state, (1, batch, units)) for state in states] for states in rest]
        initial = [_stacked(emit, states) for states in apart]
    operator = {"lstm": "LSTM", "gru": "GRU"}.get(op.cell, "RNN")
    direction = "bidirectional" if len(directions) > 1 else "reverse" if op.reverse else "forward"
    attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
    if operator == "RNN":
        attributes["activations"] = [op.cell.capitalize()] * len(directions)
    if operator == "GRU":
        attributes["linear_before_reset"] = 1  # the reset gate after the product
    y, *states = getattr(emit, operator)(
        x,
        _weight(emit, weights, order, units),
        _weight(emit, recurrent_weights, order, units),
        _bias(emit, list(zip(input_biases, recurrent_biases, strict=True)), order, units),
        lengths,
        *initial,
        outputs=1 + op.states,
        **attributes,
    )
    if op.has_lengths and op.has_initial:  # ONNX Runtime gives zeros for rows of length 0
        empty = emit.Unsqueeze(emit.Equal(lengths, emit.const(0, "int32")), emit.ints((1,)))
        states = [emit.Where(empty, old, new) for old, new in zip(initial, states, strict=True)]
    return [y, *states]


def _stacked(emit: Any, parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else emit.Concat(*parts, axis=0)


def _ordered(array: np.ndarray, order: Sequence[int], units: int) -> np.ndarray:
    """The gates along the last axis, reordered."""
    return np.concatenate([array[..., gate * units : (gate + 1) * units] for gate in order], -1)


def _weight(emit: Any, weights: Sequence[Any], order: Sequence[int], units: int) -> Any:
    """(inputs, gates) of each direction as ONNX's (directions, gates, inputs)."""
    folded = emit.fold(
        lambda *arrays: np.stack([_ordered(array, order, units).T for array in arrays]), *weights
    )
    if folded is not None:
        return folded
    parts = [emit.Transpose(_joined(emit, [weight], order, units, 1), perm=[1, 0]) for weight in weights]
    return _stacked(emit, [emit.Unsqueeze(part, emit.ints((0,))) for part in parts])


def _bias(emit: Any, biases: Sequence[Sequence[Any]], order: Sequence[int], units: int) -> Any:
    """Both biases of each direction as ONNX's (directions, 2 * gates)."""
    folded = emit.fold(
        lambda *arrays: np.concatenate([_ordered(array, order, units) for array in arrays]).reshape(
            len(biases), -1
        ),
        *(bias for pair in biases for bias in pair),
    )
    if folded is not None:
        return folded
    parts = [_joined(emit, pair, order, units, 0) for pair in biases]
    return _stacked(emit, [emit.Unsqueeze(part, emit.ints((0,))) for part in parts])


def _joined(emit: Any, values: Sequence[Any], order: Sequence[int], units: int, axis: int) -> Any:
    """Weights that the file computes: their gates cut out and joined in another order."""
    parts = [emit.slice(value, axis, gate * units, units) for value in values for gate in order]
    return parts[0] if len(parts) == 1 else emit.Concat(*parts, axis=axis)
