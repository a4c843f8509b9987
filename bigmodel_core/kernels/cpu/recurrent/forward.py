"""The loops over time of recurrent layers, forward: one native call for all steps."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine import math as cpu_math
from bigmodel_core.kernels.cpu.engine.memory import (
    atomic_add,
    atomic_load,
    atomic_store,
    call_c,
    load_int,
    pause,
    store_int,
)
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.recurrent.cells import forward_row
from bigmodel_core.kernels.cpu.recurrent.product import product_with_panels, row_setter
from bigmodel_core.kernels.recurrence import GATES
from bigmodel_core.kernels.status import CODE, FOUND, LENGTH_OUT_OF_RANGE, LIMIT, POSITION


@functools.cache
def forward_parts(cell: str, dtype: str) -> tuple[Any, Any, Any, Any]:
    """What forward kernels are made of; `recurrent` lists their context.

    `begin(ctx, n0, n1)` sets what some rows of the batch start from; `gather(ctx, number, n0, n1)` puts what
    their units read in a step into one place; `step(ctx, number, n0, n1, u0, u1)` computes some of the units;
    `end(ctx, n0, n1)` writes the last states.
    """
    size, count = SIZES[dtype], GATES[cell]
    set_row, product = row_setter(dtype), product_with_panels(dtype)
    run_row, has_cells, apart = forward_row(cell, dtype), cell == "lstm", cell == "gru"
    lanes = vector_unit().lanes(dtype)

    def sizes(ctx):
        """Steps, rows of the batch, units, and whether time runs backwards."""
        return load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 4)

    def begin(ctx, n0, n1):
        steps, batch, units, reverse = sizes(ctx)
        lengths, previous, last = load_int(ctx, 6), load_int(ctx, 12), load_int(ctx, 13)
        cells, initial, initial_cell = load_int(ctx, 14), load_int(ctx, 17), load_int(ctx, 18)
        row, kept = units * size, load_int(ctx, 23)
        first = (steps - 1) * reverse  # the step in time that comes first
        for n in range(n0, n1):
            if lengths != 0:
                length = load_int(lengths, n)
                if length < 0 or length > steps:
                    status = load_int(ctx, 7)
                    store_int(status, FOUND, length)
                    store_int(status, LIMIT, steps)
                    store_int(status, POSITION, n)
                    store_int(status, CODE, LENGTH_OUT_OF_RANGE)
            target = last if steps == 0 else previous + (first & kept) * batch * row
            set_row(initial + n * row if initial != 0 else 0, target + n * row, units)
            if has_cells:
                target = cells + (first + reverse & kept) * batch * row
                set_row(initial_cell + n * row if initial_cell != 0 else 0, target + n * row, units)

    def gather(ctx, number, n0, n1):
        steps, batch, units, reverse = sizes(ctx)
        previous, x, features = load_int(ctx, 12), load_int(ctx, 19), load_int(ctx, 20)
        if features > 0 and number < steps:
            t = (steps - 1) * reverse + (1 - 2 * reverse) * number
            for n in range(n0, n1):
                both = load_int(ctx, 21) + n * (features + units) * size
                set_row(x + (t * batch + n) * features * size, both, features)
                state = ((t & load_int(ctx, 23)) * batch + n) * units * size
                set_row(previous + state, both + features * size, units)

    def step(ctx, number, n0, n1, u0, u1):
        steps, batch, units, reverse = sizes(ctx)
        panels, lengths = load_int(ctx, 5), load_int(ctx, 6)
        gates, bias, sums = load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 10)
        y, previous, last = load_int(ctx, 11), load_int(ctx, 12), load_int(ctx, 13)
        cells, candidates, features = load_int(ctx, 14), load_int(ctx, 16), load_int(ctx, 20)
        gates_step, kept = load_int(ctx, 22), load_int(ctx, 23)
        row, wide = units * size, units * size * count
        step_row = batch * row
        onward = 1 - 2 * reverse
        t = (steps - 1) * reverse + onward * number
        before = previous + (t & kept) * step_row
        after = last if number == steps - 1 else previous + (t + onward & kept) * step_row
        depth, a = units, before + n0 * row
        start, start_row = bias, 0
        if features > 0:
            depth = features + units
            a = load_int(ctx, 21) + n0 * depth * size
        elif not apart:
            start, start_row = gates + t * gates_step + n0 * wide, wide
        into = sums + n0 * wide
        if u1 - u0 == units:
            product(n1 - n0, depth, units * count, a, panels, into, wide, start, start_row)
        else:
            deep = (depth + lanes - 1) // lanes * lanes
            for gate in range(count):
                column = gate * units + u0
                these, offset = panels + column * deep * size, column * size
                product(n1 - n0, depth, u1 - u0, a, these, into + offset, wide, start + offset, start_row)
        from_unit, some = u0 * size, u1 - u0
        for n in range(n0, n1):
            at = t * step_row + n * row + from_unit
            here = n * row + from_unit
            cell_before = cells + (t + reverse & kept) * step_row + here
            cell_after = cells + (t + 1 - reverse & kept) * step_row + here
            if lengths != 0 and t >= load_int(lengths, n):
                set_row(0, y + at, some)
                set_row(before + here, after + here, some)
                if has_cells:
                    set_row(cell_before, cell_after, some)
            else:
                run_row(
                    some,
                    row,
                    gates + t * gates_step + n * wide + from_unit,
                    sums + n * wide + from_unit,
                    before + here,
                    cell_before,
                    cell_after,
                    candidates + at,
                    y + at,
                    after + here,
                )

    def end(ctx, n0, n1):
        steps, batch, units, reverse = sizes(ctx)
        if has_cells:
            row = units * size
            at = ((steps - 1) * reverse + reverse + (1 - 2 * reverse) * steps) & load_int(ctx, 23)
            for n in range(n0, n1):
                set_row(load_int(ctx, 14) + (at * batch + n) * row, load_int(ctx, 15) + n * row, units)

    return begin, gather, step, end


@functools.cache
def forward_kernel(cell: str, dtype: str) -> NativeFunction:
    """The kernel that runs rows of the batch through all steps."""
    begin, gather, step, end = forward_parts(cell, dtype)

    def recurrent_forward(ctx, chunk):
        rows = load_int(ctx, 3)
        n0 = chunk * rows
        n1 = min(load_int(ctx, 1), n0 + rows)
        begin(ctx, n0, n1)
        for number in range(load_int(ctx, 0)):
            gather(ctx, number, n0, n1)
            step(ctx, number, n0, n1, 0, load_int(ctx, 2))
        end(ctx, n0, n1)

    return NativeFunction(recurrent_forward, replace=cpu_math.replacements(dtype))


TICKET, DONE = 0, 8
"""Slots of what threads share that compute a step together, on cache lines of their own: the step and how
many parts of it are taken, and how many parts of all steps are done."""
SHARED = 16
PART_BITS = 20
PART_MASK = (1 << PART_BITS) - 1
PATIENCE = 2_000
"""How often a thread looks whether a step is done before it offers its core to others."""


@functools.cache
def begin_together(cell: str, dtype: str) -> NativeFunction:
    """The kernel that makes ready for `forward_together`."""
    begin, gather, _, end = forward_parts(cell, dtype)

    def recurrent_begin(ctx, chunk):
        batch, shared = load_int(ctx, 1), load_int(ctx, 24)
        begin(ctx, 0, batch)
        gather(ctx, 0, 0, batch)
        if load_int(ctx, 0) == 0:
            end(ctx, 0, batch)
        atomic_store(shared + DONE * 8, 0)
        atomic_store(shared + TICKET * 8, 0)

    return NativeFunction(recurrent_begin, replace=cpu_math.replacements(dtype))


@functools.cache
def forward_together(cell: str, dtype: str) -> NativeFunction:
    """The kernel of threads that compute each step together, some units each.

    A chunk is a thread that helps from the step on at which it comes; one alone does all of it. The thread
    that finishes a step's last part opens the next step.
    """
    _, gather, step, end = forward_parts(cell, dtype)

    def recurrent_together(ctx, chunk):
        steps, batch, units = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        shared, each, give_way = load_int(ctx, 24), load_int(ctx, 25), load_int(ctx, 26)
        parts = (units + each - 1) // each
        waited = 0
        while True:
            ticket = atomic_load(shared + TICKET * 8)
            if ticket & PART_MASK < parts:
                ticket = atomic_add(shared + TICKET * 8, 1)
            number, part = ticket >> PART_BITS, ticket & PART_MASK
            if number >= steps:
                return
            if part >= parts:
                pause()
                waited += 1
                if waited > PATIENCE:
                    call_c(give_way, 0)
                continue
            waited = 0
            step(ctx, number, 0, batch, part * each, min(units, part * each + each))
            if atomic_add(shared + DONE * 8, 1) + 1 == (number + 1) * parts:
                gather(ctx, number + 1, 0, batch)
                if number + 1 == steps:
                    end(ctx, 0, batch)
                atomic_store(shared + TICKET * 8, (number + 1) << PART_BITS)

    return NativeFunction(recurrent_together, replace=cpu_math.replacements(dtype))
