"""Instructions on floats, of which mathematical functions are made: calls of LLVM and of the C library,
powers of two, and the parts of a number."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.cpu.engine.memory import declare, ir_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, intrinsic


@functools.cache
def call(dtype: str, double_name: str, single_name: str, arity: int = 1) -> Intrinsic:
    """A C or LLVM function of floats, by its names for float64 and float32."""
    name = single_name if dtype == "float32" else double_name

    def codegen(builder: Any, *values: Any) -> Any:
        kind = ir_type(dtype)
        return builder.call(declare(builder, name, kind, [kind] * arity), values)

    codegen.__name__ = name.replace(".", "_")
    return Intrinsic(f"{dtype}({', '.join([dtype] * arity)})", codegen)


def llvm(dtype: str, name: str, arity: int = 1) -> Intrinsic:
    return call(dtype, f"llvm.{name}.f64", f"llvm.{name}.f32", arity)


def libm(dtype: str, name: str, arity: int = 1) -> Intrinsic:
    return call(dtype, name, f"{name}f", arity)


@functools.cache
def single(value: float) -> Intrinsic:
    """A float32 number inside a kernel: Numba would make a Python float a float64."""

    def codegen(builder: Any) -> Any:
        from llvmlite import ir

        return ir.Constant(ir_type("float32"), value)

    codegen.__name__ = "single"
    codegen.__defaults__ = None
    return Intrinsic("float32()", codegen)


@intrinsic("float32(float32, intp)")
def scale32(builder: Any, value: Any, power: Any) -> Any:
    """value * 2**power for values near 1, right for powers that have no float of their own, too."""
    return _scale(builder, value, power, "float32", 127, 23)


@intrinsic("float64(float64, intp)")
def scale64(builder: Any, value: Any, power: Any) -> Any:
    return _scale(builder, value, power, "float64", 1023, 52)


@intrinsic("float32(intp)")
def power_of_two32(builder: Any, power: Any) -> Any:
    """2**power, for powers from -126 to 127."""
    from llvmlite import ir

    kind = ir.IntType(32)
    bits = builder.shl(builder.add(builder.trunc(power, kind), ir.Constant(kind, 127)), ir.Constant(kind, 23))
    return builder.bitcast(bits, ir_type("float32"))


def _scale(builder: Any, value: Any, power: Any, dtype: str, bias: int, shift: int) -> Any:
    """Half of the power is added to the exponent, the rest is a factor. Two factors would become one, which
    overflows or vanishes before the product does: kernels may reorder products."""
    from llvmlite import ir

    kind = ir_type(DTYPES[dtype].bits)

    def in_place(number: Any) -> Any:
        return builder.shl(number, ir.Constant(kind, shift))

    whole = builder.trunc(power, kind) if dtype == "float32" else power
    half = builder.ashr(whole, ir.Constant(kind, 1))
    rest = builder.add(builder.sub(whole, half), ir.Constant(kind, bias))
    scaled = builder.bitcast(builder.add(builder.bitcast(value, kind), in_place(half)), ir_type(dtype))
    return builder.fmul(scaled, builder.bitcast(in_place(rest), ir_type(dtype)))


@intrinsic("intp(float32)")
def whole32(builder: Any, value: Any) -> Any:
    from llvmlite import ir

    return builder.sext(builder.fptosi(value, ir.IntType(32)), ir.IntType(64))


@intrinsic("intp(float64)")
def whole64(builder: Any, value: Any) -> Any:
    from llvmlite import ir

    return builder.fptosi(value, ir.IntType(64))


# The parts of a number --------------------------------------------------------------------------------------

_ROOT_OF_HALF = 0x3F3504F3
"""The bits of sqrt(1/2) in float32."""


@intrinsic("float32(float32)")
def exponent32(builder: Any, value: Any) -> Any:
    """The n of a normal number m * 2**n, where m is from sqrt(1/2) up to sqrt(2)."""
    return builder.sitofp(_above_root(builder, value, shifted=True), ir_type("float32"))


@intrinsic("float32(float32)")
def mantissa32(builder: Any, value: Any) -> Any:
    """The m of a normal number m * 2**n, from sqrt(1/2) up to sqrt(2)."""
    from llvmlite import ir

    kind = ir.IntType(32)
    rest = builder.and_(_above_root(builder, value, shifted=False), ir.Constant(kind, 0x7FFFFF))
    return builder.bitcast(builder.add(rest, ir.Constant(kind, _ROOT_OF_HALF)), ir_type("float32"))


def _above_root(builder: Any, value: Any, shifted: bool) -> Any:
    from llvmlite import ir

    kind = ir.IntType(32)
    bits = builder.sub(builder.bitcast(value, kind), ir.Constant(kind, _ROOT_OF_HALF))
    return builder.ashr(bits, ir.Constant(kind, 23)) if shifted else bits


# Quarters of a turn -----------------------------------------------------------------------------------------

_TWO_BY_PI = 0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163ABDEBBC561B7246E3A
"""2 / pi in units of 2**-288."""


@intrinsic("intp(float32)")
def turns_of_large32(builder: Any, value: Any) -> Any:
    """An angle of 2**25 or more modulo a whole turn, in units of 2**-64 turns (Payne and Hanek, 1983): its
    mantissa times the digits of 2 / pi that make neither whole turns nor too little to count."""
    from llvmlite import ir

    narrow, wide = ir.IntType(32), ir.IntType(64)

    def number(n: int) -> Any:
        return ir.Constant(wide, n)

    bits = builder.bitcast(value, narrow)
    exponent = builder.and_(builder.lshr(bits, ir.Constant(narrow, 23)), ir.Constant(narrow, 255))
    mantissa = builder.or_(builder.and_(bits, ir.Constant(narrow, 0x7FFFFF)), ir.Constant(narrow, 0x800000))
    mantissa = builder.zext(mantissa, wide)
    first = builder.zext(builder.sub(exponent, ir.Constant(narrow, 152)), wide)  # the first digit that counts
    is_late = builder.icmp_unsigned("!=", builder.and_(first, number(64)), number(0))
    words = [number(_TWO_BY_PI >> (288 - 64 - 64 * place) & (2**64 - 1)) for place in range(4)]
    digits = [builder.select(is_late, words[place + 1], words[place]) for place in range(3)]
    shift = builder.and_(first, number(63))
    # Of two numbers as one, shifted, the upper half.
    pair = builder.module.declare_intrinsic("llvm.fshl", [wide], ir.FunctionType(wide, [wide] * 3))
    high, further = (builder.call(pair, [*digits[place : place + 2], shift]) for place in range(2))
    low = builder.lshr(further, number(32))
    carried = builder.lshr(builder.mul(mantissa, low), number(32))
    return builder.add(builder.mul(mantissa, high), carried)


@intrinsic("intp(boolean, intp, intp)")
def either_whole(builder: Any, condition: Any, a: Any, b: Any) -> Any:
    """a if the condition holds, else b. Both are computed: of a long way to one LLVM would make a branch."""
    return builder.select(condition, a, b)


@intrinsic("float64(boolean, float64, float64)")
def either64(builder: Any, condition: Any, a: Any, b: Any) -> Any:
    """As `either_whole`, of floats."""
    return builder.select(condition, a, b)


@intrinsic("float64(float32)")
def widen32(builder: Any, value: Any) -> Any:
    """A float32 as a float64."""
    return builder.fpext(value, ir_type("float64"))


@intrinsic("float32(float64)")
def narrow64(builder: Any, value: Any) -> Any:
    """The float32 next to a float64."""
    return builder.fptrunc(value, ir_type("float32"))


@intrinsic("float32(float32, float32)")
def turned_with32(builder: Any, value: Any, other: Any) -> Any:
    """A number, negated where another has the sign of those below 0."""
    from llvmlite import ir

    kind = ir.IntType(32)
    sign = builder.and_(builder.bitcast(other, kind), ir.Constant(kind, 0x80000000))
    return builder.bitcast(builder.xor(builder.bitcast(value, kind), sign), ir_type("float32"))


@intrinsic("float32(intp, float32, float32)")
def sine_of_quarter(builder: Any, quarters: Any, sine: Any, cosine: Any) -> Any:
    """The sine of so many quarters of a turn and an angle, of which the sine and the cosine are given."""
    from llvmlite import ir

    kind = ir.IntType(32)
    count = builder.trunc(quarters, kind)
    is_odd = builder.trunc(count, ir.IntType(1))
    chosen = builder.bitcast(builder.select(is_odd, cosine, sine), kind)
    sign = builder.shl(builder.lshr(count, ir.Constant(kind, 1)), ir.Constant(kind, 31))
    return builder.bitcast(builder.xor(chosen, sign), ir_type("float32"))
