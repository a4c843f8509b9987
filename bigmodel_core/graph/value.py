"""Values: the symbolic arrays that ops are applied to, with Python's operators and NumPy's methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import Dim, Shape, Spec, SymbolicDim, format_shape

if TYPE_CHECKING:
    from bigmodel_core.graph.graph import Node

Number = int | float | bool | SymbolicDim
Axes = int | tuple[int, ...] | None


@dataclass(eq=False)
class Value:
    """A symbolic array: one output of a node. Supports Python's arithmetic, comparisons, logic
    and slicing, between Values, numbers and arrays.

    Comparisons are made element by element, `==` and `!=` among them. As keys of a dict and elements of a
    set, values are told apart by identity; whether a list or tuple contains one is asked with `is`.
    """

    node: Node
    number: int
    spec: Spec

    @property
    def shape(self) -> Shape:
        """Integers and named dimensions."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """The number type's name."""
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        """How many dimensions."""
        return self.spec.ndim

    def __repr__(self) -> str:
        return f"Value({type(self.node.op).__name__}, {format_shape(self.shape)}, {self.dtype})"

    def __bool__(self) -> bool:
        raise GraphError(
            "a Value has no truth value while the graph is being built.",
            fix="use bm.ops.where(condition, a, b) instead of if.",
        )

    def __iter__(self) -> Iterator[Value]:
        raise GraphError("a Value cannot be iterated.", fix="slice it: x[:, 0].")

    def __add__(self, other: Operand) -> Value:
        return operations().add(self, other)

    def __radd__(self, other: Number | np.ndarray) -> Value:
        return operations().add(other, self)

    def __sub__(self, other: Operand) -> Value:
        return operations().subtract(self, other)

    def __rsub__(self, other: Number | np.ndarray) -> Value:
        return operations().subtract(other, self)

    def __mul__(self, other: Operand) -> Value:
        return operations().multiply(self, other)

    def __rmul__(self, other: Number | np.ndarray) -> Value:
        return operations().multiply(other, self)

    def __truediv__(self, other: Operand) -> Value:
        return operations().divide(self, other)

    def __rtruediv__(self, other: Number | np.ndarray) -> Value:
        return operations().divide(other, self)

    def __floordiv__(self, other: Operand) -> Value:
        return operations().floor_divide(self, other)

    def __rfloordiv__(self, other: Number | np.ndarray) -> Value:
        return operations().floor_divide(other, self)

    def __mod__(self, other: Operand) -> Value:
        return operations().mod(self, other)

    def __rmod__(self, other: Number | np.ndarray) -> Value:
        return operations().mod(other, self)

    def __pow__(self, other: Operand) -> Value:
        return operations().power(self, other)

    def __rpow__(self, other: Number | np.ndarray) -> Value:
        return operations().power(other, self)

    def __matmul__(self, other: Value | np.ndarray) -> Value:
        return operations().matmul(self, other)

    def __rmatmul__(self, other: np.ndarray) -> Value:
        return operations().matmul(other, self)

    def __neg__(self) -> Value:
        return operations().negate(self)

    def __abs__(self) -> Value:
        return operations().absolute(self)

    def __round__(self, decimals: int = 0) -> Value:
        return operations().round(self, decimals)

    def __and__(self, other: Operand) -> Value:
        return operations().logical_and(self, other)

    def __or__(self, other: Operand) -> Value:
        return operations().logical_or(self, other)

    def __xor__(self, other: Operand) -> Value:
        return operations().logical_xor(self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Value:
        return operations().logical_not(self)

    def __lt__(self, other: Value | Number) -> Value:
        return operations().less(self, other)

    def __le__(self, other: Value | Number) -> Value:
        return operations().less_equal(self, other)

    def __gt__(self, other: Value | Number) -> Value:
        return operations().greater(self, other)

    def __ge__(self, other: Value | Number) -> Value:
        return operations().greater_equal(self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]  # as of NumPy's arrays
        return operations().equal(self, other) if isinstance(other, _COMPARED) else NotImplemented

    def __ne__(self, other: object) -> Value:  # type: ignore[override]  # as of NumPy's arrays
        return operations().not_equal(self, other) if isinstance(other, _COMPARED) else NotImplemented

    __hash__ = object.__hash__
    """From the address, so that no two values that exist have one hash: a dict never compares them."""

    def __getitem__(self, key: Any) -> Value:
        return operations().index(self, key)

    def __setitem__(self, key: Any, item: Any) -> None:
        raise GraphError(
            "a Value cannot be changed.",
            fix="make a new one: x = bm.ops.update_slice(x, value, start), or bm.ops.where(condition, a, x).",
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any, **options: Any) -> Value:
        if ufunc.__name__ in _OPERATORS and method == "__call__" and not options:  # array + value
            found: Value = getattr(operations(), _OPERATORS[ufunc.__name__])(*operands)
            return found
        raise GraphError(
            f"NumPy's {ufunc.__name__} was applied to a Value, which has no numbers yet.",
            fix="use the functions of bm.ops.",
        )

    def __array_function__(self, function: Any, *_: Any) -> Value:
        raise GraphError(
            f"NumPy's {function.__name__} was applied to a Value, which has no numbers yet.",
            fix="use the functions of bm.ops, or the methods of Values.",
        )

    def __array__(self, *_: Any, **options: Any) -> np.ndarray:
        raise GraphError(
            "a Value was used as an array; it has no numbers yet.",
            fix="use the functions of bm.ops.",
        )

    # NumPy's methods --------------------------------------------------------------------------------------

    @property
    def T(self) -> Value:
        """The axes in reverse order."""
        return operations().transpose(self)

    @property
    def size(self) -> Dim:
        """How many numbers there are; an expression if a dimension is free."""
        return self.spec.size

    def reshape(self, *shape: Dim | tuple[Dim, ...]) -> Value:
        """The same numbers in another shape; one dimension may be -1."""
        return operations().reshape(self, *shape if _is_whole(shape) else (shape,))

    def flatten(self, start: int = 0) -> Value:
        """All dimensions from `start` on joined to one."""
        return operations().flatten(self, start)

    def squeeze(self, axis: Axes = None) -> Value:
        """Without axes of size 1: those named, or all."""
        return operations().squeeze(self, axis)

    def transpose(self, *permutation: int | tuple[int, ...]) -> Value:
        """The axes in another order (reversed by default)."""
        order = permutation if not _is_whole(permutation) else permutation[0]
        return operations().transpose(self, order or None)

    def astype(self, dtype: str) -> Value:
        """The array converted to another type."""
        return operations().cast(self, dtype)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """The sum along axes (all by default)."""
        return operations().sum(self, axis, keepdims)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """The product along axes (all by default)."""
        return operations().prod(self, axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """The mean along axes (all by default)."""
        return operations().mean(self, axis, keepdims)

    def var(self, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Value:
        """The variance along axes (all by default)."""
        return operations().var(self, axis, keepdims, ddof)

    def std(self, axis: Axes = None, keepdims: bool = False, ddof: int = 0) -> Value:
        """The standard deviation along axes (all by default)."""
        return operations().std(self, axis, keepdims, ddof)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """The largest number along axes (all by default)."""
        return operations().max(self, axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """The smallest number along axes (all by default)."""
        return operations().min(self, axis, keepdims)

    def any(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """Whether one number along axes (all by default) is not 0."""
        return operations().any(self, axis, keepdims)

    def all(self, axis: Axes = None, keepdims: bool = False) -> Value:
        """Whether no number along axes (all by default) is 0."""
        return operations().all(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Value:
        """Where the largest number is along an axis, or in the flattened array."""
        return self._place("argmax", axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Value:
        """Where the smallest number is along an axis, or in the flattened array."""
        return self._place("argmin", axis, keepdims)

    def _place(self, name: str, axis: int | None, keepdims: bool) -> Value:
        if axis is not None:
            return getattr(operations(), name)(self, axis, keepdims)
        found: Value = getattr(operations(), name)(self.flatten(), 0)
        return found.reshape((1,) * self.ndim) if keepdims else found

    def cumsum(self, axis: int | None = None) -> Value:
        """The sum of the numbers up to each along an axis, or in the flattened array."""
        return operations().cumsum(self.flatten() if axis is None else self, 0 if axis is None else axis)

    def round(self, decimals: int = 0) -> Value:
        """The nearest whole numbers, or those of so many decimals; halves go to the even one."""
        return operations().round(self, decimals)


Operand = Value | Number | np.ndarray
"""What an operator takes beside a Value."""


def _is_whole(given: tuple[Any, ...]) -> bool:
    """Whether a shape or an order of axes was given as one tuple, as NumPy allows."""
    return len(given) == 1 and isinstance(given[0], (tuple, list))


_COMPARED = (Value, int, float, np.generic, np.ndarray, list, tuple, SymbolicDim)
"""What `==` and `!=` compare with, element by element; anything else is no array."""

_OPERATORS = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "remainder": "mod",
    **{
        name: name
        for name in (
            *("add", "subtract", "multiply", "divide", "floor_divide", "power", "matmul"),
            *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
        )
    },
}
"""The ufuncs behind the operators between an array and a Value, and the functions of `ops` that they are."""
