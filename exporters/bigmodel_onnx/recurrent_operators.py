"""How RNN, LSTM and GRU are read: as far as they are the cells that the core computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.kernels.recurrence import GATES
from bigmodel_core.ops.recurrent_onnx import ORDER
from bigmodel_onnx.nodes import Call, reads

_ACTIVATIONS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
"""The operators' defaults."""


@reads("RNN", "LSTM", "GRU")
def _recurrent(call: Call) -> Any:
    direction = call.get("direction", "forward")
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}.get(direction)
    if directions is None:
        raise ExportError(f"the direction {direction} of {call.operator} cannot be read.")
    cells = _cells(call, len(directions))
    batch_first = bool(call.get("layout", 0))
    x = ops.transpose(call.value(0), (1, 0, 2)) if batch_first else call.value(0)
    if x.ndim != 3 or call.value(2).ndim != 3 or call.value(2).shape[0] != len(directions):
        raise ExportError(f"the weights of {call.operator} are not those of {len(directions)} direction(s).")
    units = call.value(2).shape[2]
    lengths = ops.cast(call.value(4), "int64") if call.has(4) else None
    found = []
    for number, (reverse, cell) in enumerate(zip(directions, cells, strict=True)):
        found.append(
            ops.recurrent(
                cell,
                x,
                _weight(call, 1, number, cell),
                _weight(call, 2, number, cell),
                *_biases(call, number, cell, x.dtype),
                lengths,
                _initial(call, number, (x.shape[1], units), x.dtype, batch_first),
                reverse,
            )
        )
    steps, batch = x.shape[:2]
    outputs = [_beside([y for y, _ in found], (steps, 1, batch, units), 1)]
    for states in zip(*(states for _, states in found), strict=True):
        outputs.append(
            _beside(states, (batch, 1, units) if batch_first else (1, batch, units), int(batch_first))
        )
    if batch_first:
        outputs[0] = ops.transpose(outputs[0], (2, 0, 1, 3))
    return tuple(outputs)


def _cells(call: Call, directions: int) -> list[str]:
    """The kind of cell of each direction.

    Raises:
        ExportError: it is none of the core's.
    """
    default = _ACTIVATIONS[call.operator]
    given = [str(name).lower() for name in call.get("activations") or default * directions]
    kinds = [given[at : at + len(default)] for at in range(0, len(given), len(default))]
    if call.operator == "RNN":
        fits = len(given) == directions and set(given) <= {"tanh", "relu"}
    else:
        fits = kinds == [[name.lower() for name in default]] * directions
    if not fits:
        raise ExportError(f"{call.operator} with the activations {', '.join(given)} cannot be read.")
    if call.has(7):
        raise ExportError("LSTM with peepholes cannot be read.", fix="train it without peepholes.")
    for name in ("clip", "input_forget"):
        if call.get(name):
            raise ExportError(f"{call.operator} with {name} cannot be read.")
    if call.operator == "GRU" and not call.get("linear_before_reset", 0):
        raise ExportError(
            "GRU with its reset gate before the matrix product cannot be read.",
            fix="export it with linear_before_reset=1, as PyTorch and cuDNN compute it.",
        )
    return given if call.operator == "RNN" else [call.operator.lower()] * directions


def _part(value: Value, number: int) -> Value:
    """One of the directions, which are along the first axis."""
    return ops.reshape(value, value.shape[1:]) if value.shape[0] == 1 else value[number]


def _gates(value: Value, cell: str) -> Value:
    """The gates along the first axis in our order."""
    if GATES[cell] == 1:
        return value
    height = value.shape[0]
    if not isinstance(height, int) or height % GATES[cell]:
        raise ExportError(f"{height} rows of weights are not those of {GATES[cell]} gates.")
    units = height // GATES[cell]
    places = [ORDER[cell].index(gate) for gate in range(GATES[cell])]
    return ops.concatenate([value[place * units : (place + 1) * units] for place in places], 0)


def _weight(call: Call, place: int, number: int, cell: str) -> Value:
    """(directions, gates, inputs) as (inputs, gates) of one direction."""
    return ops.transpose(_gates(_part(call.value(place), number), cell))


def _biases(call: Call, number: int, cell: str, dtype: str) -> tuple[Value, Value]:
    """Both biases of one direction; zeros if the file has none."""
    width = call.value(1).shape[1]
    if not isinstance(width, int):
        raise ExportError(f"the weights of {call.operator} have no fixed shape.")
    if not call.has(3):
        zeros = call.graph.constant(np.zeros(width, dtype))
        return zeros, zeros
    both = _part(call.value(3), number)
    return _gates(both[:width], cell), _gates(both[width:], cell)


def _initial(
    call: Call, number: int, shape: tuple[Any, ...], dtype: str, batch_first: bool
) -> tuple[Value, ...]:
    """The initial states of one direction; empty if the file has none."""
    places = (5, 6) if call.operator == "LSTM" else (5,)
    if not any(call.has(place) for place in places):
        return ()
    states = []
    for place in places:
        if not call.has(place):
            states.append(ops.broadcast_to(call.graph.constant(0.0, dtype), shape))
        elif batch_first:
            states.append(call.value(place)[:, number])
        else:
            states.append(_part(call.value(place), number))
    return tuple(states)


def _beside(values: Any, single: tuple[Any, ...], axis: int) -> Value:
    """The directions along their own axis."""
    parts = [ops.reshape(value, single) for value in values]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis)
