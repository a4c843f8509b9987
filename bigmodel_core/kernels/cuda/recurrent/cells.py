"""What a thread does for one number of the state in one step of a recurrence, forward and back."""

from __future__ import annotations

import functools
from math import exp, tanh
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.recurrence import GATES

TANH, LSTM, GRU = (tuple(GATES).index(name) for name in ("tanh", "lstm", "gru"))


def sigmoid(x, one):
    e = exp(-abs(x))
    return one / (one + e) if x >= 0 else e / (one + e)


@functools.cache
def forward_step(cell: str, dtype: str, has_lengths: bool) -> Any:
    """One step: after (N, units), y, previous, cells, candidates (T, N, units), gates (T, N, width)."""
    zero, one, count = DTYPES[dtype].scalar(0), DTYPES[dtype].scalar(1), GATES[cell]
    kind = tuple(GATES).index(cell)

    def recurrent_step(
        after, y, previous, cells, candidates, gates, weight, bias, lengths, t, at, to, thread, threads
    ):
        units = after.shape[1]
        for item in range(thread, after.shape[0] * units, threads):
            n = item // units
            j = item % units
            if has_lengths and t >= lengths[n]:
                y[t, n, j] = zero
                after[n, j] = previous[t, n, j]
                if kind == LSTM:
                    cells[t + to, n, j] = cells[t + at, n, j]
                continue
            a, b, c, d = bias[j], zero, zero, zero
            if count > 2:
                b, c = bias[units + j], bias[2 * units + j]
            if count > 3:
                d = bias[3 * units + j]
            for k in range(units):
                h = previous[t, n, k]
                a += h * weight[k, j]
                if count > 2:
                    b += h * weight[k, units + j]
                    c += h * weight[k, 2 * units + j]
                if count > 3:
                    d += h * weight[k, 3 * units + j]
            if kind == LSTM:
                enter = sigmoid(gates[t, n, j] + a, one)
                forget = sigmoid(gates[t, n, units + j] + b, one)
                new = tanh(gates[t, n, 2 * units + j] + c)
                leave = sigmoid(gates[t, n, 3 * units + j] + d, one)
                cell_now = forget * cells[t + at, n, j] + enter * new
                state = leave * tanh(cell_now)
                gates[t, n, j], gates[t, n, units + j] = enter, forget
                gates[t, n, 2 * units + j], gates[t, n, 3 * units + j] = new, leave
                cells[t + to, n, j] = cell_now
            elif kind == GRU:
                reset = sigmoid(gates[t, n, j] + a, one)
                update = sigmoid(gates[t, n, units + j] + b, one)
                new = tanh(gates[t, n, 2 * units + j] + reset * c)
                state = new + update * (previous[t, n, j] - new)
                gates[t, n, j], gates[t, n, units + j], gates[t, n, 2 * units + j] = reset, update, new
                candidates[t, n, j] = c
            else:
                state = gates[t, n, j] + a
                if kind == TANH:
                    state = tanh(state)
                elif state < zero:
                    state = zero
            y[t, n, j] = state
            after[n, j] = state

    return recurrent_step


@functools.cache
def backward_step(cell: str, dtype: str, has_lengths: bool, has_dy: bool) -> Any:
    """One step back: from d_state and d_cell (N, units) after it to d_gates (T, N, width)."""
    zero, one = DTYPES[dtype].scalar(0), DTYPES[dtype].scalar(1)
    kind, count = tuple(GATES).index(cell), GATES[cell]

    def recurrent_step_back(
        d_state,
        d_cell,
        d_gates,
        d_products,
        dy,
        y,
        previous,
        cells,
        candidates,
        gates,
        lengths,
        t,
        at,
        to,
        thread,
        threads,
    ):
        units = d_state.shape[1]
        for item in range(thread, d_state.shape[0] * units, threads):
            n = item // units
            j = item % units
            if has_lengths and t >= lengths[n]:
                for gate in range(count):
                    d_gates[t, n, gate * units + j] = zero
                    d_products[t, n, gate * units + j] = zero
                continue
            dh = d_state[n, j]
            if has_dy:
                dh += dy[t, n, j]
            if kind == LSTM:
                enter, forget = gates[t, n, j], gates[t, n, units + j]
                new, leave = gates[t, n, 2 * units + j], gates[t, n, 3 * units + j]
                squashed = tanh(cells[t + to, n, j])
                dc = d_cell[n, j] + dh * leave * (one - squashed * squashed)
                d_gates[t, n, j] = dc * new * enter * (one - enter)
                d_gates[t, n, units + j] = dc * cells[t + at, n, j] * forget * (one - forget)
                d_gates[t, n, 2 * units + j] = dc * enter * (one - new * new)
                d_gates[t, n, 3 * units + j] = dh * squashed * leave * (one - leave)
                d_cell[n, j] = dc * forget
                d_state[n, j] = zero
            elif kind == GRU:
                reset, update, new = gates[t, n, j], gates[t, n, units + j], gates[t, n, 2 * units + j]
                d_new = dh * (one - update) * (one - new * new)
                d_reset = d_new * candidates[t, n, j] * reset * (one - reset)
                d_update = dh * (previous[t, n, j] - new) * update * (one - update)
                d_gates[t, n, j], d_products[t, n, j] = d_reset, d_reset
                d_gates[t, n, units + j], d_products[t, n, units + j] = d_update, d_update
                d_gates[t, n, 2 * units + j], d_products[t, n, 2 * units + j] = d_new, d_new * reset
                d_state[n, j] = dh * update
            else:
                h = y[t, n, j]
                if kind == TANH:
                    d_gates[t, n, j] = dh * (one - h * h)
                else:
                    d_gates[t, n, j] = dh if h > zero else zero
                d_state[n, j] = zero

    return recurrent_step_back
