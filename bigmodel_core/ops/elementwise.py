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
    """A number as a constant of the other operand's type; a dimension as its size when the model runs.

    Raises:
        DtypeError: the type does not hold the number, or it is none.
    """
    if isinstance(x, Value):
        return x
    graph = like.node.graph if like is not None else current_graph()
    if isinstance(x, SymbolicDim):
        return size_of_dimension(x, graph, "int64" if like is None else like.dtype)
    if like is None:
        return graph.constant(x)
    is_plain = type(x) in (int, float) and like.dtype in FLOATS
    return graph.constant(x if is_plain else _held(x, like.dtype), like.dtype)


def _held(x: object, dtype: str) -> np.ndarray:
    """Numbers as an array, if a number type holds them; floats are rounded to other floats."""
    try:
        array = np.asarray(x)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    is_whole = array.dtype.kind in "iub"
    if is_whole and (dtype in FLOATS or (array.astype(dtype) == array).all()):
        return array
    if array.dtype.name in FLOATS and dtype in FLOATS:
        return array
    if not is_whole and array.dtype.name not in FLOATS and not isinstance(x, int):
        raise DtypeError(f"{x!r} is no number.", fix="use numbers, arrays of them, or Values.")
    what = f"the number {x}" if array.ndim == 0 else f"an array of {array.dtype.name}"
    wider = "int64" if is_whole and dtype != "int64" else "float32"
    raise DtypeError(f"{what} does not fit values of type {dtype}.", fix=f"convert: x.astype('{wider}').")


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
