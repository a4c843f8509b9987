"""The loop over time of recurrent layers, backward: one native call for all steps."""

from __future__ import annotations

import functools

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine import math as cpu_math
from bigmodel_core.kernels.cpu.engine.instructions import prefetch_bytes
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.recurrent.cells import backward_row
from bigmodel_core.kernels.cpu.recurrent.product import product_with_panels, row_setter
from bigmodel_core.kernels.recurrence import GATES


@functools.cache
def backward_kernel(cell: str, dtype: str) -> NativeFunction:
    """The kernel that runs rows back through all steps; `backward_launches` lists its context."""
    size, count = SIZES[dtype], GATES[cell]
    read, write, set_row = load(dtype), store(dtype), row_setter(dtype)
    product = product_with_panels(dtype)
    run_row, has_cells = backward_row(cell, dtype), cell == "lstm"

    def add_row(source, target, units):
        for j in range(units):
            write(target, j, read(target, j) + read(source, j))

    def recurrent_backward(ctx, chunk):
        steps, batch, units, rows = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
        reverse, panels, lengths = load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)
        y, previous, gates = load_int(ctx, 7), load_int(ctx, 8), load_int(ctx, 9)
        cells, candidates, dy = load_int(ctx, 10), load_int(ctx, 11), load_int(ctx, 12)
        d_last, d_last_cell, d_gates = load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15)
        d_recurrent, d_state, d_cell = load_int(ctx, 16), load_int(ctx, 17), load_int(ctx, 18)
        n0 = chunk * rows
        n1 = min(batch, n0 + rows)
        row, wide = units * size, units * size * count
        step_row = batch * row
        first = (steps - 1) * reverse
        onward = 1 - 2 * reverse
        for n in range(n0, n1):
            set_row(d_last + n * row if d_last != 0 else 0, d_state + n * row, units)
            if has_cells:
                set_row(d_last_cell + n * row if d_last_cell != 0 else 0, d_cell + n * row, units)
        products = d_recurrent if d_recurrent != 0 else d_gates
        for step in range(steps - 1, -1, -1):
            t = first + onward * step
            for n in range(n0, n1):
                at = t * step_row + n * row
                here = (t * batch + n) * wide
                if lengths != 0 and t >= load_int(lengths, n):
                    set_row(0, d_gates + here, units * count)
                    if d_recurrent != 0:
                        set_row(0, d_recurrent + here, units * count)
                else:
                    if dy != 0:
                        add_row(dy + at, d_state + n * row, units)
                    run_row(
                        units,
                        y + at,
                        previous + at,
                        gates + here,
                        cells + (t + reverse) * step_row + n * row,
                        cells + (t + 1 - reverse) * step_row + n * row,
                        candidates + at,
                        d_state + n * row,
                        d_cell + n * row,
                        d_gates + here,
                        d_recurrent + here,
                    )
            coming = (t - onward) * batch + n0  # while the product runs, what the next step reads comes near
            prefetch_bytes(gates + coming * wide, (n1 - n0) * wide)
            prefetch_bytes(d_gates + coming * wide, (n1 - n0) * wide)
            if has_cells:
                prefetch_bytes(cells + (coming + reverse * batch) * row, (n1 - n0) * row)
            d_sums, into = products + (t * batch + n0) * wide, d_state + n0 * row
            product(n1 - n0, units * count, units, d_sums, panels, into, row, into, row)

    return NativeFunction(recurrent_backward, replace=cpu_math.replacements(dtype))
