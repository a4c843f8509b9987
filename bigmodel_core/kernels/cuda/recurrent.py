"""Recurrent layers on a CUDA device: a launch for each step, a thread for each number of the state.

The projections of all inputs are one matrix product before the steps; the products with the recurrent weights
are sums that each thread makes on its own. Plans replay all launches on one stream.
"""

from __future__ import annotations

import functools
from math import exp, tanh
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda import gemm
from bigmodel_core.kernels.cuda.array import wrapper
from bigmodel_core.kernels.cuda.kernels import cuda_launches
from bigmodel_core.kernels.cuda.launch import CudaBuffer, CudaLaunch, View, over_items
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.matrix_product import MatrixProduct
from bigmodel_core.kernels.recurrence import CELLS, SAVED

WRONG = codes.LENGTH_OUT_OF_RANGE
TANH, LSTM, GRU = (tuple(CELLS).index(name) for name in ("tanh", "lstm", "gru"))


class Run:
    """The sizes of a recurrence, and its arrays as kernels see them."""

    def __init__(self, op: Any, y: Spec) -> None:
        self.cell, self.reverse, self.dtype = op.cell, op.reverse, y.dtype
        self.steps, self.batch, self.units = y.sizes
        self.width = CELLS[op.cell] * self.units
        self.order = range(self.steps - 1, -1, -1) if op.reverse else range(self.steps)

    def states(self, buffer: CudaBuffer, steps: int) -> View:
        """(steps, N, units)."""
        return View(buffer, (steps, self.batch, self.units), self.dtype)

    def state(self, buffer: CudaBuffer, step: int = 0) -> View:
        """(N, units) at a step."""
        shape = self.batch, self.units
        return View(buffer, shape, self.dtype, step * self.batch * self.units)

    def gates(self, buffer: CudaBuffer) -> View:
        """(T, N, all gates)."""
        return View(buffer, (self.steps, self.batch, self.width), self.dtype)

    def launch(self, function: Any, arrays: list[View], *numbers: int) -> CudaLaunch:
        """A thread for each number of the state."""
        arguments = [*arrays, *(np.int64(number) for number in numbers)]
        compiled = wrapper(function, len(arrays))
        return over_items(compiled, arguments, self.batch * self.units)

    def copied(self, target: View, source: View | None) -> CudaLaunch:
        """`target` becomes `source`, or zeros without one."""
        return self.launch(copy_state, [target, source or target], int(source is not None))


@cuda_launches
def forward(call: Call) -> list[CudaLaunch]:
    """All steps of a recurrence."""
    op: Any = call.op
    run = Run(op, call.outputs[0])
    if run.batch == 0:
        return []
    x, weight, recurrent, input_bias, recurrent_bias, *rest = call.input_buffers
    lengths = rest.pop(0) if op.has_lengths else None
    names = ("y", "last", *(("last_cell",) if op.states == 2 else ()), *SAVED[op.cell])
    made: dict[str, Any] = dict(zip(names, call.output_buffers, strict=True))
    gates: Any = made.get("gates", made["y"])
    features = call.inputs[0].sizes[2]
    product = MatrixProduct(run.steps * run.batch, run.width, features, run.dtype)
    found = [*gemm.launches(product, x, weight, gates, input_bias)]
    bias = View(recurrent_bias, (run.width,), run.dtype)
    counts = bias if lengths is None else View(lengths, (run.batch,), "int64")
    if lengths is not None:
        checked = wrapper(check_lengths, 1)
        found.append(over_items(checked, [counts, np.int64(run.steps), call.status(counts)], run.batch))
    first = run.order[0] if run.steps else 0
    begin = made["previous"] if run.steps else made["last"]
    found.append(run.copied(run.state(begin, first), run.state(rest[0]) if rest else None))
    at, to = (
        int(run.reverse),
        int(not run.reverse),
    )  # the cell before and after step t: cells[t + at], [t + to]
    if "cells" in made:
        initial = run.state(rest[1]) if rest else None
        found.append(run.copied(run.state(made["cells"], first + at if run.steps else 0), initial))
    step = forward_step(run.cell, run.dtype, lengths is not None)
    cells = run.states(made["cells"], run.steps + 1) if "cells" in made else run.states(made["y"], run.steps)
    arrays = [
        run.states(made["y"], run.steps),
        run.states(made["previous"], run.steps),
        cells,
        run.states(made.get("candidates", made["y"]), run.steps),
        run.gates(gates),
        View(recurrent, (run.units, run.width), run.dtype),
        bias,
        counts,
    ]
    for t, following in zip(run.order, [*run.order[1:], None], strict=True) if run.steps else ():
        after = made["last"] if following is None else made["previous"]
        found.append(run.launch(step, [run.state(after, following or 0), *arrays], t, at, to))
    if "cells" in made:
        end = run.order[-1] + to if run.steps else 0
        found.append(run.copied(run.state(made["last_cell"]), run.state(made["cells"], end)))
    return found


