"""What elementwise ops share: their shape rule, and functions that take numbers beside Values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Number, Op, Value, current_graph
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS, FLOATS
from bigmodel_core.graph.spec import Spec, SymbolicDim, broadcast, format_shape
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
        try:
            shape = broadcast(*(spec.shape for spec in inputs))
        except ShapeError as error:
            raise ShapeError(f"{name}: {error.message}", fix=error.fix) from None
        return Spec(shape, self.result or inputs[0].dtype)


def constant_like(x: Value | Number | np.ndarray, like: Value | None) -> Value:
    """A number as a constant of the other operand's type; a dimension as its size when the model runs."""
    if isinstance(x, Value):
        return x
    graph = like.node.graph if like is not None else current_graph()
    if isinstance(x, SymbolicDim):
        return size_of_dimension(x, graph, "int64" if like is None else like.dtype)
    if like is not None and like.dtype not in FLOATS and isinstance(x, float):
        raise DtypeError(
            f"the number {x} does not fit values of type {like.dtype}.", fix="convert: x.astype('float32')."
        )
    return graph.constant(x, like.dtype if like is not None else None)


def paired(a: Value | Number, b: Value | Number) -> tuple[Value, Value]:
    left = a if isinstance(a, Value) else None
    right = b if isinstance(b, Value) else None
    return constant_like(a, right), constant_like(b, left)


def binary(op: ElementwiseOp) -> Callable[[Value | Number, Value | Number], Value]:
    """An op of two operands as a function that takes numbers, too."""

    def apply(a: Value | Number, b: Value | Number) -> Value:
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
