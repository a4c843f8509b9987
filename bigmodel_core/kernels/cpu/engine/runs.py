"""Runs of consecutive numbers in arrays, copied and filled in whole vectors, the last one masked.

LLVM makes vector code of such loops, too, but for short runs it takes number by number.
"""

from __future__ import annotations

from typing import Any

from bigmodel_core.kernels.cpu.engine.instructions import (
    lane_mask,
    load_vector,
    own_function,
    phi,
    splat,
    store_vector,
)
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit


def _copy(
    context: Any, signature: Any, builder: Any, out: Any, at: Any, x: Any, first: Any, count: Any
) -> None:
    kinds = signature.args
    size = _size_of(context, kinds[0])
    function, fresh = own_function(builder.module, f"copy_run_{size}", 3, is_short=True)
    if fresh:
        _in_vectors(
            function,
            size,
            lambda inner, offset, vector, mask: load_vector(
                inner, inner.add(function.args[1], offset), vector, size, mask
            ),
        )
    places = (
        _place(context, builder, kinds[0], out, at, size),
        _place(context, builder, kinds[2], x, first, size),
    )
    builder.call(function, [*places, count])


def _fill(context: Any, signature: Any, builder: Any, out: Any, at: Any, count: Any, value: Any) -> None:
    from llvmlite import ir

    kinds = signature.args
    size = _size_of(context, kinds[0])
    number = context.cast(builder, value, kinds[3], kinds[0].dtype)
    bits = builder.bitcast(context.get_value_as_data(builder, kinds[0].dtype, number), ir.IntType(8 * size))
    wide = builder.zext(bits, ir.IntType(64)) if size < 8 else bits
    function, fresh = own_function(builder.module, f"fill_run_{size}", 3, is_short=True)
    if fresh:
        _in_vectors(
            function,
            size,
            lambda inner, offset, vector, mask: splat(
                inner, inner.trunc(function.args[1], vector.element) if size < 8 else function.args[1], vector
            ),
        )
    builder.call(function, [_place(context, builder, kinds[0], out, at, size), wide, count])


def _size_of(context: Any, array: Any) -> int:
    return int(context.get_abi_sizeof(context.get_data_type(array.dtype)))


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any, size: int) -> Any:
    """The address of the number `at` of a contiguous array, counted from its first one."""
    from llvmlite import ir
    from numba.np.arrayobj import make_array

    data = make_array(kind)(context, builder, array).data
    start = builder.ptrtoint(data, ir.IntType(64))
    return builder.add(start, builder.mul(at, ir.IntType(64)(size)))


def _in_vectors(function: Any, size: int, vector_at: Any) -> None:
    """Fill in the function (target, source or bits, count), which writes vector by vector.

    Args:
        function: to fill in.
        size: bytes of a number.
        vector_at: gives the vector at an offset in bytes, with a mask where not all of it is there.
    """
    from llvmlite import ir

    integer = ir.IntType(64)
    lanes = vector_unit().bits // 8 // size
    vector = ir.VectorType(ir.IntType(8 * size), lanes)
    target, _, count = function.args
    entry, loop, rest, last, done = (
        function.append_basic_block(label) for label in ("entry", "loop", "rest", "last", "done")
    )
    builder = ir.IRBuilder(entry)
    whole = builder.and_(count, integer(-lanes))
    builder.cbranch(builder.icmp_signed(">", whole, integer(0)), loop, rest)

    builder = ir.IRBuilder(loop)
    at = phi(builder, integer, integer(0), entry)
    offset = builder.mul(at, integer(size))
    store_vector(builder, vector_at(builder, offset, vector, None), builder.add(target, offset), size)
    further = builder.add(at, integer(lanes))
    at.add_incoming(further, loop)
    builder.cbranch(builder.icmp_signed("<", further, whole), loop, rest)

    builder = ir.IRBuilder(rest)
    left = builder.sub(count, builder.select(builder.icmp_signed(">", whole, integer(0)), whole, integer(0)))
    builder.cbranch(builder.icmp_signed(">", left, integer(0)), last, done)

    builder = ir.IRBuilder(last)
    offset = builder.mul(builder.sub(count, left), integer(size))
    mask = lane_mask(builder, left, lanes)
    store_vector(builder, vector_at(builder, offset, vector, mask), builder.add(target, offset), size, mask)
    builder.branch(done)
    ir.IRBuilder(done).ret_void()


copy_run = Intrinsic("", _copy, typed=True)
"""`copy_run(out, at, x, first, count)` copies so many numbers of an array, from the place `first` on, to the
place `at` of another of the same type; places are counted through all axes."""
fill_run = Intrinsic("", _fill, typed=True)
"""`fill_run(out, at, count, value)` writes one number so many times."""
