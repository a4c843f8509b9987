"""Mathematical functions of one number, written so that LLVM turns them into vector code.

`exp`, `expm1` and `tanh` are polynomials after range reduction (Cody and Waite, 1980; for float32 those of
Moshier's Cephes); the others are LLVM intrinsics or the C library's functions. `replacements(dtype)` is
what kernels of a dtype get in place of Python's `math`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.cpu.engine.memory import declare, ir_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, intrinsic
from bigmodel_core.kernels.extremes import larger, smaller


@functools.cache
def _call(dtype: str, double_name: str, single_name: str, arity: int = 1) -> Intrinsic:
    """A C or LLVM function of floats, by its names for float64 and float32."""
    name = single_name if dtype == "float32" else double_name

    def codegen(builder: Any, *values: Any) -> Any:
        kind = ir_type(dtype)
        return builder.call(declare(builder, name, kind, [kind] * arity), values)

    codegen.__name__ = name.replace(".", "_")
    return Intrinsic(f"{dtype}({', '.join([dtype] * arity)})", codegen)


def _llvm(dtype: str, name: str, arity: int = 1) -> Intrinsic:
    return _call(dtype, f"llvm.{name}.f64", f"llvm.{name}.f32", arity)


def _libm(dtype: str, name: str, arity: int = 1) -> Intrinsic:
    return _call(dtype, name, f"{name}f", arity)


@intrinsic("float32(float32, intp)")
def _scale32(builder: Any, value: Any, power: Any) -> Any:
    """value * 2**power in two steps, so that overflow and denormals come out right."""
    return _scale(builder, value, power, "float32", 127, 23)


@intrinsic("float64(float64, intp)")
def _scale64(builder: Any, value: Any, power: Any) -> Any:
    return _scale(builder, value, power, "float64", 1023, 52)


@intrinsic("float32(intp)")
def _power_of_two32(builder: Any, power: Any) -> Any:
    """2**power, for powers from -126 to 127."""
    from llvmlite import ir

    kind = ir.IntType(32)
    bits = builder.shl(builder.add(builder.trunc(power, kind), ir.Constant(kind, 127)), ir.Constant(kind, 23))
    return builder.bitcast(bits, ir_type("float32"))


def _scale(builder: Any, value: Any, power: Any, dtype: str, bias: int, shift: int) -> Any:
    from llvmlite import ir

    kind = ir_type(DTYPES[dtype].bits)
    whole = builder.trunc(power, kind) if dtype == "float32" else power
    half = builder.ashr(whole, ir.Constant(kind, 1))
    for part in (half, builder.sub(whole, half)):
        bits = builder.shl(builder.add(part, ir.Constant(kind, bias)), ir.Constant(kind, shift))
        value = builder.fmul(value, builder.bitcast(bits, ir_type(dtype)))
    return value


@intrinsic("intp(float32)")
def _whole32(builder: Any, value: Any) -> Any:
    from llvmlite import ir

    return builder.sext(builder.fptosi(value, ir.IntType(32)), ir.IntType(64))


@intrinsic("intp(float64)")
def _whole64(builder: Any, value: Any) -> Any:
    from llvmlite import ir

    return builder.fptosi(value, ir.IntType(64))


_round32, _round64 = _llvm("float32", "rint"), _llvm("float64", "rint")
_fma32, _fma64 = _llvm("float32", "fma", 3), _llvm("float64", "fma", 3)
_copysign32, _copysign64 = _llvm("float32", "copysign", 2), _llvm("float64", "copysign", 2)


@functools.cache
def _single(value: float) -> Intrinsic:
    """A float32 number inside a kernel: Numba would make a Python float a float64."""

    def codegen(builder: Any) -> Any:
        from llvmlite import ir

        return ir.Constant(ir_type("float32"), value)

    codegen.__name__ = "single"
    codegen.__defaults__ = None
    return Intrinsic("float32()", codegen)


_LOG2E, _LN2_HIGH, _LN2_LOW = _single(1.44269504), _single(-0.693359375), _single(2.12194440e-4)
_E_MAX, _E_MIN = _single(89.0), _single(-104.0)
_E0, _E1, _E2 = _single(1.9875691500e-4), _single(1.3981999507e-3), _single(8.3334519073e-3)
_E3, _E4, _E5 = _single(4.1665795894e-2), _single(1.6666665459e-1), _single(0.5)
_HALF, _ONE, _TWO = _single(0.5), _single(1.0), _single(2.0)
_FLAT, _STEEP = _single(20.0), _single(87.0)


def _reduced32(x):
    """n and exp(r) - 1, where x = n ln(2) + r and |r| <= ln(2) / 2."""
    n = _round32(x * _LOG2E())
    r = _fma32(n, _LN2_LOW(), _fma32(n, _LN2_HIGH(), x))
    p = _fma32(_E0(), r, _E1())
    p = _fma32(p, r, _E2())
    p = _fma32(p, r, _E3())
    p = _fma32(p, r, _E4())
    p = _fma32(p, r, _E5())
    return n, _fma32(p, r * r, r)


def exp32(x):
    x = _E_MAX() if x > _E_MAX() else x
    x = _E_MIN() if x < _E_MIN() else x
    n, rest = _reduced32(x)
    return _scale32(rest + _ONE(), _whole32(n))


def expm1_32(x):
    """exp(x) - 1 with all digits near 0; half of it is computed, which does not overflow before the end."""
    y = _E_MAX() if x > _E_MAX() else x
    y = -_FLAT() if y < -_FLAT() else y
    n, rest = _reduced32(y)
    scale = _power_of_two32(_whole32(n) - 1)
    return _copysign32(_fma32(scale, rest, scale - _HALF()) * _TWO(), x)  # also of -0


def tanh32(x):
    """(exp(2x) - 1) / (exp(2x) + 1), 1 or -1 from where float32 has nothing closer."""
    y = x + x
    y = _FLAT() if y > _FLAT() else y
    y = -_FLAT() if y < -_FLAT() else y
    n, rest = _reduced32(y)
    scale = _power_of_two32(_whole32(n))
    less_one = _fma32(scale, rest, scale - _ONE())
    return _copysign32(less_one / (less_one + _TWO()), x)  # also of -0


def sigmoid32(x):
    """1 / (1 + exp(-x)), which stays a normal number at both ends."""
    y = -x
    y = _STEEP() if y > _STEEP() else y
    y = -_STEEP() if y < -_STEEP() else y
    n, rest = _reduced32(y)
    scale = _power_of_two32(_whole32(n))
    return _ONE() / (_fma32(scale, rest, scale) + _ONE())


_COEFFICIENTS = tuple(1.0 / math.factorial(k) for k in range(14))


def _exponential_rest(r):
    """exp(r) - 1 for |r| <= ln(2) / 2, by Taylor's series to the 13th power."""
    p = _COEFFICIENTS[13]
    p = _fma64(p, r, _COEFFICIENTS[12])
    p = _fma64(p, r, _COEFFICIENTS[11])
    p = _fma64(p, r, _COEFFICIENTS[10])
    p = _fma64(p, r, _COEFFICIENTS[9])
    p = _fma64(p, r, _COEFFICIENTS[8])
    p = _fma64(p, r, _COEFFICIENTS[7])
    p = _fma64(p, r, _COEFFICIENTS[6])
    p = _fma64(p, r, _COEFFICIENTS[5])
    p = _fma64(p, r, _COEFFICIENTS[4])
    p = _fma64(p, r, _COEFFICIENTS[3])
    p = _fma64(p, r, _COEFFICIENTS[2])
    return _fma64(p, r * r, r)


