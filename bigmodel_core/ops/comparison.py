"""Comparison, logic, choice and conversion, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Operand, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp, binary, broadcast_shape, constant_like, paired
from bigmodel_core.ops.reduce import reduce_to


class Comparison(ElementwiseOp):
    """A comparison: true or false at each place."""

    result = "bool"

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[None, None]:
        return None, None


class Equal(Comparison):
    """a == b."""

    cpu, cuda = elementwise(lambda a, b: a == b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Equal(a, b)


class NotEqual(Comparison):
    """a != b."""

    cpu, cuda = elementwise(lambda a, b: a != b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Not(emit.Equal(a, b))


class Less(Comparison):
    """a < b."""

    cpu, cuda = elementwise(lambda a, b: a < b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Less(a, b)


class LessEqual(Comparison):
    """a <= b."""

    cpu, cuda = elementwise(lambda a, b: a <= b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.LessOrEqual(a, b)


class Greater(Comparison):
    """a > b."""

    cpu, cuda = elementwise(lambda a, b: a > b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Greater(a, b)


class GreaterEqual(Comparison):
    """a >= b."""

    cpu, cuda = elementwise(lambda a, b: a >= b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.GreaterOrEqual(a, b)


class Logic(ElementwiseOp):
    """An op on booleans."""

    def infer(self, *inputs: Any, **_: Any) -> Spec:
        if any(spec.dtype != "bool" for spec in inputs):
            raise DtypeError(
                f"{type(self).__name__} needs bool, got {' and '.join(spec.dtype for spec in inputs)}.",
                fix="compare first: x > 0.",
            )
        return super().infer(*inputs)

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[None, ...]:
        return (None,) * len(inputs)


class And(Logic):
    """a and b."""

    cpu, cuda = elementwise(lambda a, b: a and b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.And(a, b)


class Or(Logic):
    """a or b."""

    cpu, cuda = elementwise(lambda a, b: a or b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Or(a, b)


class Xor(Logic):
    """Either a or b."""

    cpu, cuda = elementwise(lambda a, b: a != b)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        return emit.Xor(a, b)


class Not(Logic):
    """not x."""

    cpu, cuda = elementwise(lambda x: not x)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Not(x)


class Where(ElementwiseOp):
    """a if the condition is true, else b."""

    cpu, cuda = elementwise(lambda condition, a, b: a if condition else b)

    def infer(self, condition: Spec, a: Spec, b: Spec) -> Spec:
        if condition.dtype != "bool":
            raise DtypeError(
                f"Where needs a bool condition, got {condition.dtype}.", fix="compare first: x > 0."
            )
        if a.dtype != b.dtype:
            raise DtypeError(f"Where cannot choose between {a.dtype} and {b.dtype}.", fix="convert one side.")
        return Spec(broadcast_shape("Where", condition.shape, a.shape, b.shape), a.dtype)

    def grad(self, dy: Value, y: Value, condition: Value, a: Value, b: Value) -> tuple[None, Value, Value]:
        nothing = dy.node.graph.constant(0, dy.dtype)
        return (
            None,
            reduce_to(Where()(condition, dy, nothing), a.shape),
            reduce_to(Where()(condition, nothing, dy), b.shape),
        )

    def onnx(self, emit: Any, condition: Any, a: Any, b: Any) -> Any:
        if emit.inputs[1].dtype == "bool":  # ONNX Runtime chooses between numbers only
            return emit.Or(emit.And(condition, a), emit.And(emit.Not(condition), b))
        return emit.Where(condition, a, b)


@dataclass(frozen=True)
class Cast(ElementwiseOp):
    """The numbers converted to another type; floats are cut towards zero when they become integers."""

    dtype: str
    cpu, cuda = elementwise(lambda x: x)

    def infer(self, x: Spec) -> Spec:
        return x.with_dtype(self.dtype)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value | None]:
        return (cast(dy, x.dtype) if x.spec.is_float and y.spec.is_float else None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.cast(x, self.dtype)


def cast(x: Value, dtype: str) -> Value:
    """The array converted to another type."""
    if x.dtype == dtype:
        return x
    if dtype is None:  # of a spec, the usual one
        raise DtypeError("None is no number type.", fix="name one: x.astype('float32').")
    return NotEqual()(x, constant_like(0, x)) if dtype == "bool" else Cast(dtype)(x)


def where(condition: Value, a: Operand, b: Operand) -> Value:
    """a where the condition is true, else b; either may be a number or an array.

    Two numbers are float32 (int64 if both are whole); `ops.constant(1.0, x.dtype)` has the type of x.
    """
    if not isinstance(a, Value) and not isinstance(b, Value):
        with condition.node.graph.active():
            left, right = paired(a, b)
    else:
        left, right = paired(a, b)
    return Where()(condition, left, right)


equal, not_equal = binary(Equal()), binary(NotEqual())
less, less_equal = binary(Less()), binary(LessEqual())
greater, greater_equal = binary(Greater()), binary(GreaterEqual())
logical_and, logical_or, logical_xor, logical_not = And(), Or(), Xor(), Not()

__all__ = [
    "cast",
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "where",
]
