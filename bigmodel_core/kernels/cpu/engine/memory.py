"""Intrinsics for kernels: typed loads and stores at addresses, calls through addresses, atomics."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES, SIZES
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, intrinsic


def ir_type(dtype: str) -> Any:
    """The LLVM type that holds a dtype in memory."""
    from llvmlite import ir

    name = DTYPES[dtype].llvm
    if name.startswith("i"):
        return ir.IntType(int(name[1:]))
    return {"half": ir.HalfType, "float": ir.FloatType, "double": ir.DoubleType}[name]()


def pointer(builder: Any, address: Any, dtype: str, index: Any = None) -> Any:
    """An LLVM pointer to element `index` of the array at an integer address."""
    base = builder.inttoptr(address, ir_type(dtype).as_pointer())
    return base if index is None else builder.gep(base, [index])


@functools.cache
def load(dtype: str) -> Intrinsic:
    """`load(dtype)(address, index)` reads one number."""

    def codegen(builder: Any, address: Any, index: Any) -> Any:
        value = builder.load(pointer(builder, address, dtype, index))
        value.align = SIZES[dtype]
        if dtype == "bool":
            from llvmlite import ir

            return builder.icmp_unsigned("!=", value, ir.Constant(ir.IntType(8), 0))
        return value

    codegen.__name__ = f"load_{dtype}"
    return Intrinsic(f"{DTYPES[dtype].numba}(intp, intp)", codegen)


@functools.cache
def store(dtype: str) -> Intrinsic:
    """`store(dtype)(address, index, value)` writes one number."""

    def codegen(builder: Any, address: Any, index: Any, value: Any) -> None:
        if dtype == "bool":
            value = builder.zext(value, ir_type("bool"))
        builder.store(value, pointer(builder, address, dtype, index)).align = SIZES[dtype]

    codegen.__name__ = f"store_{dtype}"
    return Intrinsic(f"void(intp, intp, {DTYPES[dtype].numba})", codegen)


@functools.cache
def magnitude_of(dtype: str) -> Intrinsic:
    """`magnitude_of(dtype)(number)` is a float's bits without the sign, as an integer: integers of this kind
    are in the order of the magnitudes, infinity above everything that is finite, and NaN above infinity."""
    kind = DTYPES[dtype].bits

    def codegen(builder: Any, number: Any) -> Any:
        from llvmlite import ir

        integer = ir_type(kind)
        return builder.and_(builder.bitcast(number, integer), ir.Constant(integer, DTYPES[dtype].magnitude))

    codegen.__name__ = f"magnitude_of_{dtype}"
    return Intrinsic(f"{kind}({dtype})", codegen)


@functools.cache
def larger(dtype: str) -> Intrinsic:
    """`larger(dtype)(a, b)` is the larger of two integers, of their own type."""

    def codegen(builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.icmp_signed(">", a, b), a, b)

    codegen.__name__ = f"larger_{dtype}"
    return Intrinsic(f"{dtype}({dtype}, {dtype})", codegen)


@functools.cache
def float_of(dtype: str) -> Intrinsic:
    """`float_of(dtype)(bits)` is the float with the same bits as an integer."""
    kind = DTYPES[dtype].bits

    def codegen(builder: Any, bits: Any) -> Any:
        return builder.bitcast(bits, ir_type(dtype))

    codegen.__name__ = f"float_of_{dtype}"
    return Intrinsic(f"{dtype}({kind})", codegen)


@functools.cache
def array_view(dtype: str, rank: int) -> Intrinsic:
    """`array_view(dtype, rank)(address, *sizes)` sees memory as a C-contiguous array, which owns nothing."""

    def codegen(context: Any, signature: Any, builder: Any, address: Any, *sizes: Any) -> Any:
        from llvmlite import ir
        from numba.np.arrayobj import make_array, populate_array

        array = make_array(signature.return_type)(context, builder)
        size = SIZES[dtype]
        step = ir.Constant(ir.IntType(64), size)
        strides: list[Any] = []
        for extent in reversed(sizes):
            strides.insert(0, step)
            step = builder.mul(step, extent)
        data = builder.inttoptr(address, array.data.type)
        itemsize = ir.Constant(ir.IntType(64), size)
        populate_array(array, data=data, shape=list(sizes), strides=strides, itemsize=itemsize, meminfo=None)
        return array._getvalue()

    codegen.__name__ = f"view_{dtype}_{rank}"
    dims = ", ".join([":"] * (rank - 1) + ["::1"])
    return Intrinsic(f"{DTYPES[dtype].numba}[{dims}](intp{', intp' * rank})", codegen, typed=True)


@intrinsic("uintp(intp)")
def unsigned(builder: Any, index: Any) -> Any:
    """An index that is never below 0. Of all others arrays look whether they count from the end, and loops in
    which they do are no vector code."""
    return index


@intrinsic("intp(intp)")
def bound(builder: Any, number: Any) -> Any:
    """An end of a range of indices, which LLVM then sees to be from 0 to 2**61: arrays need not look at those
    of a loop over the range."""
    from llvmlite import ir

    return builder.and_(number, ir.Constant(number.type, 2**61 - 1))


load_int = load("int64")
store_int = store("int64")
load_float = load("float64")


@intrinsic("intp(intp, intp, intp)")
def call_kernel(builder: Any, address: Any, context: Any, chunk: Any) -> Any:
    """Call the compiled kernel at an address (Numba's own calling convention); 0 unless it raised."""
    from llvmlite import ir

    result, failure = _scratch(builder)
    kind = ir.FunctionType(ir.IntType(32), [result.type, failure.type, context.type, chunk.type])
    code = builder.call(builder.inttoptr(address, kind.as_pointer()), [result, failure, context, chunk])
    return builder.sext(code, context.type)


def _scratch(builder: Any) -> tuple[Any, Any]:
    from llvmlite import ir

    byte_pointer = ir.IntType(8).as_pointer()
    with builder.goto_entry_block():
        return builder.alloca(byte_pointer), builder.alloca(byte_pointer)


@intrinsic("intp(intp, intp)")
def call_c(builder: Any, address: Any, argument: Any) -> Any:
    """Call a C function `int f(argument)` at an address."""
    from llvmlite import ir

    kind = ir.FunctionType(ir.IntType(32), [argument.type])
    return builder.sext(builder.call(builder.inttoptr(address, kind.as_pointer()), [argument]), argument.type)


@intrinsic("intp(intp, intp)")
def atomic_add(builder: Any, address: Any, amount: Any) -> Any:
    """Add to the integer at an address; returns what was there before."""
    return builder.atomic_rmw("add", pointer(builder, address, "int64"), amount, "seq_cst")


@intrinsic("intp(intp)")
def atomic_load(builder: Any, address: Any) -> Any:
    """Read the integer at an address, ordered with all other atomics."""
    return builder.load_atomic(pointer(builder, address, "int64"), "seq_cst", 8)


@intrinsic("void(intp, intp)")
def atomic_store(builder: Any, address: Any, value: Any) -> None:
    """Write the integer at an address, ordered with all other atomics."""
    builder.store_atomic(value, pointer(builder, address, "int64"), "seq_cst", 8)


@intrinsic("intp(intp, intp, intp)")
def atomic_exchange_if(builder: Any, address: Any, expected: Any, value: Any) -> Any:
    """Write a value if the integer at an address is the expected one; returns 1 when it was."""
    pair = builder.cmpxchg(pointer(builder, address, "int64"), expected, value, "seq_cst", "seq_cst")
    return builder.zext(builder.extract_value(pair, 1), expected.type)


@intrinsic("void()")
def pause(builder: Any) -> None:
    """Tell the processor that this is a waiting loop."""
    import platform

    from llvmlite import ir

    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        builder.call(declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    elif machine in ("arm64", "aarch64"):
        hint = declare(builder, "llvm.aarch64.hint", ir.VoidType(), [ir.IntType(32)])
        builder.call(hint, [ir.Constant(ir.IntType(32), 1)])


def declare(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """An external function of the module under construction, declared once."""
    from llvmlite import ir

    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)
