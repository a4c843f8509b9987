"""What kernels of all devices know of recurrent layers: gates, sizes, and which array is which.

Arrays are time-major, (T, N, width).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
"""The kinds of cells, and how many gates each has: one; input, forget, cell, output; reset, update, new."""

SAVED = {
    "tanh": ("previous",),
    "relu": ("previous",),
    "lstm": ("previous", "gates", "cells"),
    "gru": ("previous", "gates", "candidates"),
}
"""What the forward run keeps for the gradient, after `y` and the last states."""

GRADIENTS = {
    "tanh": ("d_gates", "d_initial"),
    "relu": ("d_gates", "d_initial"),
    "lstm": ("d_gates", "d_initial", "d_initial_cell"),
    "gru": ("d_gates", "d_products", "d_initial"),
}
"""What the run back gives."""


@dataclass(frozen=True)
class Recurrence:
    """The sizes of a recurrence.

    Args:
        cell: "tanh", "relu", "lstm" or "gru".
        steps: how long sequences are.
        batch: how many there are.
        units: the width of the state.
        dtype: "float32" or "float64".
        reverse: whether it runs from the last step to the first.
    """

    cell: str
    steps: int
    batch: int
    units: int
    dtype: str
    reverse: bool

    @property
    def width(self) -> int:
        """The width of all gates together."""
        return GATES[self.cell] * self.units


def recurrence(op: Any, y: Spec) -> Recurrence:
    """The sizes of a `Recurrent`, or of its gradient, whose y is (T, N, units)."""
    steps, batch, units = y.sizes
    return Recurrence(op.cell, steps, batch, units, y.dtype, op.reverse)


def forward_arrays(call: Call) -> dict[str, Any]:
    """The memory of each array of a `Recurrent`, by name; those that it has not are left out.

    - `x` (T, N, features), `input_weight` (features, width), `recurrent_weight` (units, width), `input_bias`
      and `recurrent_bias` (width,);
    - `lengths` (N,) int64: how many steps of each row count;
    - `initial` and `initial_cell` (N, units): the states before the first step;
    - `y` and `previous` (T, N, units), `last` and `last_cell` (N, units);
    - `gates` (T, N, width): the activated gates;
    - `cells` (T + 1, N, units), `candidates` (T, N, units).
    """
    op = call.op
    states = 2 if op.cell == "lstm" else 1
    given = [
        *("x", "input_weight", "recurrent_weight", "input_bias", "recurrent_bias"),
        *(("lengths",) if op.has_lengths else ()),
        *(("initial", "initial_cell")[:states] if op.has_initial else ()),
    ]
    made = ["y", *("last", "last_cell")[:states], *SAVED[op.cell]]
    return _named(call, given, made)


def backward_arrays(call: Call) -> dict[str, Any]:
    """The memory of each array of a `RecurrentGrad`, by name; those that it has not are left out.

    - `recurrent_weight`, `lengths`, `y` and what the forward run kept, as in `forward_arrays`;
    - `dy`, `d_last` and `d_last_cell`: the gradients of outputs, those that are not zero;
    - `d_gates` and `d_products` (T, N, width): the gradients of the projections, and of the products with the
      recurrent weight where these differ;
    - `d_initial` and `d_initial_cell` (N, units).
    """
    op = call.op
    upstream = zip(("dy", "d_last", "d_last_cell"), op.given, strict=False)
    given = [
        *("recurrent_weight", "y", *SAVED[op.cell]),
        *(("lengths",) if op.has_lengths else ()),
        *(name for name, is_given in upstream if is_given),
    ]
    return _named(call, given, GRADIENTS[op.cell])


def _named(call: Call, given: Any, made: Any) -> dict[str, Any]:
    return dict(zip((*given, *made), (*call.input_buffers, *call.output_buffers), strict=True))
