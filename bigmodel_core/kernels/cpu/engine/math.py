"""Mathematical functions of one number, written so that LLVM turns them into vector code.

Those of float32 are in `single.py`. Of float64, `exp`, `expm1` and `tanh` are polynomials after range
reduction (Cody and Waite, 1980). All others are LLVM intrinsics or the C library's functions.
`replacements(dtype)` is what kernels of a dtype get in place of Python's `math`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.cpu.engine.floats import libm, llvm, scale64, whole64
from bigmodel_core.kernels.cpu.engine.memory import declare, ir_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.single import (
    cos32,
    erf32,
    exp32,
    expm1_32,
    log1p_32,
    log32,
    sin32,
    tanh32,
)
from bigmodel_core.kernels.extremes import larger, smaller

_round64, _fma64 = llvm("float64", "rint"), llvm("float64", "fma", 3)
_copysign64 = llvm("float64", "copysign", 2)

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
    return scale64(_exponential_rest(r) + 1.0, whole64(n))


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
        found[name] = llvm(dtype, name)
    found["pow"] = llvm(dtype, "pow", 2)
    found["copysign"] = llvm(dtype, "copysign", 2)
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
        found[name] = libm(dtype, name)
    if single:
        found |= {"log": log32, "log1p": log1p_32, "erf": erf32, "sin": sin32, "cos": cos32}
    found["atan2"] = libm(dtype, "atan2", 2)
    found["fmod"] = libm(dtype, "fmod", 2)
    return found


def replacements(dtype: str) -> tuple[tuple[Any, Any], ...]:
    """What stands in for Python's `math` in kernels of a dtype: pairs for `NativeFunction.replace`."""
    pairs = [(getattr(math, name), function) for name, function in functions(dtype).items()]
    pairs.append((round, llvm(dtype, "rint")))
    if dtype.startswith("float"):
        pairs.append((distance, _distance(dtype)))
        pairs += [(larger, llvm(dtype, "maximum", 2)), (smaller, llvm(dtype, "minimum", 2))]
    return tuple(pairs)
