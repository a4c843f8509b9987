"""Recurrent layers on the CPU: all time steps in one native call, forward and backward.

A chunk of work is a run of rows of the batch, chosen by the shape alone, and goes through all steps: rows
never meet, so chunks need no barrier. Where there are few rows and large weights, threads share the units of
each step instead, and wait for each other between steps. Within a step the product with the recurrent weights
is the micro-kernel's, on panels of the weights that were packed once for all steps; the gates of a row follow
while its numbers are in the cache. Memory is time-major: the rows that meet in a step lie together.
"""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.engine import threads
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.panels import packing, panels_for
from bigmodel_core.kernels.cpu.recurrent.backward import backward_kernel
from bigmodel_core.kernels.cpu.recurrent.forward import (
    SHARED,
    begin_together,
    forward_kernel,
    forward_together,
)
from bigmodel_core.kernels.cpu.recurrent.product import add_vectors_kernel
from bigmodel_core.kernels.matrix_product import MatrixProduct
from bigmodel_core.kernels.recurrence import SAVED, Recurrence, backward_arrays, forward_arrays, recurrence

MAX_CHUNKS = 8
"""More chunks are not asked for: with few rows each, every step would read the weights once more."""
CHUNK_WORK = 2_000_000
"""Multiply-adds of all steps that make a chunk worth handing to a thread."""
FEW_ROWS = 4
"""Up to this many rows, threads may share the units of a step rather than rows."""
STEP_WORK = 65_536
"""Multiply-adds of a step that are worth waiting for each other: some microseconds."""
NEAR = 512 * 1024
"""Bytes of weights that stay in the second-level cache from step to step."""


