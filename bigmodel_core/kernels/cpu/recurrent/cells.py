"""What one row does in one step of a recurrence: the gates, forward and backward, for each kind of cell.

Rows are addresses of `units` numbers. The functions take the same arguments for every cell and use those that
they need; loops are written so that LLVM turns them into vector code.
"""

from __future__ import annotations

import functools
from math import tanh
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES, SIZES
from bigmodel_core.kernels.cpu.engine.math import sigmoid64
from bigmodel_core.kernels.cpu.engine.memory import load, store
from bigmodel_core.kernels.cpu.engine.single import sigmoid32


@functools.cache
def forward_row(cell: str, dtype: str) -> Any:
    """`row(units, apart, gates, sums, before, cell_before, cell_after, candidates, y, after)`.

    Gates lie `apart` bytes from each other. `sums` holds what they are functions of; for GRU that is the
    state's part, and `gates` the input's. `gates` gets the activated gates. `before` is the state before the
    step; that after it is written to `y` and `after`.
    """
    read, write = load(dtype), store(dtype)
    number = DTYPES[dtype].scalar
    sigmoid = sigmoid32 if dtype == "float32" else sigmoid64

    def copy(units, source, y, after):
        """In a separate loop: `y` may be `gates`, which vector code must not read in the same loop."""
        for j in range(units):
            h = read(source, j)
            write(y, j, h)
            write(after, j, h)

    def tanh_row(units, apart, gates, sums, before, cell_before, cell_after, candidates, y, after):
        for j in range(units):
            write(sums, j, tanh(read(sums, j)))
        copy(units, sums, y, after)

    def relu_row(units, apart, gates, sums, before, cell_before, cell_after, candidates, y, after):
        for j in range(units):
            h = read(sums, j)
            write(sums, j, number(0) if h < number(0) else h)  # NaN stays NaN
        copy(units, sums, y, after)

    def lstm_row(units, apart, gates, sums, before, cell_before, cell_after, candidates, y, after):
        for j in range(units):
            enter = sigmoid(read(sums, j))
            forget = sigmoid(read(sums + apart, j))
            new = tanh(read(sums + 2 * apart, j))
            leave = sigmoid(read(sums + 3 * apart, j))
            c = forget * read(cell_before, j) + enter * new
            h = leave * tanh(c)
            write(gates, j, enter)
            write(gates + apart, j, forget)
            write(gates + 2 * apart, j, new)
            write(gates + 3 * apart, j, leave)
            write(cell_after, j, c)
            write(y, j, h)
            write(after, j, h)

    def gru_row(units, apart, gates, sums, before, cell_before, cell_after, candidates, y, after):
        for j in range(units):
            reset = sigmoid(read(gates, j) + read(sums, j))
            update = sigmoid(read(gates + apart, j) + read(sums + apart, j))
            candidate = read(sums + 2 * apart, j)
            new = tanh(read(gates + 2 * apart, j) + reset * candidate)
            h = new + update * (read(before, j) - new)
            write(gates, j, reset)
            write(gates + apart, j, update)
            write(gates + 2 * apart, j, new)
            write(candidates, j, candidate)
            write(y, j, h)
            write(after, j, h)

    return {"tanh": tanh_row, "relu": relu_row, "lstm": lstm_row, "gru": gru_row}[cell]


@functools.cache
def backward_row(cell: str, dtype: str) -> Any:
    """The function of one row that goes back over a step, its gates one after the other; `tanh_row` below
    lists the arguments.

    `d_state` holds the gradient of the state after the step and gets the part of the gradient of the state
    before it that does not pass the recurrent weights; `d_cell` likewise, whole.
    """
    read, write, size = load(dtype), store(dtype), SIZES[dtype]
    number = DTYPES[dtype].scalar

    def tanh_row(
        units, y, previous, gates, cell_before, cell_after, candidates, d_state, d_cell, d_gates, d_recurrent
    ):
        for j in range(units):
            h = read(y, j)
            write(d_gates, j, read(d_state, j) * (number(1) - h * h))
            write(d_state, j, number(0))

    def relu_row(
        units, y, previous, gates, cell_before, cell_after, candidates, d_state, d_cell, d_gates, d_recurrent
    ):
        for j in range(units):
            d = read(d_state, j)
            write(d_gates, j, d if read(y, j) > number(0) else number(0))
            write(d_state, j, number(0))

    def lstm_row(
        units, y, previous, gates, cell_before, cell_after, candidates, d_state, d_cell, d_gates, d_recurrent
    ):
        row, one = units * size, number(1)
        for j in range(units):
            enter, forget = read(gates, j), read(gates + row, j)
            new, leave = read(gates + 2 * row, j), read(gates + 3 * row, j)
            dh, squashed = read(d_state, j), tanh(read(cell_after, j))
            dc = read(d_cell, j) + dh * leave * (one - squashed * squashed)
            write(d_gates, j, dc * new * enter * (one - enter))
            write(d_gates + row, j, dc * read(cell_before, j) * forget * (one - forget))
            write(d_gates + 2 * row, j, dc * enter * (one - new * new))
            write(d_gates + 3 * row, j, dh * squashed * leave * (one - leave))
            write(d_cell, j, dc * forget)
            write(d_state, j, number(0))

    def gru_row(
        units, y, previous, gates, cell_before, cell_after, candidates, d_state, d_cell, d_gates, d_recurrent
    ):
        row, one = units * size, number(1)
        for j in range(units):
            reset, update, new = read(gates, j), read(gates + row, j), read(gates + 2 * row, j)
            dh = read(d_state, j)
            d_new = dh * (one - update) * (one - new * new)
            d_reset = d_new * read(candidates, j) * reset * (one - reset)
            d_update = dh * (read(previous, j) - new) * update * (one - update)
            write(d_gates, j, d_reset)
            write(d_gates + row, j, d_update)
            write(d_gates + 2 * row, j, d_new)
            write(d_recurrent, j, d_reset)
            write(d_recurrent + row, j, d_update)
            write(d_recurrent + 2 * row, j, d_new * reset)
            write(d_state, j, dh * update)

    return {"tanh": tanh_row, "relu": relu_row, "lstm": lstm_row, "gru": gru_row}[cell]
