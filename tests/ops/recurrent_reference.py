"""Recurrent layers in NumPy, one row and one step at a time: what the tests compare with."""

from __future__ import annotations

from typing import Any

import numpy as np

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(cell: str, projected: np.ndarray, product: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
    """The states of one row after one step."""
    parts, products = np.split(projected, GATES[cell]), np.split(product, GATES[cell])
    if cell in ("tanh", "relu"):
        total = projected + product
        return [np.tanh(total) if cell == "tanh" else np.maximum(total, 0)]
    if cell == "lstm":
        enter, forget, new, leave = (a + b for a, b in zip(parts, products, strict=True))
        c = sigmoid(forget) * states[1] + sigmoid(enter) * np.tanh(new)
        return [sigmoid(leave) * np.tanh(c), c]
    reset, update = sigmoid(parts[0] + products[0]), sigmoid(parts[1] + products[1])
    new = np.tanh(parts[2] + reset * products[2])
    return [(1 - update) * new + update * states[0]]


def run(
    cell: str,
    x: np.ndarray,
    weights: tuple[np.ndarray, ...],
    lengths: np.ndarray | None = None,
    initial: tuple[np.ndarray, ...] = (),
    reverse: bool = False,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """y (T, N, H) and the last states (N, H) for x (T, N, F); weights as for `ops.recurrent`."""
    steps, batch, _ = x.shape
    weight, recurrent, input_bias, recurrent_bias = weights
    units = len(recurrent)
    y = np.zeros((steps, batch, units))
    count = 2 if cell == "lstm" else 1
    last = [np.zeros((batch, units)) for _ in range(count)]
    for n in range(batch):
        states = [state[n] for state in initial] or [np.zeros(units) for _ in range(count)]
        valid: Any = range(steps if lengths is None else int(lengths[n]))
        for t in reversed(valid) if reverse else valid:
            product = states[0] @ recurrent + recurrent_bias
            states = step(cell, x[t, n] @ weight + input_bias, product, states)
            y[t, n] = states[0]
        for target, state in zip(last, states, strict=True):
            target[n] = state
    return y, last
