"""Attention on the CPU: blocks of queries and keys, scores in the cache alone, on the product's micro-kernel.

Forward, a chunk of work is a block of queries of a head, and backward the keys of a head, or a part of them,
chosen by the shape alone; sums go over blocks in a fixed order. So results do not depend on threads, and
memory grows with T and S, not with their product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.attention_sizes import scale_of, sizes_of
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.attention.backward import backward_kernel, parts_kernel, rows_kernel
from bigmodel_core.kernels.cpu.attention.few_rows import few_rows_kernel, rows_of
from bigmodel_core.kernels.cpu.attention.forward import COLUMNS, ROWS, WIDTH, forward_kernel
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns

CHUNK_WORK = 600_000
"""Multiply-adds that make a chunk worth handing to a thread: some 10 microseconds."""
CHUNK_BYTES = 64 * 1024
"""Bytes of keys and values that make a chunk worth it where there are few queries."""
FEW_CHUNKS = 8
"""With fewer heads of keys, the backward pass cuts the keys into parts."""


def strides(spec: Spec, steps_first: bool) -> tuple[int, int, int]:
    """Bytes from one sample, head and step to the next."""
    size, (_, second, third, width) = SIZES[spec.dtype], spec.sizes
    row = width * size
    inner = (row, second and third * row) if steps_first else (third * row, row)
    return second * third * row, *inner


def broadcast_strides(spec: Spec) -> list[int]:
    """Bytes from one to the next along each of four axes, 0 where there is only one."""
    found, step = [], SIZES[spec.dtype]
    for count in reversed(spec.sizes):
        found.append(0 if count == 1 else step)
        step *= count
    return found[::-1]


def shared(call: Call, inputs: Sequence[int]) -> list[Item]:
    """The part of the context that all kernels share; `inputs` are the positions of those of `Attention`."""
    op, specs = call.op, [call.inputs[i] for i in inputs]
    sizes = sizes_of(op, specs)
    n, heads, kv_heads, steps, keys, width, out_width = sizes
    buffers = [call.input_buffers[i] for i in inputs]
    rest = iter(zip(buffers[3:], specs[3:], strict=True))
    absent: tuple[Any, Spec] = (0, Spec((1, 1, 1, 1), "bool"))
    mask, bias, lengths = (
        next(rest) if given else absent for given in (op.has_mask, op.has_bias, op.has_lengths)
    )
    seed, step = (buffer for buffer, _ in rest) if op.draws else (0, 0)
    y = Spec((n, steps, heads, out_width) if op.steps_first[0] else (n, heads, steps, out_width), call.dtype)
    q, k, v = specs[:3]
    return [
        *(*buffers[:3], mask[0], bias[0], lengths[0], call.status, seed, step),
        *(n, heads, heads // max(kv_heads, 1), steps, keys, width, out_width),
        *strides(q, op.steps_first[0]),
        *strides(k, op.steps_first[1]),
        *strides(v, op.steps_first[2]),
        *strides(y, op.steps_first[0]),
        *broadcast_strides(mask[1]),
        *broadcast_strides(bias[1]),
        *(int(op.causal), scale_of(op, sizes), op.stream, op.threshold, 1 / (1 - op.dropout)),
    ]


@cpu_launches(over_reads=lambda op, *inputs: (0, 2))
def attention(call: Call) -> list[CpuLaunch]:
    """The output and the logarithm of the sum of each row."""
    sizes = sizes_of(call.op, call.inputs)
    n, heads, _, steps, keys, width, out_width = sizes
    if n * heads * steps * out_width == 0:
        return []
    dtype = call.dtype
    results = [call.output_buffers[0], 0 if 1 in call.unread else call.output_buffers[1]]
    same = shared(call, range(len(call.inputs)))
    if few := rows_of(sizes):
        items = n * sizes.kv_heads
        together = min(items, max(1, CHUNK_BYTES // max(1, keys * (width + out_width) * SIZES[dtype])))
        context = [*same, *results, items, together]
        choice = f"{few} queries of a head of keys, {together} heads a chunk"
        return [
            CpuLaunch(few_rows_kernel(dtype, call.op.draws), context, -(-items // together), choice=choice)
        ]
    rows = block_rows(steps, dtype)
    blocks = -(-steps // rows)
    items = n * heads * blocks
    work = min(rows, steps) * keys * (width + out_width) // (1 + call.op.causal)
    together = min(items, max(1, CHUNK_WORK // max(work, 1)))
    chunks = -(-items // together)
    panels: CpuBuffer | int = 0
    of_chunk = -(-rows // tile_columns(dtype)) * tile_columns(dtype) * (width + 16) * SIZES[dtype]
    if width > WIDTH:
        panels = call.scratch(chunks * of_chunk)
    context = [
        *(*same, *results),
        *(blocks, items, together, panels, of_chunk, rows),
    ]
    choice = f"{rows} queries a block, {together} blocks a chunk"
    return [CpuLaunch(forward_kernel(dtype, call.op.draws), context, chunks, choice=choice)]


def block_rows(steps: int, dtype: str) -> int:
    """Queries of a block: about as many in each."""
    lanes = vector_unit().lanes(dtype)
    blocks = -(-steps // ROWS)
    return min(ROWS, -(-steps // blocks // lanes) * lanes) if steps else ROWS


@cpu_launches(over_reads=lambda op, *inputs: (0, 3, 4, 5))
def attention_gradient(call: Call) -> list[CpuLaunch]:
    """The gradients of queries, keys and values.

    Inputs: the gradient of the output, the output, the log-sums, then those of `Attention`.
    """
    inputs = range(3, len(call.inputs))
    n, heads, kv_heads, steps, keys, width, out_width = sizes_of(call.op, call.inputs[3:])
    dtype, size = call.dtype, SIZES[call.dtype]
    dy, y, log_sum = call.input_buffers[:3]
    groups = n * kv_heads
    numbers = n * heads * steps * width
    if groups * max(heads * steps, keys) == 0:
        return []
    blocks = max(1, -(-keys // COLUMNS))
    parts = min(blocks, -(-FEW_CHUNKS // groups))
    of_part = -(-blocks // parts) * COLUMNS
    parts = -(-blocks * COLUMNS // of_part)
    work = heads // kv_heads * steps * keys * (3 * width + 2 * out_width) // parts // (1 + call.op.causal)
    items = groups * parts
    together = min(items, max(1, CHUNK_WORK // max(work, 1)))
    chunks = -(-items // together)
    of_rows = n * heads * steps * size
    log_sums, inner = call.scratch(of_rows), call.scratch(of_rows)
    dq, dk, dv = call.output_buffers
    into = dq if parts == 1 else call.scratch(parts * numbers * size)
    panels: CpuBuffer | int = 0
    of_panels = COLUMNS * (max(width, out_width) + 16) * size
    if max(width, out_width) > WIDTH:
        panels = call.scratch(2 * chunks * of_panels)
    same = shared(call, inputs)
    launches = []
    if n * heads * steps:
        launches.append(CpuLaunch(rows_kernel(dtype), [*same, y, log_sum, dy, log_sums, inner], n * heads))
    context: list[Item] = [
        *(*same, dy, log_sums, inner, into, dk, dv),
        *(parts, of_part, numbers * size, items, together, panels, of_panels, kv_heads),
    ]
    choice = f"{parts} parts of the keys, {together} heads a chunk"
    launches.append(CpuLaunch(backward_kernel(dtype, call.op.draws), context, chunks, choice=choice))
    if parts > 1 and numbers:
        each = 65_536
        summing: list[Item] = [dq, into, numbers, parts, each]
        launches.append(CpuLaunch(parts_kernel(dtype), summing, -(-numbers // each)))
    return launches
