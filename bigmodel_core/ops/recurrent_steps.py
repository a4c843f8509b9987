"""Recurrent layers step by step: what `Recurrent` and its gradient are made of, where they are differentiated
again. The formulas are those of `kernels/cpu/recurrent/cells.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, dim_value, format_shape
from bigmodel_core.kernels.recurrence import GATES, SAVED
from bigmodel_core.ops.activations import relu, sigmoid, tanh
from bigmodel_core.ops.comparison import less, where
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.ops.linear import MatMul, affine
from bigmodel_core.ops.shape import reshape, zeros_like
from bigmodel_core.ops.slicing import Slice

Values = Sequence[Value]


@dataclass(frozen=True)
class Split(Op):
    """Parts of one size along an axis: slices, whose gradients are joined.

    It has no kernel. The gradient of a slice alone is as large as the whole, and there is a slice for each
    step."""

    axis: int
    parts: int
    exported: ClassVar[bool] = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        shape = list(x.shape)
        shape[self.axis] = self._width(x)
        return (x.with_shape(shape),) * self.parts

    def decomposed(self, *inputs: Value) -> tuple[Value, ...]:
        (x,) = inputs
        width = self._width(x.spec)
        return tuple(Slice(self.axis, part * width, width)(x) for part in range(self.parts))

    def _width(self, x: Spec) -> int:
        return dim_value(x.shape[self.axis], {}) // self.parts

    def grad(self, dy: Any, y: Any, x: Value) -> tuple[Value]:
        return (concatenate(dy, self.axis) if isinstance(dy, tuple) else dy,)


def forward_steps(op: Any, inputs: Values) -> tuple[Value, ...]:
    """The outputs of a `Recurrent`.

    Raises:
        GraphError: the number of steps is free.
    """
    x, weight, recurrent, input_bias, recurrent_bias, *rest = inputs
    lengths = rest.pop(0) if op.has_lengths else None
    projected = _steps(affine(x, weight, input_bias))
    steps = len(projected)
    nothing = zeros_like(_split(projected[0], GATES[op.cell])[0])
    h, c = (*rest, nothing, nothing)[:2]
    made: dict[str, dict[int, Value]] = {name: {} for name in ("y", *SAVED[op.cell])}
    if op.cell == "lstm":
        made["cells"][steps if op.reverse else 0] = c
    for t in _order(op, steps):
        made["previous"][t] = h
        state, after, kept = _forward(op.cell, projected[t], affine(h, recurrent, recurrent_bias), h, c)
        for name, value in kept.items():
            made[name][t] = value
        valid = _valid(lengths, t)
        made["y"][t] = _where(valid, state, nothing)
        h, c = _where(valid, state, h), _where(valid, after, c)
        if op.cell == "lstm":
            made["cells"][t if op.reverse else t + 1] = c
    arrays = {name: _joined([found[t] for t in sorted(found)]) for name, found in made.items()}
    return arrays["y"], *(h, c)[: op.states], *(arrays[name] for name in SAVED[op.cell])


def _forward(
    cell: str, x: Value, product: Value, h: Value, c: Value
) -> tuple[Value, Value, dict[str, Value]]:
    """The state and the cell after a step, and what is kept of it."""
    if cell == "lstm":
        enter, forget, new, leave = _split(x + product, 4)
        enter, forget, new, leave = sigmoid(enter), sigmoid(forget), tanh(new), sigmoid(leave)
        after = forget * c + enter * new
        return leave * tanh(after), after, {"gates": concatenate([enter, forget, new, leave], 1)}
    if cell == "gru":
        reset, update, new = _split(x, 3)
        for_reset, for_update, candidate = _split(product, 3)
        reset, update = sigmoid(reset + for_reset), sigmoid(update + for_update)
        new = tanh(new + reset * candidate)
        kept = {"gates": concatenate([reset, update, new], 1), "candidates": candidate}
        return new + update * (h - new), c, kept
    return (tanh if cell == "tanh" else relu)(x + product), c, {}


def backward_steps(op: Any, inputs: Values) -> tuple[Value, ...]:
    """The outputs of a `RecurrentGrad`.

    Raises:
        GraphError: the number of steps is free.
    """
    recurrent, y, *rest = inputs
    saved = {"y": _steps(y)}
    for name in SAVED[op.cell]:
        saved[name] = _steps(rest.pop(0))
    lengths = rest.pop(0) if op.has_lengths else None
    given = (rest.pop(0) if is_given else None for is_given in op.given)
    dy, d_last, *d_cells = given
    steps = len(saved["y"])
    upstream = None if dy is None else _steps(dy)
    nothing = zeros_like(saved["y"][0])
    dh = nothing if d_last is None else d_last
    dc = next((value for value in d_cells if value is not None), nothing)
    d_gates: dict[int, Value] = {}
    d_products: dict[int, Value] = {}
    for t in reversed([*_order(op, steps)]):
        valid = _valid(lengths, t)
        up = dh if upstream is None else dh + upstream[t]
        at = {name: _where(valid, items[t]) for name, items in saved.items() if name != "cells"}
        if op.cell == "lstm":
            at["before"], at["after"] = (saved["cells"][t + step] for step in (op.reverse, 1 - op.reverse))
        gates, products, direct, cell = _backward(op.cell, at, up, dc)
        d_gates[t], d_products[t] = _where(valid, gates), _where(valid, products)
        dh = _where(valid, direct, dh) + MatMul(False, True)(d_products[t], recurrent)
        dc = _where(valid, cell, dc)
    found = [d_gates, d_products] if op.cell == "gru" else [d_gates]
    arrays = (_joined([items[t] for t in sorted(items)]) for items in found)
    return *arrays, *((dh, dc) if op.cell == "lstm" else (dh,))


def _backward(cell: str, at: dict[str, Value], dh: Value, dc: Value) -> tuple[Value, Value, Value, Value]:
    """The gradients of the projection and of the product, and those of the state and the cell before the step
    that do not pass the recurrent weight."""
    nothing = zeros_like(dh)
    if cell == "lstm":
        enter, forget, new, leave = _split(at["gates"], 4)
        squashed = tanh(at["after"])
        dc = dc + dh * leave * (1.0 - squashed * squashed)
        parts = [
            dc * new * enter * (1.0 - enter),
            dc * at["before"] * forget * (1.0 - forget),
            dc * enter * (1.0 - new * new),
            dh * squashed * leave * (1.0 - leave),
        ]
        d_gates = concatenate(parts, 1)
        return d_gates, d_gates, nothing, dc * forget
    if cell == "gru":
        reset, update, new = _split(at["gates"], 3)
        d_new = dh * (1.0 - update) * (1.0 - new * new)
        d_reset = d_new * at["candidates"] * reset * (1.0 - reset)
        d_update = dh * (at["previous"] - new) * update * (1.0 - update)
        d_gates = concatenate([d_reset, d_update, d_new], 1)
        return d_gates, concatenate([d_reset, d_update, d_new * reset], 1), dh * update, dc
    y = at["y"]
    d_gates = dh * (1.0 - y * y) if cell == "tanh" else where(y > 0, dh, 0.0)
    return d_gates, d_gates, nothing, dc


def _split(x: Value, parts: int, axis: int = 1) -> tuple[Value, ...]:
    found = Split(axis, parts)(x)
    return found if isinstance(found, tuple) else (found,)


def _steps(x: Value) -> list[Value]:
    """(T, N, width) as T arrays (N, width)."""
    steps = x.shape[0]
    if not isinstance(steps, int) or steps == 0:
        raise GraphError(
            "second derivatives of a recurrent layer take a known number of steps, got"
            f" {format_shape(x.shape)} as (steps, batch, width).",
            fix="fix the length of sequences in the input's spec.",
        )
    return [reshape(part, x.shape[1:]) for part in _split(x, steps, 0)]


def _joined(parts: Values) -> Value:
    """Arrays (N, width) as (T, N, width)."""
    return concatenate([reshape(part, (1, *part.shape)) for part in parts], 0)


def _order(op: Any, steps: int) -> Iterator[int]:
    return reversed(range(steps)) if op.reverse else iter(range(steps))


def _valid(lengths: Value | None, t: int) -> Value | None:
    """(N, 1): which rows take part in a step."""
    return None if lengths is None else reshape(less(t, lengths), (-1, 1))


def _where(valid: Value | None, inside: Value, outside: Value | float = 0.0) -> Value:
    return inside if valid is None else where(valid, inside, outside)