@cuda_launches
def backward(call: Call) -> list[CudaLaunch]:
    """All steps of a recurrence back, from gradients of its outputs to those of its projections."""
    op: Any = call.op
    run = Run(op, call.inputs[1])
    if run.batch == 0:
        return []
    recurrent, *rest = call.input_buffers
    saved: dict[str, Any] = {name: rest.pop(0) for name in ("y", *SAVED[op.cell])}
    lengths = rest.pop(0) if op.has_lengths else None
    wanted = [name for name, given in zip(("y", "last", "last_cell"), op.given, strict=False) if given]
    upstream: dict[str, Any] = dict(zip(wanted, rest, strict=True))
    outputs: dict[str, Any] = dict(zip(op.gradients, call.output_buffers, strict=True))
    found = []
    for target, source in (("initial", "last"), ("initial_cell", "last_cell")):
        if target in outputs:
            given = run.state(upstream[source]) if source in upstream else None
            found.append(run.copied(run.state(outputs[target]), given))
    weight = View(recurrent, (run.units, run.width), run.dtype)
    counts = weight if lengths is None else View(lengths, (run.batch,), "int64")
    step = backward_step(run.cell, run.dtype, lengths is not None, "y" in upstream)
    cells = saved.get("cells")
    d_state, products = run.state(outputs["initial"]), run.gates(outputs.get("recurrent", outputs["gates"]))
    arrays = [
        d_state,
        run.state(outputs.get("initial_cell", outputs["initial"])),
        run.gates(outputs["gates"]),
        products,
        run.states(upstream.get("y", saved["y"]), run.steps),
        run.states(saved["y"], run.steps),
        run.states(saved["previous"], run.steps),
        run.states(cells, run.steps + 1) if cells else run.states(saved["y"], run.steps),
        run.states(saved.get("candidates", saved["y"]), run.steps),
        run.gates(saved["gates"]) if "gates" in saved else run.states(saved["y"], run.steps),
        counts,
    ]
    for t in reversed(run.order):
        found.append(run.launch(step, arrays, t, int(run.reverse), int(not run.reverse)))
        found.append(run.launch(add_products, [d_state, products, weight], t))
    return found


# Kernels ----------------------------------------------------------------------------------------------------


def copy_state(out, source, given, thread, threads):
    """out, source (N, units)."""
    for item in range(thread, out.shape[0] * out.shape[1], threads):
        n = item // out.shape[1]
        j = item % out.shape[1]
        if given != 0:
            out[n, j] = source[n, j]
        else:
            out[n, j] = 0


def check_lengths(lengths, steps, thread, threads, status):
    for n in range(thread, lengths.shape[0], threads):
        if lengths[n] < 0 or lengths[n] > steps:
            report(status, WRONG, steps, n)


def keep_valid_steps(out, x, lengths, thread, threads):
    """out, x (T, N, F), lengths (N,)."""
    for row in range(thread, x.shape[0] * x.shape[1], threads):
        t = row // x.shape[1]
        n = row % x.shape[1]
        for j in range(x.shape[2]):
            if t < lengths[n]:
                out[t, n, j] = x[t, n, j]
            else:
                out[t, n, j] = 0


def add_products(d_state, products, weight, t, thread, threads):
    """d_state (N, units) gets products[t] (N, width) times weight (units, width) transposed."""
    units = d_state.shape[1]
    for item in range(thread, d_state.shape[0] * units, threads):
        n = item // units
        j = item % units
        total = d_state[n, j]
        for k in range(weight.shape[1]):
            total += products[t, n, k] * weight[j, k]
        d_state[n, j] = total


def sigmoid(x, one):
    e = exp(-abs(x))
    return one / (one + e) if x >= 0 else e / (one + e)


@functools.cache
def forward_step(cell: str, dtype: str, has_lengths: bool) -> Any:
    """One step: after (N, units), y, previous, cells, candidates (T, N, units), gates (T, N, width)."""
    zero, one, count = DTYPES[dtype].scalar(0), DTYPES[dtype].scalar(1), CELLS[cell]
    kind = tuple(CELLS).index(cell)

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
    kind, count = tuple(CELLS).index(cell), CELLS[cell]

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
