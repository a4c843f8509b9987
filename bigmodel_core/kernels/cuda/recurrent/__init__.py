"""Recurrent layers on a CUDA device: a launch for each step, a thread for each number of the state.

The projections of all inputs are one matrix product before the steps; the products with the recurrent weights
are sums that each thread makes on its own. Plans replay all launches on one stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda import gemm
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel, cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, View, over_items
from bigmodel_core.kernels.cuda.recurrent.cells import backward_step, forward_step
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.matrix_product import MatrixProduct
from bigmodel_core.kernels.recurrence import Recurrence, backward_arrays, forward_arrays, recurrence

WRONG = codes.LENGTH_OUT_OF_RANGE


class Run:
    """A recurrence's arrays as kernels see them, and the launches of one of its steps."""

    def __init__(self, sizes: Recurrence) -> None:
        self.sizes = sizes
        self.order = range(sizes.steps - 1, -1, -1) if sizes.reverse else range(sizes.steps)
        # The cell before step t is cells[t + before], that after it cells[t + after].
        self.before, self.after = int(sizes.reverse), int(not sizes.reverse)

    def states(self, buffer: CudaBuffer, more: int = 0) -> View:
        """(T, N, units), or so many steps more."""
        s = self.sizes
        return View(buffer, (s.steps + more, s.batch, s.units), s.dtype)

    def state(self, buffer: CudaBuffer, step: int = 0) -> View:
        """(N, units) at a step."""
        s = self.sizes
        return View(buffer, (s.batch, s.units), s.dtype, step * s.batch * s.units)

    def gates(self, buffer: CudaBuffer) -> View:
        """(T, N, all gates)."""
        s = self.sizes
        return View(buffer, (s.steps, s.batch, s.width), s.dtype)

    def weight(self, buffer: CudaBuffer) -> View:
        """(units, all gates)."""
        return View(buffer, (self.sizes.units, self.sizes.width), self.sizes.dtype)

    def launch(self, function: Any, arrays: list[View], *numbers: int) -> CudaLaunch:
        """A thread for each number of the state."""
        arguments = [*arrays, *(np.int64(number) for number in numbers)]
        return over_items(wrapper(function, len(arrays)), arguments, self.sizes.batch * self.sizes.units)

    def copied(self, target: View, source: CudaBuffer | None) -> CudaLaunch:
        """`target` (N, units) becomes `source`, or zeros without one."""
        return self.launch(
            copy_state, [target, self.state(source) if source else target], int(source is not None)
        )


@cuda_launches
def recurrent(call: Call) -> list[CudaLaunch]:
    """All steps of a recurrence."""
    s, arrays = recurrence(call.op, call.outputs[0]), forward_arrays(call)
    if s.batch == 0:
        return []
    run, get, y = Run(s), arrays.get, arrays["y"]
    gates: Any = get("gates", y)  # a simple cell turns its projections into y in place
    product = MatrixProduct(s.steps * s.batch, s.width, call.inputs[0].sizes[2], s.dtype)
    found = gemm.launches(product, arrays["x"], arrays["input_weight"], gates, arrays["input_bias"])
    counts = bias = View(arrays["recurrent_bias"], (s.width,), s.dtype)
    if "lengths" in arrays:
        counts = View(arrays["lengths"], (s.batch,), "int64")
        found.append(
            over_items(wrapper(check_lengths, 1), [counts, np.int64(s.steps), call.status(counts)], s.batch)
        )
    first = run.order[0] if s.steps else 0
    begin = arrays["previous"] if s.steps else arrays["last"]
    found.append(run.copied(run.state(begin, first), get("initial")))
    if "cells" in arrays:
        at_first = run.state(arrays["cells"], first + run.before if s.steps else 0)
        found.append(run.copied(at_first, get("initial_cell")))
    step = forward_step(s.cell, s.dtype, "lengths" in arrays)
    seen = [
        *(run.states(y), run.states(arrays["previous"])),
        run.states(arrays["cells"], 1) if "cells" in arrays else run.states(y),
        *(run.states(get("candidates", y)), run.gates(gates), run.weight(arrays["recurrent_weight"])),
        *(bias, counts),
    ]
    for t, following in zip(run.order, [*run.order[1:], None], strict=True) if s.steps else ():
        after = arrays["last"] if following is None else arrays["previous"]
        found.append(run.launch(step, [run.state(after, following or 0), *seen], t, run.before, run.after))
    if "cells" in arrays:
        end = run.order[-1] + run.after if s.steps else 0
        found.append(
            run.launch(copy_state, [run.state(arrays["last_cell"]), run.state(arrays["cells"], end)], 1)
        )
    return found


@cuda_launches
def recurrent_gradient(call: Call) -> list[CudaLaunch]:
    """All steps of a recurrence back, from gradients of its outputs to those of its projections."""
    s, arrays = recurrence(call.op, call.inputs[1]), backward_arrays(call)
    if s.batch == 0:
        return []
    run, get, y = Run(s), arrays.get, arrays["y"]
    found = [run.copied(run.state(arrays["d_initial"]), get("d_last"))]
    if "d_initial_cell" in arrays:
        found.append(run.copied(run.state(arrays["d_initial_cell"]), get("d_last_cell")))
    d_gates, weight = arrays["d_gates"], run.weight(arrays["recurrent_weight"])
    d_state, products = run.state(arrays["d_initial"]), run.gates(get("d_products", d_gates))
    step = backward_step(s.cell, s.dtype, "lengths" in arrays, "dy" in arrays)
    seen = [
        *(d_state, run.state(get("d_initial_cell", arrays["d_initial"])), run.gates(d_gates), products),
        *(run.states(get("dy", y)), run.states(y), run.states(arrays["previous"])),
        run.states(arrays["cells"], 1) if "cells" in arrays else run.states(y),
        run.states(get("candidates", y)),
        run.gates(arrays["gates"]) if "gates" in arrays else run.states(y),
        View(arrays["lengths"], (s.batch,), "int64") if "lengths" in arrays else weight,
    ]
    for t in reversed(run.order):
        found.append(run.launch(step, seen, t, run.before, run.after))
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


valid_steps = cuda_kernel(keep_valid_steps)
