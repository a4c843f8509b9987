"""Recurrent layers on the CPU: all time steps in one native call, forward and backward.

A chunk of work is a run of rows of the batch, chosen by the shape alone, and goes through all steps: rows
never meet, so chunks need no barrier. Within a step the product with the recurrent weights is the
micro-kernel's, on panels of the weights that were packed once for all steps; the gates of a row follow
while its numbers are in the cache. Memory is time-major: the rows that meet in a step lie together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bigmodel_core.kernels.cpu import math as cpu_math
from bigmodel_core.kernels.cpu.launch import Buffer, Launch
from bigmodel_core.kernels.cpu.memory import SIZES, load, load_int, store, store_int
from bigmodel_core.kernels.cpu.microkernel import multiply_tile, tile_columns, tile_rows
from bigmodel_core.kernels.cpu.native import NativeFunction
from bigmodel_core.kernels.cpu.packing import transpose_block
from bigmodel_core.kernels.cpu.recurrent_cells import GATES, backward_row, forward_row
from bigmodel_core.kernels.cpu.target import vector_unit
from bigmodel_core.kernels.status import LENGTH_OUT_OF_RANGE

MAX_CHUNKS = 8
"""More chunks are not asked for: with few rows each, every step would read the weights once more."""
CHUNK_WORK = 2_000_000
"""Multiply-adds of all steps that make a chunk worth handing to a thread."""


@dataclass(frozen=True)
class Sequence:
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

    @property
    def rows(self) -> int:
        """Rows of a chunk: whole tiles of the micro-kernel where there are enough."""
        wanted = min(MAX_CHUNKS, self.steps * self.batch * self.units * self.width // CHUNK_WORK)
        rows = -(-self.batch // max(wanted, 1))
        if rows >= self.batch:
            return max(self.batch, 1)
        fitting = [height for height in (1, 2, 4, 8) if height >= rows]
        return fitting[0] if fitting else -(-rows // 8) * 8

    @property
    def chunks(self) -> int:
        """How many chunks the batch gives."""
        return -(-self.batch // self.rows)


Scratch = Callable[[int], Buffer]


def forward_launches(
    s: Sequence,
    gates: Buffer,
    weight: Buffer,
    bias: Buffer,
    initial: tuple[Buffer | None, Buffer | None],
    lengths: Buffer | None,
    outputs: dict[str, Buffer],
    scratch: Scratch,
    status: Buffer,
) -> list[Launch]:
    """The launches that run a recurrence once its input projections are made.

    Args:
        gates: (T, N, width), the projections; overwritten by the activated gates.
        weight: (units, width).
        bias: (width,), added to the recurrent product.
        initial: the states before the first step, (N, units) each; None for zeros.
        lengths: (N,) int64: how many steps of each row count; None for all.
        outputs: `y` and `previous` (T, N, units), `last` (N, units); `cells` (T + 1, N, units) and
            `last_cell` for LSTM, `candidates` (T, N, units) for GRU.
        status: where a length out of range is reported.
    """
    if s.batch == 0:
        return []
    size = SIZES[s.dtype]
    panels, packing = _packed(s.dtype, weight, s.units, s.width, False, scratch)
    product = scratch(s.batch * s.width * size)
    context: list[Any] = [
        *(s.steps, s.batch, s.units, s.rows, int(s.reverse), panels, lengths or 0, status),
        *(gates, bias, product, outputs["y"], outputs["previous"], outputs["last"]),
        *(outputs.get("cells", 0), outputs.get("last_cell", 0), outputs.get("candidates", 0)),
        *(initial[0] or 0, initial[1] or 0),
    ]
    choice = f"all steps in one call, {s.rows} sequences a chunk"
    return [packing, Launch(forward_kernel(s.cell, s.dtype), context, s.chunks, choice=choice)]


def backward_launches(
    s: Sequence,
    weight: Buffer,
    saved: dict[str, Buffer],
    lengths: Buffer | None,
    upstream: dict[str, Buffer],
    outputs: dict[str, Buffer],
    scratch: Scratch,
) -> list[Launch]:
    """The launches that run a recurrence backwards.

    Args:
        weight: (units, width).
        saved: `y`, `previous`, `gates`, `cells`, `candidates` of the forward run, those that the cell has.
        upstream: the gradients of `y`, `last` and `last_cell`, those that are not zero.
        outputs: `gates` (T, N, width), the gradient of the projections; `recurrent`, likewise, of the
            recurrent product, where it differs; `initial` (N, units) and for LSTM `initial_cell`.
    """
    if s.batch == 0:
        return []
    panels, packing = _packed(s.dtype, weight, s.width, s.units, True, scratch)
    context: list[Any] = [
        *(s.steps, s.batch, s.units, s.rows, int(s.reverse), panels, lengths or 0),
        *(saved.get("y", 0), saved.get("previous", 0), saved.get("gates", 0), saved.get("cells", 0)),
        *(saved.get("candidates", 0), upstream.get("y", 0), upstream.get("last", 0)),
        *(upstream.get("last_cell", 0), outputs["gates"], outputs.get("recurrent", 0)),
        *(outputs["initial"], outputs.get("initial_cell", 0)),
    ]
    choice = f"all steps in one call, {s.rows} sequences a chunk"
    return [packing, Launch(backward_kernel(s.cell, s.dtype), context, s.chunks, choice=choice)]


# Products with the recurrent weights ----------------------------------------------------------------------


def _packed(
    dtype: str, weight: Buffer, k: int, columns: int, transposed: bool, scratch: Scratch
) -> tuple[Buffer, Launch]:
    """A matrix (k, columns), stored like that or transposed, in panels as wide as a tile."""
    width, size = tile_columns(dtype), SIZES[dtype]
    lanes = vector_unit().lanes(dtype)
    count = -(-columns // width)
    depth = -(-k // lanes) * lanes  # blocks are copied whole
    panels = scratch(count * depth * width * size)
    launch = Launch(panels_kernel(dtype), [weight, panels, k, columns, depth, int(transposed)], count)
    return panels, launch


@functools.cache
def panels_kernel(dtype: str) -> NativeFunction:
    """The kernel that packs one panel; columns beyond the matrix are zero."""
    size, width, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    read, write, transpose = load(dtype), store(dtype), transpose_block(dtype)

    def pack_panel(ctx, panel):  # type: ignore[no-untyped-def]
        source, k, columns = load_int(ctx, 0), load_int(ctx, 2), load_int(ctx, 3)
        depth, transposed = load_int(ctx, 4), load_int(ctx, 5)
        target = load_int(ctx, 1) + panel * depth * width * size
        first = panel * width
        here = min(width, columns - first)
        if transposed != 0:
            for j in range(0, here, lanes):
                block = source + (first + j) * k * size
                for p in range(0, k, lanes):
                    place = target + (p * width + j) * size
                    transpose(block + p * size, k * size, here - j, place, width * size)
        else:
            for p in range(k):
                row = target + p * width * size
                for j in range(here):
                    write(row, j, read(source, p * columns + first + j))
                for j in range(here, width):
                    write(row, j, 0)

    return NativeFunction(pack_panel)


def _product(dtype: str) -> Any:
    """The function c (rows, columns) = start + a (rows, k) times panels, for any number of rows."""
    size, width, lanes = SIZES[dtype], tile_columns(dtype), vector_unit().lanes(dtype)
    tallest, second = tile_rows()[:2]
    multiply = multiply_tile(dtype)

    def product(rows, k, columns, a, panels, c, c_row, start, start_row):  # type: ignore[no-untyped-def]
        panel = (k + lanes - 1) // lanes * lanes * width * size
        for j in range(0, columns, width):
            i = 0
            while i < rows:
                h = tallest
                if rows - i < tallest:
                    h = second
                    while h > rows - i:
                        h //= 2
                from_a, to_c, begin = (
                    a + i * k * size,
                    c + i * c_row + j * size,
                    start + i * start_row + j * size,
                )
                w = min(width, columns - j)
                multiply(
                    k,
                    from_a,
                    k * size,
                    size,
                    panels,
                    width * size,
                    to_c,
                    c_row,
                    begin,
                    start_row,
                    from_a,
                    0,
                    h,
                    w,
                )
                i += h
            panels += panel

    return product


# The loops over time --------------------------------------------------------------------------------------


@functools.cache
def forward_kernel(cell: str, dtype: str) -> NativeFunction:
    """The kernel that runs rows of the batch through all steps; `forward_launches` lists its context."""
    size, count = SIZES[dtype], GATES[cell]
    read, write, product = load(dtype), store(dtype), _product(dtype)
    run_row, has_cells = forward_row(cell, dtype), cell == "lstm"

    def set_row(source, target, units):  # type: ignore[no-untyped-def]
        """Copy a row; zeros where there is no source."""
        for j in range(units):
            if source != 0:
                write(target, j, read(source, j))
            else:
                write(target, j, 0)

    def recurrent_forward(ctx, chunk):  # type: ignore[no-untyped-def]
        steps, batch, units, rows = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
        reverse, panels, lengths = load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)
        gates, bias, sums = load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 10)
        y, previous, last = load_int(ctx, 11), load_int(ctx, 12), load_int(ctx, 13)
        cells, last_cell, candidates = load_int(ctx, 14), load_int(ctx, 15), load_int(ctx, 16)
        initial, initial_cell = load_int(ctx, 17), load_int(ctx, 18)
        n0 = chunk * rows
        n1 = min(batch, n0 + rows)
        row, wide = units * size, units * size * count
        step_row = batch * row
        first = (steps - 1) * reverse  # the step in time that comes first
        onward = 1 - 2 * reverse
        for n in range(n0, n1):
            if lengths != 0:
                length = load_int(lengths, n)
                if length < 0 or length > steps:
                    status = load_int(ctx, 7)
                    store_int(status, 1, length)
                    store_int(status, 2, steps)
                    store_int(status, 3, n)
                    store_int(status, 0, LENGTH_OUT_OF_RANGE)
            target = last if steps == 0 else previous + first * step_row
            set_row(initial + n * row if initial != 0 else 0, target + n * row, units)
            if has_cells:
                target = cells + (first + reverse) * step_row
                set_row(initial_cell + n * row if initial_cell != 0 else 0, target + n * row, units)
        for step in range(steps):
            t = first + onward * step
            before = previous + t * step_row
            after = last if step == steps - 1 else previous + (t + onward) * step_row
            into = sums + n0 * wide
            product(n1 - n0, units, units * count, before + n0 * row, panels, into, wide, bias, 0)
            for n in range(n0, n1):
                at = t * step_row + n * row
                cell_before = cells + (t + reverse) * step_row + n * row
                cell_after = cells + (t + 1 - reverse) * step_row + n * row
                if lengths != 0 and t >= load_int(lengths, n):
                    set_row(0, y + at, units)
                    set_row(before + n * row, after + n * row, units)
                    if has_cells:
                        set_row(cell_before, cell_after, units)
                else:
                    run_row(
                        units,
                        gates + (t * batch + n) * wide,
                        sums + n * wide,
                        before + n * row,
                        cell_before,
                        cell_after,
                        candidates + at,
                        y + at,
                        after + n * row,
                    )
        if has_cells:
            for n in range(n0, n1):
                end = cells + (first + reverse + onward * steps) * step_row
                set_row(end + n * row, last_cell + n * row, units)

    return NativeFunction(recurrent_forward, replace=cpu_math.replacements(dtype))


@functools.cache
def backward_kernel(cell: str, dtype: str) -> NativeFunction:
    """The kernel that runs rows back through all steps; `backward_launches` lists its context."""
    size, count = SIZES[dtype], GATES[cell]
    read, write, product = load(dtype), store(dtype), _product(dtype)
    run_row, has_cells = backward_row(cell, dtype), cell == "lstm"

    def start_row(source, target, units):  # type: ignore[no-untyped-def]
        """Copy a row; zeros where there is no source."""
        for j in range(units):
            if source != 0:
                write(target, j, read(source, j))
            else:
                write(target, j, 0)

    def add_row(source, target, units):  # type: ignore[no-untyped-def]
        for j in range(units):
            write(target, j, read(target, j) + read(source, j))

    def recurrent_backward(ctx, chunk):  # type: ignore[no-untyped-def]
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
            start_row(d_last + n * row if d_last != 0 else 0, d_state + n * row, units)
            if has_cells:
                start_row(d_last_cell + n * row if d_last_cell != 0 else 0, d_cell + n * row, units)
        products = d_recurrent if d_recurrent != 0 else d_gates
        for step in range(steps - 1, -1, -1):
            t = first + onward * step
            for n in range(n0, n1):
                at = t * step_row + n * row
                here = (t * batch + n) * wide
                if lengths != 0 and t >= load_int(lengths, n):
                    start_row(0, d_gates + here, units * count)
                    if d_recurrent != 0:
                        start_row(0, d_recurrent + here, units * count)
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
            d_sums, into = products + (t * batch + n0) * wide, d_state + n0 * row
            product(n1 - n0, units * count, units, d_sums, panels, into, row, into, row)

    return NativeFunction(recurrent_backward, replace=cpu_math.replacements(dtype))