def exp64(x):
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    n = _round64(x * 1.4426950408889634)
    r = _fma64(n, -1.90821492927058770002e-10, _fma64(n, -6.93147180369123816490e-1, x))
    return _scale64(_exponential_rest(r) + 1.0, _whole64(n))


def sigmoid64(x):
    return 1.0 / (1.0 + exp64(-x))


def expm1_64(x):
    near = _exponential_rest(x)
    far = exp64(x) - 1.0
    return _copysign64(near if -0.34 < x < 0.34 else far, x)  # also of -0


def tanh64(x):
    size = -x if x < 0.0 else x
    size = 20.0 if size > 20.0 else size
    e = expm1_64(size + size)
    y = e / (e + 2.0)
    y = -y if x < 0.0 else y
    return y if x == x else x


def distance(a, b):
    """a - b before it is added to anything: kernels may reorder sums, which costs digits of large numbers."""
    return a - b


@functools.cache
def _distance(dtype: str) -> Intrinsic:
    """b * -1 + a at once, where LLVM does not see that it is -1: it would see a difference and reorder it."""

    def codegen(builder: Any, a: Any, b: Any) -> Any:
        from llvmlite import ir

        kind, integer = ir_type(dtype), ir_type(DTYPES[dtype].bits)
        bits = ir.Constant(ir_type(dtype), -1.0).bitcast(integer)
        with builder.goto_entry_block():  # out of all loops
            hidden = builder.asm(ir.FunctionType(integer, [integer]), "", "=r,0", [bits], False)
            less = builder.bitcast(hidden, kind)
        fma = declare(builder, f"llvm.fma.f{8 * DTYPES[dtype].nbytes}", kind, [kind] * 3)
        return builder.call(fma, [b, less, a])

    codegen.__name__ = "distance"
    return Intrinsic(f"{dtype}({dtype}, {dtype})", codegen)


@functools.cache
def functions(dtype: str) -> dict[str, Any]:
    """The functions of Python's `math` that kernels of a dtype may call, by name."""
    single = dtype == "float32"
    found: dict[str, Any] = {"exp": exp32 if single else exp64, "tanh": tanh32 if single else tanh64}
    found["expm1"] = expm1_32 if single else expm1_64
    for name in ("log", "log2", "log10", "sqrt", "fabs", "floor", "ceil", "trunc", "sin", "cos"):
        found[name] = _llvm(dtype, name)
    found["pow"] = _llvm(dtype, "pow", 2)
    found["copysign"] = _llvm(dtype, "copysign", 2)
    for name in (
        "log1p",
        "erf",
        "erfc",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
    ):
        found[name] = _libm(dtype, name)
    found["atan2"] = _libm(dtype, "atan2", 2)
    found["fmod"] = _libm(dtype, "fmod", 2)
    return found


def replacements(dtype: str) -> tuple[tuple[Any, Any], ...]:
    """What stands in for Python's `math` in kernels of a dtype: pairs for `NativeFunction.replace`."""
    pairs = [(getattr(math, name), function) for name, function in functions(dtype).items()]
    pairs.append((round, _llvm(dtype, "rint")))
    if dtype.startswith("float"):
        pairs.append((distance, _distance(dtype)))
        pairs += [(larger, _llvm(dtype, "maximum", 2)), (smaller, _llvm(dtype, "minimum", 2))]
    return tuple(pairs)
