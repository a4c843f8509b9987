"""What the machine's cores can multiply and add at most: a loop of fused multiply-adds on registers alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bigmodel_core.kernels.cpu.engine import threads
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import declare, ir_type, load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, NativeFunction
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.kernels.cpu.engine.target import vector_unit

ROUNDS = 400_000
"""Passes of the loop in a chunk: some milliseconds."""
CHUNKS_PER_THREAD = 4
SECONDS = 0.5


def sums() -> int:
    """How many sums are under way: enough to hide the latency, beside two registers of operands."""
    return 24 if vector_unit().registers >= 32 else 12


def _codegen(builder: Any, count: Any, start: Any, factor: Any) -> Any:
    """`count` times `sum = sum * factor + start` for each of the sums; returns one number of their total."""
    from llvmlite import ir

    lanes = vector_unit().lanes("float32")
    vector = ir.VectorType(ir_type("float32"), lanes)
    name = f"llvm.fma.v{lanes}f32"
    fma = declare(builder, name, vector, [vector] * 3)

    def repeated(number: Any) -> Any:
        found = builder.insert_element(
            ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return builder.shuffle_vector(found, ir.Constant(vector, ir.Undefined), zeros)

    first, times = repeated(start), repeated(factor)
    entry = builder.block
    loop, done = builder.append_basic_block("peak"), builder.append_basic_block("peak_done")
    builder.branch(loop)
    builder.position_at_end(loop)
    left = builder.phi(count.type)
    left.add_incoming(count, entry)
    totals = [builder.phi(vector) for _ in range(sums())]
    grown = [builder.call(fma, [total, times, first]) for total in totals]
    for total, new in zip(totals, grown, strict=True):
        total.add_incoming(first, entry)
        total.add_incoming(new, loop)
    less = builder.sub(left, ir.Constant(count.type, 1))
    left.add_incoming(less, loop)
    builder.cbranch(builder.icmp_signed(">", less, ir.Constant(count.type, 0)), loop, done)
    builder.position_at_end(done)
    whole = grown[0]
    for other in grown[1:]:
        whole = builder.fadd(whole, other)
    number = builder.extract_element(whole, ir.Constant(ir.IntType(32), 0))
    for lane in range(1, lanes):
        number = builder.fadd(number, builder.extract_element(whole, ir.Constant(ir.IntType(32), lane)))
    return number


def _kernel() -> NativeFunction:
    multiply = Intrinsic("float32(intp, float32, float32)", _codegen)
    read, write = load("float32"), store("float32")

    def peak(ctx, chunk):
        numbers = load_int(ctx, 0)
        write(numbers, 2 + chunk, multiply(load_int(ctx, 1), read(numbers, 0), read(numbers, 1)))

    return NativeFunction(peak)


def machine_peak(seconds: float = SECONDS) -> float:
    """Billions of floating-point operations a second, float32, by as many threads as plans have now.

    Args:
        seconds: how long to measure; the best of all passes counts.
    """
    chunks = threads.num_threads() * CHUNKS_PER_THREAD
    numbers = np.zeros(2 + chunks, np.float32)
    numbers[:2] = 1.0, 0.5  # the sums go to 2
    table = Table([CpuLaunch(_kernel(), [numbers.ctypes.data, ROUNDS], chunks)])
    operations = 2 * vector_unit().lanes("float32") * sums() * ROUNDS * chunks
    table.run()
    best, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline or best == float("inf"):
        begin = time.perf_counter()
        table.run()
        best = min(best, time.perf_counter() - begin)
    expected = 2.0 * sums() * vector_unit().lanes("float32")
    np.testing.assert_allclose(numbers[2:], expected, rtol=1e-5)
    return operations / best / 1e9
