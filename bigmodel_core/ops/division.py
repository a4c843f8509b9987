"""Quotients rounded down and what they leave, by Python's rule of signs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Operand, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp, paired
from bigmodel_core.ops.reduce import reduce_to


def _mod(a, b):
    rest = math.fmod(a, b)
    return rest + b if rest != 0 and (rest < 0) != (b < 0) else rest


def _floor_divide(a, b):
    rest = math.fmod(a, b)
    quotient = (a - rest) / b - (1 if rest != 0 and (rest < 0) != (b < 0) else 0)
    below = math.floor(quotient)  # it is whole, but for its last digit
    return a / b if b == 0 else (below + 1 if quotient - below > 0.5 else below)


class Mod(ElementwiseOp):
    """What a division of floats leaves: a - b * floor(a / b), with the sign of b."""

    floats_only = True
    cpu, cuda = elementwise(_mod)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        return reduce_to(dy, a.shape), reduce_to(-dy * FloorDivide()(a, b), b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        rest, is_turned = _cut_rest(emit, a, b)
        return emit.Where(is_turned, emit.Add(rest, b), rest)


class FloorDivide(ElementwiseOp):
    """The quotient of floats rounded down; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(_floor_divide)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[None, None]:
        return None, None

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        rest, is_turned = _cut_rest(emit, a, b)
        cut = emit.Round(emit.Div(emit.Sub(a, rest), b))
        whole = emit.Where(is_turned, emit.Sub(cut, emit.const(1.0)), cut)
        return emit.Where(emit.Equal(b, emit.const(0.0)), emit.Div(a, b), whole)


def _cut_rest(emit: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Nodes for the rest of a division that is cut towards 0, and whether its sign is not that of b."""
    rest, zero = emit.Mod(a, b, fmod=1), emit.const(0.0)
    differ = emit.Xor(emit.Less(rest, zero), emit.Less(b, zero))
    return rest, emit.And(differ, emit.Not(emit.Equal(rest, zero)))


class _OfIntegers(ElementwiseOp):
    """By 0 it is 0, as in NumPy; processors would stop the program there, and where -1 divides the least
    integer."""

    def infer(self, a: Spec, b: Spec) -> Spec:
        if not a.is_integer:
            raise DtypeError(f"a division cannot take {a.dtype}.", fix="convert: x.astype('int64').")
        return super().infer(a, b)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[None, None]:
        return None, None


class IntegerMod(_OfIntegers):
    """What a division of integers leaves, with the sign of the divisor; 0 by 0."""

    cpu, cuda = elementwise(lambda a, b: 0 if b == 0 or (b < 0 and b + 1 == 0) else a % b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return _guarded(emit, a, b, emit.Mod)


class IntegerFloorDivide(_OfIntegers):
    """The quotient of integers rounded down; 0 by 0."""

    cpu, cuda = elementwise(lambda a, b: 0 if b == 0 else (-a if b < 0 and b + 1 == 0 else a // b))

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        def divided(a: Any, b: Any) -> Any:
            cut = emit.Div(a, b)  # towards 0: one too many where that leaves another rest than Mod
            is_down = emit.Equal(emit.Sub(a, emit.Mul(cut, b)), emit.Mod(a, b))
            return emit.Where(is_down, cut, emit.Sub(cut, emit.const(1, _computed(emit))))

        return _guarded(emit, a, b, divided)


def _guarded(emit: Any, a: Any, b: Any, divided: Callable[[Any, Any], Any]) -> Any:
    """Nodes that divide by 1 where the divisor is 0, and give 0 there; by -1, -a is divided by 1, since the
    least integer divided by -1 stops a processor. Bytes are divided as int64."""
    dtype, kind = emit.inputs[0].dtype, _computed(emit)
    a, b = (x if kind == dtype else emit.cast(x, kind) for x in (a, b))
    zero, one = emit.const(0, kind), emit.const(1, kind)
    nothing = by_one = emit.Equal(b, zero)
    if dtype != "uint8":
        turns = emit.Equal(b, emit.const(-1, kind))
        a, by_one = emit.Where(turns, emit.Sub(zero, a), a), emit.Or(nothing, turns)
    found = emit.Where(nothing, zero, divided(a, emit.Where(by_one, one, b)))
    return found if kind == dtype else emit.cast(found, dtype)


def _computed(emit: Any) -> str:
    """The type in which files divide integers."""
    dtype: str = emit.inputs[0].dtype
    return "int64" if dtype == "uint8" else dtype


def mod(a: Operand, b: Operand) -> Value:
    """What the division a / b leaves, with the sign of b: `a % b`.

    By 0, floats leave NaN, and integers 0, as in NumPy: an integer has no NaN, so check divisors that may be
    0.
    """
    left, right = paired(a, b)
    return (Mod() if left.spec.is_float else IntegerMod())(left, right)


def floor_divide(a: Operand, b: Operand) -> Value:
    """The quotient a / b rounded down: `a // b`; no gradient flows.

    By 0, floats give infinity or NaN, and integers 0, as in NumPy: an integer has neither, so check divisors
    that may be 0.
    """
    left, right = paired(a, b)
    return (FloorDivide() if left.spec.is_float else IntegerFloorDivide())(left, right)


__all__ = ["floor_divide", "mod"]
