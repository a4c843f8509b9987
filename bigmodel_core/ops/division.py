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
        rest, zero = emit.Mod(a, b, fmod=1), emit.const(0.0)
        turned = emit.Xor(emit.Less(rest, zero), emit.Less(b, zero))
        wrong = emit.And(turned, emit.Not(emit.Equal(rest, zero)))
        return emit.Where(wrong, emit.Add(rest, b), rest)


class FloorDivide(ElementwiseOp):
    """The quotient of floats rounded down; no gradient flows."""

    floats_only = True
    cpu, cuda = elementwise(_floor_divide)

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[None, None]:
        return None, None

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        whole = emit.Round(emit.Div(emit.Sub(a, Mod().onnx(emit, a, b)), b))
        return emit.Where(emit.Equal(b, emit.const(0.0)), emit.Div(a, b), whole)


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
        return _guarded(emit, a, b, lambda a, b: emit.Div(emit.Sub(a, emit.Mod(a, b)), b))


def _guarded(emit: Any, a: Any, b: Any, divided: Callable[[Any, Any], Any]) -> Any:
    """Nodes that divide by 1 where the divisor is 0, and give 0 there; bytes are divided as int64."""
    dtype = emit.inputs[0].dtype
    kind = "int64" if dtype == "uint8" else dtype
    a, b = (x if kind == dtype else emit.cast(x, kind) for x in (a, b))
    nothing, zero = emit.Equal(b, emit.const(0, kind)), emit.const(0, kind)
    found = emit.Where(nothing, zero, divided(a, emit.Where(nothing, emit.const(1, kind), b)))
    return found if kind == dtype else emit.cast(found, dtype)


def mod(a: Operand, b: Operand) -> Value:
    """What the division a / b leaves, with the sign of b: `a % b`. Integers leave 0 by 0."""
    left, right = paired(a, b)
    return (Mod() if left.spec.is_float else IntegerMod())(left, right)


def floor_divide(a: Operand, b: Operand) -> Value:
    """The quotient a / b rounded down: `a // b`. Integers give 0 by 0."""
    left, right = paired(a, b)
    return (FloorDivide() if left.spec.is_float else IntegerFloorDivide())(left, right)


__all__ = ["floor_divide", "mod"]
