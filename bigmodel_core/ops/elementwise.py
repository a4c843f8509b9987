"""What elementwise ops share: their shape rule, and functions that take numbers beside Values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Number, Op, Operand, Value, current_graph
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS
from bigmodel_core.graph.operands import constant_array
from bigmodel_core.graph.spec import Shape, Spec, SymbolicDim, broadcast, format_shape
from bigmodel_core.ops.sizes import size_of_dimension


@dataclass(frozen=True)
class ElementwiseOp(Op):
    """An op that computes each output number from the input numbers at the same place, inputs broadcast
    together.

    A subclass without fields of its own inherits what makes it a dataclass; decorating it would only make
    every import a third of a millisecond longer.
    """

    floats_only: ClassVar[bool] = False
    result: ClassVar[str | None] = None
    """The number type of the output, if it is not that of the inputs."""

    def infer(self, *inputs: Any, **_: Any) -> Spec:
        name = type(self).__name__
        kinds = {spec.dtype for spec in inputs}
        if len(kinds) > 1:
            raise DtypeError(
                f"{name} cannot mix {' and '.join(sorted(kinds))}.",
                fix="convert one side: x.astype('float32').",
            )
        if self.floats_only:
            check_floats(name, inputs[0])
        shape = broadcast_shape(name, *(spec.shape for spec in inputs))
        return Spec(shape, self.result or inputs[0].dtype)


def broadcast_shape(name: str, *shapes: Shape) -> Shape:
    """The shape that the operands of an op broadcast to.

    Raises:
        ShapeError: they do not; it names the op.
    """
    try:
        return broadcast(*shapes)
    except ShapeError as error:
        raise ShapeError(f"{name}: {error.message}", fix=error.fix) from None


def constant_like(x: Operand, like: Value | str | None) -> Value:
    """A number or an array as a constant of the other operand's type; a dimension as its size when the model
    runs."""
    if isinstance(x, Value):
        return x
    graph = like.node.graph if isinstance(like, Value) else current_graph()
    dtype = like.dtype if isinstance(like, Value) else like
    if isinstance(x, SymbolicDim):
        return size_of_dimension(x, graph, dtype or "int64")
    return graph.constant(constant_array(x, dtype))


def paired(a: Operand, b: Operand) -> tuple[Value, Value]:
    """Two operands as values: one that is none takes the number type of the other."""
    if isinstance(a, Value) or isinstance(b, Value):
        left, right = a if isinstance(a, Value) else None, b if isinstance(b, Value) else None
        return constant_like(a, right), constant_like(b, left)
    dtype = common_type(a, b)
    return constant_like(a, dtype), constant_like(b, dtype)


def common_type(*operands: Number | np.ndarray) -> str:
    """The number type of operands none of which is a value: that of the first array; else Python's numbers
    are float32, int64 or bool together."""
    arrays = [x for x in operands if isinstance(x, (np.ndarray, np.generic))]
    kinds = [bool if isinstance(x, bool) else int if isinstance(x, (int, str)) else float for x in operands]
    widest = max(kinds, key=(bool, int, float).index)
    return constant_array(arrays[0] if arrays else widest(0)).dtype.name


def binary(op: ElementwiseOp) -> Callable[[Operand, Operand], Value]:
    """An op of two operands as a function that takes numbers and arrays, too."""

    def apply(a: Operand, b: Operand) -> Value:
        left, right = paired(a, b)
        return op(left, right)

    apply.__doc__ = type(op).__doc__
    apply.__name__ = apply.__qualname__ = type(op).__name__.lower()
    return apply


def check_floats(name: str, x: Spec) -> None:
    """Raise DtypeError where an op of floats gets other numbers."""
    if not x.is_float:
        raise DtypeError(
            f"{name} needs {' or '.join(COMPUTED_FLOATS)}, got {x.dtype}.",
            fix="convert it: x.astype('float32').",
        )


def check_same_shape(name: str, a: Spec, b: Spec, what: str) -> None:
    """Raise ShapeError where two specs that must agree do not; nothing is broadcast silently."""
    if a.shape != b.shape:
        raise ShapeError(
            f"{name} needs {what} of one shape, got {format_shape(a.shape)} and {format_shape(b.shape)}.",
            fix="reshape one of them; for (N,) against (N, 1): y.reshape(-1, 1).",
        )
