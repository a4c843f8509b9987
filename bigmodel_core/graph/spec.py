"""Shapes of integers and named dimensions, number types, and what shapes have in common.

A dimension is an integer or a `SymbolicDim`: a name such as "N" (free until a plan is made), or an expression
of names (see `bigmodel_core.graph.dimensions`). A plain text may be given for it anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph.dimensions import Dim as Dim
from bigmodel_core.graph.dimensions import Shape as Shape
from bigmodel_core.graph.dimensions import SymbolicDim as SymbolicDim
from bigmodel_core.graph.dimensions import canonical as canonical
from bigmodel_core.graph.dimensions import dim_add as dim_add
from bigmodel_core.graph.dimensions import dim_divide as dim_divide
from bigmodel_core.graph.dimensions import dim_floor_divide as dim_floor_divide
from bigmodel_core.graph.dimensions import dim_max as dim_max
from bigmodel_core.graph.dimensions import dim_min as dim_min
from bigmodel_core.graph.dimensions import dim_multiply as dim_multiply
from bigmodel_core.graph.dimensions import dim_names as dim_names
from bigmodel_core.graph.dimensions import dim_product as dim_product
from bigmodel_core.graph.dimensions import dim_subtract as dim_subtract
from bigmodel_core.graph.dimensions import dim_value as dim_value
from bigmodel_core.graph.dtypes import DType, dtype_named


@dataclass(frozen=True)
class Spec:
    """A shape and a number type: what is known of an array before it exists.

    Args:
        shape: integers and named dimensions, for instance ("N", 784).
        dtype: "float32", "float64", "int64", "int32", "uint8" or "bool", which kernels compute with, or
            "float16", "bfloat16" or "int8". Left out, it is "float32", or what a model is built with.

    Raises:
        ShapeError: a dimension is negative or not a dimension.
        DtypeError: the number type is unknown.

    >>> Spec(("N", 784))
    Spec((N, 784), float32)
    >>> Spec(("N", 784)).bind({"N": 32}).shape
    (32, 784)
    """

    shape: Shape
    dtype: str = ""

    is_typed: ClassVar[bool] = True
    """Whether somebody said what the number type is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(_checked(dim) for dim in self.shape))
        if not self.dtype:
            object.__setattr__(self, "dtype", "float32")
            object.__setattr__(self, "is_typed", False)
            return
        try:
            name = self.dtype if isinstance(self.dtype, str) else np.dtype(self.dtype).name
        except TypeError:
            raise DtypeError(f"{self.dtype!r} is no number type.", fix="use a name: 'float32'.") from None
        object.__setattr__(self, "dtype", dtype_named(name).name)

    def __repr__(self) -> str:
        return f"Spec({format_shape(self.shape)}, {self.dtype})"

    @property
    def ndim(self) -> int:
        """How many dimensions the shape has."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements; an expression if a dimension is free."""
        return dim_product(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape, if all dimensions are integers.

        Raises:
            ShapeError: a dimension is free.
        """
        return tuple(dim_value(dim, {}) for dim in self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of an array of this spec, if all dimensions are integers.

        Raises:
            ShapeError: a dimension is free.
        """
        return math.prod(self.sizes) * self.number_type.nbytes

    @property
    def number_type(self) -> DType:
        """What is known of the number type: bytes, NumPy's type and more."""
        return dtype_named(self.dtype)

    @property
    def is_float(self) -> bool:
        """Whether the numbers are floating point."""
        return self.number_type.is_float

    @property
    def is_integer(self) -> bool:
        """Whether the numbers are integers; booleans are not."""
        return self.number_type.is_integer

    def names(self) -> set[str]:
        """The names of the free dimensions."""
        return {name for dim in self.shape for name in dim_names(dim)}

    def bind(self, sizes: Mapping[str, int]) -> Spec:
        """The same with named dimensions replaced by sizes.

        Raises:
            ShapeError: a name has no size, or a dimension such as "T - 2" becomes negative.
        """
        found = tuple(dim_value(dim, sizes) for dim in self.shape)
        for dim, size in zip(self.shape, found, strict=True):
            if size < 0 and isinstance(dim, str):
                given = ", ".join(f"{name} = {sizes[name]}" for name in sorted(dim_names(dim)))
                raise ShapeError(
                    f"the dimension {dim} would be {size} with {given}.",
                    fix="use longer sequences or larger images.",
                )
        return Spec(found, self.dtype)

    def with_shape(self, shape: Iterable[Dim]) -> Spec:
        """The same number type with another shape."""
        return Spec(tuple(shape), self.dtype)

    def with_dtype(self, dtype: str) -> Spec:
        """The same shape with another number type."""
        return Spec(self.shape, dtype)


def format_shape(shape: Iterable[Dim]) -> str:
    """A shape formatted for messages.

    >>> format_shape(("N", 784)), format_shape(("N",))
    ('(N, 784)', '(N,)')
    """
    dims = [str(dim) for dim in shape]
    return f"({dims[0]},)" if len(dims) == 1 else f"({', '.join(dims)})"


def _checked(dim: object) -> Dim:
    if isinstance(dim, (int, np.integer)) and not isinstance(dim, bool):
        if dim < 0:
            raise ShapeError(f"a dimension is {dim}.", fix="dimensions are 0 or more.")
        return int(dim)
    if isinstance(dim, str) and dim != "":
        return canonical(dim)
    raise ShapeError(f"{dim!r} is not a dimension.", fix="use an integer or a name such as 'N'.")


def broadcast(*shapes: Shape) -> Shape:
    """The shape that shapes broadcast to, by NumPy's rule; a name only ever equals itself.

    Raises:
        ShapeError: two dimensions differ and neither is 1.

    >>> broadcast(("N", 1, 4), (3, 1))
    ('N', 3, 4)
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Dim] = []
    for position in range(rank):
        dims = {shape[position - rank + len(shape)] for shape in shapes if position - rank + len(shape) >= 0}
        wide = dims - {1}
        if len(wide) > 1:
            raise ShapeError(
                f"cannot broadcast shapes {' and '.join(format_shape(shape) for shape in shapes)}.",
                fix="make the dimensions equal, or 1 to broadcast one operand.",
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def match(shape: Shape, sizes: Sequence[int], known: dict[str, int]) -> str | None:
    """Bind the names of a shape from an array's sizes into `known`; returns what does not fit, or None.

    A dimension such as "2*N" binds nothing; it is checked once its names are known.

    >>> match(("N", "2*N"), (3, 7), {})
    'dimension 2*N is 6 and 7 here'
    >>> match((6, "T"), (5, 4), {})
    'expected (6, T), got (5, 4): axis 0 is fixed at 6'
    """
    if len(shape) != len(sizes):
        return (
            f"expected {len(shape)} dimensions {format_shape(shape)}, got {len(sizes)} {format_shape(sizes)}"
        )
    for axis, (dim, size) in enumerate(zip(shape, sizes, strict=True)):
        if isinstance(dim, str) and dim.isidentifier():
            if known.setdefault(dim, int(size)) != size:
                return f"dimension {dim} is {known[dim]} elsewhere and {size} here"
        elif isinstance(dim, int) and dim != size:
            expected = f"expected {format_shape(shape)}, got {format_shape(sizes)}"
            return f"{expected}: axis {axis} is fixed at {dim}"
    for dim, size in zip(shape, sizes, strict=True):
        if isinstance(dim, str) and not dim.isidentifier() and dim_names(dim) <= known.keys():
            if dim_value(dim, known) != size:
                return f"dimension {dim} is {dim_value(dim, known)} and {size} here"
    return None
