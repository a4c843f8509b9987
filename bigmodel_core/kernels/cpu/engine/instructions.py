"""LLVM instructions that kernels are emitted with: vectors at addresses, masks, functions of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bigmodel_core.kernels.cpu.engine.memory import declare, ir_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit

LINE = 64
"""Bytes of a cache line."""


def own_function(module: Any, name: str, arguments: int, is_short: bool = False) -> tuple[Any, bool]:
    """A function of so many integers that the module keeps to itself, and whether it was made just now.

    If it is short, its instructions may stand where it is called.
    """
    from llvmlite import ir

    found = module.globals.get(name)
    if found is not None:
        return found, False
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * arguments)
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    if not is_short:
        function.attributes.add("noinline")
    return function, True


def outlined(name: str, arguments: int, body: Callable[[Any], None]) -> Intrinsic:
    """An intrinsic of so many integers that calls its own function, which `body(function)` fills in.

    However often a kernel calls it, its instructions are there once.
    """

    def call(builder: Any, *given: Any) -> None:
        function, fresh = own_function(builder.module, name, arguments)
        if fresh:
            body(function)
        builder.call(function, given)

    call.__name__ = name
    return Intrinsic(f"void({', '.join(['intp'] * arguments)})", call)


def dispatched(
    name: str,
    arguments: int,
    lanes: int,
    shapes: Iterable[tuple[int, int]],
    body: Callable[[Any, int, int], None],
) -> Intrinsic:
    """An intrinsic that calls the function for a tile, filled in by `body(function, rows, vectors)`.

    Its last two arguments are rows and columns; columns fill a number of vectors.
    """
    chosen = tuple(shapes)
    most = 1 + max(vectors for _, vectors in chosen)

    def choose(function: Any) -> None:
        from llvmlite import ir

        integer = ir.IntType(64)
        builder = ir.IRBuilder(function.append_basic_block())
        rows, columns = function.args[-2:]
        vectors = builder.sdiv(builder.add(columns, integer(lanes - 1)), integer(lanes))
        never = function.append_basic_block("never")
        choice = builder.switch(builder.add(builder.mul(rows, integer(most)), vectors), never)
        for height, count in chosen:
            tile, fresh = own_function(function.module, f"{name}_{height}_{count}", arguments)
            if fresh:
                body(tile, height, count)
            block = function.append_basic_block()
            choice.add_case(integer(height * most + count), block)
            with builder.goto_block(block):
                builder.call(tile, function.args, tail=True)
                builder.ret_void()
        ir.IRBuilder(never).unreachable()

    return outlined(name, arguments, choose)


def vector_type(dtype: str) -> Any:
    """The LLVM type of the host's vectors."""
    from llvmlite import ir

    return ir.VectorType(ir_type(dtype), vector_unit().lanes(dtype))


def phi(builder: Any, kind: Any, value: Any, block: Any) -> Any:
    """A value that changes from turn to turn of a loop, with what it is on entry."""
    made = builder.phi(kind)
    made.add_incoming(value, block)
    return made


def at(builder: Any, base: Any, stride: Any, row: int, offset: int) -> Any:
    """The address of `offset` bytes into row `row`."""
    address = builder.add(base, builder.mul(stride, base.type(row))) if row else base
    return builder.add(address, base.type(offset)) if offset else address


def load_vector(builder: Any, address: Any, vector: Any, alignment: int, mask: Any = None) -> Any:
    """The vector at an integer address; with a mask only the lanes it names, zeros elsewhere."""
    from llvmlite import ir

    place = builder.inttoptr(address, vector.as_pointer())
    if mask is None:
        value = builder.load(place)
        value.align = alignment
        return value
    arguments = [place.type, ir.IntType(32), mask.type, vector]
    masked = on_vectors(builder, "llvm.masked.load", vector, arguments)
    return builder.call(masked, [place, ir.IntType(32)(alignment), mask, ir.Constant(vector, None)])


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


def prefetch(builder: Any, address: Any, to_write: bool = False) -> None:
    """Ask for the cache line at an address, whether there is memory or not: into the second-level cache, or
    into the first where it will be written."""
    from llvmlite import ir

    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = declare(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, word, word, word])
    builder.call(
        function, [builder.inttoptr(address, byte), word(int(to_write)), word(3 if to_write else 2), word(1)]
    )


prefetch_line = Intrinsic("void(intp)", prefetch)


def _prefetch_bytes(builder: Any, address: Any, count: Any) -> None:
    """Prefetch a number of bytes from an address, whether it is valid or not, in a loop that is not unrolled:
    its copies would take longer to compile than what most kernels compute."""
    before, last = builder.basic_block, builder.add(address, count)
    loop, after = builder.append_basic_block("ask"), builder.append_basic_block("asked")
    builder.cbranch(builder.icmp_signed("<", address, last), loop, after)
    builder.position_at_end(loop)
    place = builder.phi(address.type)
    prefetch(builder, place)
    following = builder.add(place, address.type(LINE))
    again = builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
    place.add_incoming(address, before)
    place.add_incoming(following, loop)
    setting = builder.module.add_metadata(["llvm.loop.unroll.disable"])
    node = builder.module.add_metadata([setting])
    node.operands = (node, setting)  # what is said of a loop begins with itself
    again.set_metadata("llvm.loop", node)
    builder.position_at_end(after)


prefetch_bytes = Intrinsic("void(intp, intp)", _prefetch_bytes)


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

    element = vector.element
    width = element.width if isinstance(element, ir.IntType) else 32 if element == ir.FloatType() else 64
    suffix = f"{'i' if isinstance(element, ir.IntType) else 'f'}{width}"
    return declare(builder, f"{name}.v{vector.count}{suffix}", result or vector, arguments)
