"""The innermost product of a small tile of C, emitted as LLVM instructions for the host's vector registers.

A tile of `rows x columns` numbers of C stays in vector registers while k runs: each step loads the
vectors of one row of B, broadcasts one number of A for each row of the tile, and multiplies and adds.
Where the numbers of A lie is a pair of strides, so that A and its transpose are read in place; B needs
its columns contiguous.

The shapes of tiles come from the register file: as many accumulators as fit beside a row of B and one
number of A. Shorter tiles of the same family serve the rows that are left over.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.kernels.cpu.memory import SIZES, declare, ir_type
from bigmodel_core.kernels.cpu.native import Intrinsic
from bigmodel_core.kernels.cpu.target import vector_unit

VECTORS = 2
"""Vectors in a row of a tile."""

WIDE = 8
"""Vectors in the tile of a single row, which needs that many sums under way to keep the multipliers busy."""

ARGUMENTS = (
    *("k", "a", "a_row", "a_step", "b", "b_step"),
    *("c", "c_row", "start", "start_row", "ahead", "ahead_step", "rows", "columns"),
)


def tile_rows() -> tuple[int, ...]:
    """The heights of tiles: the tallest fills the registers, the others are powers of two."""
    return (12, 8, 4, 2, 1) if vector_unit().registers >= 32 else (6, 4, 2, 1)


def tile_columns(dtype: str) -> int:
    """The width of a tile in numbers."""
    return VECTORS * vector_unit().lanes(dtype)


@functools.cache
def multiply_tile(dtype: str) -> Intrinsic:
    """One tile of C: `c[i, j] = start[i, j] + sum over k of a[i, k] * b[k, j]`.

    All strides are in bytes. `start` may be C itself (to go on with a sum), a vector (a bias, its row stride
    being 0), or 0 for nothing. `rows` is one of `tile_rows()`, `columns` at most `tile_columns(dtype)` (with
    one row, also `WIDE` vectors), `k` at least 1. Rows of B and of `start` are read in whole vectors, past
    the last column. Tall tiles ask the memory for what comes next: in each step of k for the cache line at
    `ahead`, which then moves on by `ahead_step`; any address will do.
    """
    lanes, size, heights = vector_unit().lanes(dtype), SIZES[dtype], tile_rows()
    shapes = (*((rows, vectors) for rows in heights for vectors in range(1, VECTORS + 1)), (1, WIDE))

    def multiply(builder: Any, *arguments: Any) -> None:
        builder.call(dispatcher(builder.module, dtype, lanes, size, shapes), arguments)

    multiply.__name__ = f"multiply_tile_{dtype}"
    return Intrinsic(f"void({', '.join(['intp'] * len(ARGUMENTS))})", multiply)


def dispatcher(module: Any, dtype: str, lanes: int, size: int, shapes: tuple[tuple[int, int], ...]) -> Any:
    """The function that goes to the tile function for (rows, columns), made once in a module."""
    from llvmlite import ir

    name = f"multiply_tile_{dtype}"
    if name in module.globals:
        return module.globals[name]
    integer = ir.IntType(64)
    kind = ir.FunctionType(ir.VoidType(), [integer] * len(ARGUMENTS))
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    rows, columns = function.args[-2:]
    vectors = builder.sdiv(builder.add(columns, integer(lanes - 1)), integer(lanes))
    never = function.append_basic_block("never")
    choice = builder.switch(builder.add(builder.mul(rows, integer(WIDE + 1)), vectors), never)
    for height, count in shapes:
        tile = tile_function(module, f"{name}_{height}_{count}", kind, dtype, lanes, size, height, count)
        block = function.append_basic_block()
        choice.add_case(integer(height * (WIDE + 1) + count), block)
        with builder.goto_block(block):
            builder.call(tile, function.args, tail=True)
            builder.ret_void()
    ir.IRBuilder(never).unreachable()
    return function


def tile_function(
    module: Any, name: str, kind: Any, dtype: str, lanes: int, size: int, rows: int, vectors: int
) -> Any:
    """The function for a tile of so many rows and vectors; its last vector may be cut."""
    from llvmlite import ir

    integer = ir.IntType(64)
    vector = ir.VectorType(ir_type(dtype), lanes)
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    arguments = dict(zip(ARGUMENTS, function.args, strict=True))
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))

    builder = ir.IRBuilder(entry)
    # Without a start the loads go to the first row of B, which is needed anyway; their values are dropped.
    absent = builder.icmp_signed("==", arguments["start"], integer(0))
    start = builder.select(absent, arguments["b"], arguments["start"])
    start_row = builder.select(absent, integer(0), arguments["start_row"])
    nothing = ir.Constant(vector, [0.0] * lanes)

    def first(i: int, j: int) -> Any:
        read = load_vector(builder, at(builder, start, start_row, i, j * lanes * size), vector, size)
        return builder.select(absent, nothing, read)

    sums = [[first(i, j) for j in range(vectors)] for i in range(rows)]
    groups = [at(builder, arguments["a"], arguments["a_row"], i, 0) for i in range(0, rows, 3)]
    twice = builder.mul(arguments["a_row"], integer(2))
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    left = phi(builder, integer, arguments["k"], entry)
    b = phi(builder, integer, arguments["b"], entry)
    a = [phi(builder, integer, group, entry) for group in groups]
    if rows in tile_rows()[:2]:
        ahead = phi(builder, integer, arguments["ahead"], entry)
    sums = [[phi(builder, vector, value, entry) for value in row] for row in sums]
    if rows in tile_rows()[:2]:
        prefetch(builder, ahead)
        ahead.add_incoming(builder.add(ahead, arguments["ahead_step"]), loop)
    row_of_b = [
        load_vector(builder, at(builder, b, None, 0, j * lanes * size), vector, size) for j in range(vectors)
    ]
    following = []
    for i in range(rows):
        offset = (None, arguments["a_row"], twice)[i % 3]
        address = a[i // 3] if offset is None else builder.add(a[i // 3], offset)
        number = broadcast(builder, address, vector, dtype, size)
        following.append([multiply_add(builder, number, row_of_b[j], sums[i][j]) for j in range(vectors)])
    for i in range(rows):
        for j in range(vectors):
            sums[i][j].add_incoming(following[i][j], loop)
    for group in a:
        group.add_incoming(builder.add(group, arguments["a_step"]), loop)
    b.add_incoming(builder.add(b, arguments["b_step"]), loop)
    fewer = builder.sub(left, integer(1))
    left.add_incoming(fewer, loop)
    builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), loop, done)

    builder = ir.IRBuilder(done)
    whole, cut, end = (function.append_basic_block(label) for label in ("whole", "cut", "end"))
    builder.cbranch(builder.icmp_signed("==", arguments["columns"], integer(lanes * vectors)), whole, cut)
    for block in (whole, cut):
        builder = ir.IRBuilder(block)
        mask = lane_mask(builder, builder.sub(arguments["columns"], integer(lanes * (vectors - 1))), lanes)
        for i in range(rows):
            for j in range(vectors):
                address = at(builder, arguments["c"], arguments["c_row"], i, j * lanes * size)
                masked = block is cut and j == vectors - 1
                store_vector(builder, following[i][j], address, size, mask if masked else None)
        builder.branch(end)
    ir.IRBuilder(end).ret_void()
    return function


# Instructions -------------------------------------------------------------------------------------


def phi(builder: Any, kind: Any, value: Any, block: Any) -> Any:
    """A value that changes from turn to turn of a loop, with what it is on entry."""
    made = builder.phi(kind)
    made.add_incoming(value, block)
    return made


def at(builder: Any, base: Any, stride: Any, row: int, offset: int) -> Any:
    """The address of `offset` bytes into row `row`."""
    address = builder.add(base, builder.mul(stride, base.type(row))) if row else base
    return builder.add(address, base.type(offset)) if offset else address


def load_vector(builder: Any, address: Any, vector: Any, alignment: int) -> Any:
    """The vector at an integer address."""
    value = builder.load(builder.inttoptr(address, vector.as_pointer()))
    value.align = alignment
    return value


def store_vector(builder: Any, value: Any, address: Any, alignment: int, mask: Any = None) -> None:
    """Write a vector to an integer address; with a mask, only the lanes it names."""
    from llvmlite import ir

    place = builder.inttoptr(address, value.type.as_pointer())
    if mask is None:
        builder.store(value, place).align = alignment
        return
    arguments = [value.type, place.type, ir.IntType(32), mask.type]
    masked = on_vectors(builder, "llvm.masked.store", value.type, arguments, ir.VoidType())
    builder.call(masked, [value, place, ir.IntType(32)(alignment), mask])


def prefetch(builder: Any, address: Any) -> None:
    """Ask for the cache line at an address, whether there is memory or not, into the second-level cache."""
    from llvmlite import ir

    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = declare(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, word, word, word])
    builder.call(function, [builder.inttoptr(address, byte), word(0), word(2), word(1)])


def lane_mask(builder: Any, count: Any, lanes: int) -> Any:
    """A mask of the first `count` lanes."""
    from llvmlite import ir

    numbers = ir.VectorType(ir.IntType(32), lanes)
    counts = splat(builder, builder.trunc(count, ir.IntType(32)), numbers)
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), counts)


def splat(builder: Any, value: Any, vector: Any) -> Any:
    """A vector whose lanes are all the same number."""
    from llvmlite import ir

    undefined = ir.Constant(vector, ir.Undefined)
    single = builder.insert_element(undefined, value, ir.IntType(32)(0))
    zero = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(single, undefined, zero)


def broadcast(builder: Any, address: Any, vector: Any, dtype: str, size: int) -> Any:
    """A vector whose lanes are all the number at an integer address."""
    number = builder.load(builder.inttoptr(address, ir_type(dtype).as_pointer()))
    number.align = size
    return splat(builder, number, vector)


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c`, in one instruction where the processor has it."""
    return builder.call(on_vectors(builder, "llvm.fmuladd", a.type, [a.type] * 3), [a, b, c])


def on_vectors(builder: Any, name: str, vector: Any, arguments: list[Any], result: Any = None) -> Any:
    """The LLVM function of this name for a vector type; its result is a vector unless told."""
    from llvmlite import ir

    suffix = "f32" if isinstance(vector.element, ir.FloatType) else "f64"
    return declare(builder, f"{name}.v{vector.count}{suffix}", result or vector, arguments)