def rows_of_chunk(s: Recurrence) -> int:
    """Rows of a chunk: whole tiles of the micro-kernel, which with fewer rows waits for the weights."""
    wanted = min(MAX_CHUNKS, s.steps * s.batch * s.units * s.width // CHUNK_WORK)
    rows = -(-s.batch // max(wanted, 1))
    if rows >= s.batch:
        return max(s.batch, 1)
    return 4 if rows <= 4 < s.batch else -(-rows // 8) * 8


def _over_reads(op: Any, *inputs: Spec) -> tuple[int, ...]:
    """The input weight, and for GRU both biases, which other cells add up first."""
    return (1, 3, 4) if op.cell == "gru" else (1,)


def units_together(s: Recurrence, depth: int) -> int:
    """Of how many units a thread computes all gates where threads share each step; 0 where they do not.

    Args:
        depth: numbers that a unit's sums go over.
    """
    width = tile_columns(s.dtype)
    panels = s.units // width
    if s.batch > FEW_ROWS or s.units % width or panels < 2 or s.batch * depth * s.width < STEP_WORK:
        return 0
    parts = max(number for number in range(1, MAX_CHUNKS + 1) if panels % number == 0)
    return s.units // parts if parts > 1 else 0


@cpu_launches(over_reads=_over_reads)
def recurrent(call: Call) -> list[CpuLaunch]:
    """All steps of a recurrence.

    Where the weights of the inputs and of the states together stay in the second-level cache, a step is one
    product with both. Else the projections of all inputs are one product before the loop, so that the large
    weight is read once.
    """
    s, arrays = recurrence(call.op, call.outputs[0]), forward_arrays(call)
    if s.batch == 0:
        return []
    features, size, get = call.inputs[0].sizes[2], SIZES[s.dtype], arrays.get
    gates = get("gates", arrays["y"])  # a simple cell turns its projections into y in place
    input_bias, bias = arrays["input_bias"], arrays["recurrent_bias"]
    launches: list[CpuLaunch] = []
    if s.cell != "gru":  # its reset gate multiplies the state's part alone, so the two parts stay apart
        both = call.scratch(s.width * size)
        added = [input_bias, bias, both, s.width]
        launches.append(CpuLaunch(add_vectors_kernel(s.dtype), added, makes=(both,)))
        input_bias = bias = both
    joined = s.cell != "gru" and features > 0 and (features + s.units) * s.width * size <= NEAR
    if joined:
        depth, inputs, choice = features + s.units, features, "a product a step with inputs and states"
    else:
        product = MatrixProduct(s.steps * s.batch, s.width, features, s.dtype)
        launches += gemm.launches(
            product,
            arrays["x"],
            arrays["input_weight"],
            gates,
            input_bias,
            call.scratch,
            keeps_b=1 in call.unchanging,
        )
        depth, inputs, choice = s.units, 0, "inputs before the loop, a product a step with states"
    panels = panels_for(s.dtype, depth, s.width, call.scratch)
    if joined:
        launches.append(packing(s.dtype, arrays["input_weight"], panels, features, s.width, depth, 0))
    launches.append(packing(s.dtype, arrays["recurrent_weight"], panels, s.units, s.width, depth, inputs))
    rows, sums = rows_of_chunk(s), call.scratch(s.batch * s.width * size)
    gates_step, kept = s.batch * s.width * size, -1  # the bits of a step that say where its states are
    if call.unread.issuperset(range(len(call.outputs) - len(SAVED[s.cell]), len(call.outputs))):
        kept = 1  # no gradient follows: a step needs the states of the one before, and no others
        for name in {"previous", "cells"}.intersection(arrays):
            arrays[name] = call.scratch(2 * s.batch * s.units * size)
        if joined and "gates" in arrays:
            gates, gates_step = call.scratch(gates_step), 0
    context: list[Any] = [
        *(s.steps, s.batch, s.units, rows, int(s.reverse), panels, get("lengths", 0), call.status),
        *(gates, bias, sums, arrays["y"], arrays["previous"], arrays["last"]),
        *(get("cells", 0), get("last_cell", 0), get("candidates", 0)),
        *(get("initial", 0), get("initial_cell", 0), arrays["x"], inputs),
        *(call.scratch(s.batch * depth * size) if joined else 0, gates_step, kept),
    ]
    each = units_together(s, depth)
    if each:
        context += [call.scratch(SHARED * 8), each, threads.give_way()]
        choice += f", {each} units a chunk"
        ready, compiled = begin_together(s.cell, s.dtype), forward_together(s.cell, s.dtype)
        together = CpuLaunch(compiled, context, s.units // each, choice=choice)
        return [*launches, CpuLaunch(ready, context), together]
    choice += f", {rows} sequences a chunk"
    compiled = forward_kernel(s.cell, s.dtype)
    return [*launches, CpuLaunch(compiled, context, -(-s.batch // rows), choice=choice)]


@cpu_launches(over_reads=lambda op, *inputs: (0,))
def recurrent_gradient(call: Call) -> list[CpuLaunch]:
    """All steps of a recurrence back."""
    s, arrays = recurrence(call.op, call.inputs[1]), backward_arrays(call)
    if s.batch == 0:
        return []
    panels, rows, get = panels_for(s.dtype, s.width, s.units, call.scratch), rows_of_chunk(s), arrays.get
    weight = arrays["recurrent_weight"]
    transposing = packing(s.dtype, weight, panels, s.width, s.units, s.width, 0, transposed=True)
    context: list[Any] = [
        *(s.steps, s.batch, s.units, rows, int(s.reverse), panels, get("lengths", 0)),
        *(get("y", 0), get("previous", 0), get("gates", 0), get("cells", 0), get("candidates", 0)),
        *(get("dy", 0), get("d_last", 0), get("d_last_cell", 0)),
        *(arrays["d_gates"], get("d_products", 0), arrays["d_initial"], get("d_initial_cell", 0)),
    ]
    choice = f"all steps in one call, {rows} sequences a chunk"
    compiled = backward_kernel(s.cell, s.dtype)
    return [transposing, CpuLaunch(compiled, context, -(-s.batch // rows), choice=choice)]


def keep_valid_steps(out, x, lengths, start, stop):
    """out and x (T, N, F), lengths (N,)."""
    for t in range(start, stop):
        for n in range(x.shape[1]):
            if t < lengths[n]:
                for j in range(x.shape[2]):
                    out[t, n, j] = x[t, n, j]
            else:
                for j in range(x.shape[2]):
                    out[t, n, j] = 0


valid_steps = kernel(keep_valid_steps)
