"""Copies of A and B in the order in which the micro-kernel reads them, and the stack that holds them."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import at, load_vector, outlined, store_vector, vector_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit


@functools.cache
def stack_memory(nbytes: int) -> Intrinsic:
    """`stack_memory(nbytes)()` is the address of `nbytes` bytes, aligned to 64, until the kernel returns.

    They belong to the thread, so they stay in its cache from chunk to chunk.
    """

    def memory(builder: Any) -> Any:
        from llvmlite import ir

        with builder.goto_entry_block():
            block = builder.alloca(ir.ArrayType(ir.IntType(8), nbytes))
            block.align = 64
        return builder.ptrtoint(block, ir.IntType(64))

    memory.__name__ = f"stack_{nbytes}"
    return Intrinsic("intp()", memory)


@functools.cache
def copy_vectors(dtype: str, count: int) -> Intrinsic:
    """`copy_vectors(dtype, count)(source, target)` copies `count` vectors of consecutive numbers."""
    lanes, size = vector_unit().lanes(dtype), SIZES[dtype]

    def copy(builder: Any, source: Any, target: Any) -> None:
        vector = vector_type(dtype)
        for i in range(count):
            value = load_vector(builder, at(builder, source, None, 0, i * lanes * size), vector, size)
            store_vector(builder, value, at(builder, target, None, 0, i * lanes * size), size)

    copy.__name__ = f"copy_{count}_{dtype}"
    return Intrinsic("void(intp, intp)", copy)


@functools.cache
def transpose_block(dtype: str) -> Intrinsic:
    """`transpose_block(dtype)(source, source_row, rows, target, target_row)` copies a block transposed.

    The block is square, as wide as a vector; source rows from `rows` on repeat the last one, so that nothing
    beyond it is read. Strides are in bytes.
    """
    return outlined(f"transpose_block_{dtype}", 5, lambda function: transpose_body(function, dtype))


def transpose_body(function: Any, dtype: str) -> None:
    """Loads, shuffles in log2(lanes) rounds, stores.

    A round with distance d exchanges the d x d squares off the diagonal between rows i and i + d.
    """
    from llvmlite import ir

    vector, size = vector_type(dtype), SIZES[dtype]
    lanes = vector.count
    builder = ir.IRBuilder(function.append_basic_block())
    source, source_row, rows, target, target_row = function.args
    last = builder.sub(rows, rows.type(1))
    values = []
    for i in range(lanes):
        inside = builder.icmp_signed("<", rows.type(i), rows)
        row = builder.select(inside, rows.type(i), last)
        values.append(load_vector(builder, builder.add(source, builder.mul(source_row, row)), vector, size))
    numbers = ir.VectorType(ir.IntType(32), lanes)
    distance = 1
    while distance < lanes:
        upper = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
        lower = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                x, y = values[i], values[i + distance]
                values[i] = builder.shuffle_vector(x, y, ir.Constant(numbers, upper))
                values[i + distance] = builder.shuffle_vector(x, y, ir.Constant(numbers, lower))
        distance *= 2
    for i in range(lanes):
        store_vector(builder, values[i], at(builder, target, target_row, i, 0), size)
    builder.ret_void()
