"""Shapes of integers and named dimensions, number types, and the arithmetic of dimensions.

A dimension is an integer or a text: a name such as "N" (free until a plan is made), or a polynomial of names
in canonical form such as "2*N*T + 1", which is what reshapes and concatenations of named dimensions give.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError

Dim = int | str
Shape = tuple[Dim, ...]

DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
FLOATS = ("float32", "float64")
INTEGERS = ("int64", "int32", "uint8")


@dataclass(frozen=True)
class Spec:
    """A shape and a number type: what is known of an array before it exists.

    Args:
        shape: integers and named dimensions, for instance ("N", 784).
        dtype: "float32", "float64", "int64", "int32", "uint8" or "bool".

    Raises:
        ShapeError: a dimension is negative or not a dimension.
        DtypeError: the number type is unknown.

    >>> Spec(("N", 784))
    Spec((N, 784), float32)
    >>> Spec(("N", 784)).bind({"N": 32}).shape
    (32, 784)
    """

    shape: Shape
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(_checked(dim) for dim in self.shape))
        name = self.dtype if isinstance(self.dtype, str) else np.dtype(self.dtype).name
        if name not in DTYPES:
            raise DtypeError(f"unknown number type {self.dtype!r}.", fix=f"use one of {', '.join(DTYPES)}.")
        object.__setattr__(self, "dtype", name)

    def __repr__(self) -> str:
        return f"Spec({format_shape(self.shape)}, {self.dtype})"

    @property
    def ndim(self) -> int:
        """How many dimensions the shape has."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements, named where a dimension is."""
        return dim_product(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape, where all dimensions are integers.

        Raises:
            ShapeError: a dimension is free.
        """
        return tuple(dim_value(dim, {}) for dim in self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the numbers are floating point."""
        return self.dtype in FLOATS

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
    """A shape as an error message shows it.

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
    if isinstance(dim, str) and dim:
        return _canonical(_terms(dim))
    raise ShapeError(f"{dim!r} is not a dimension.", fix="use an integer or a name such as 'N'.")


# Polynomials: {sorted names: coefficient} -----------------------------------------------------------

_Terms = Mapping[tuple[str, ...], int]
_TERM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+")


@functools.lru_cache(4096)
def _terms(dim: Dim) -> _Terms:
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    terms: dict[tuple[str, ...], int] = {}
    for part in dim.replace("-", "+-").split("+"):
        if not part.strip():
            continue
        sign, factors = (-1, part.strip()[1:]) if part.strip().startswith("-") else (1, part)
        names, coefficient = [], sign
        for factor in (text.strip() for text in factors.split("*")):
            if not _TERM.fullmatch(factor):
                raise ShapeError(f"'{dim}' is not a dimension.", fix="use an integer or a name such as 'N'.")
            if factor.isdigit():
                coefficient *= int(factor)
            else:
                names.append(factor)
        key = tuple(sorted(names))
        terms[key] = terms.get(key, 0) + coefficient
    return {key: value for key, value in terms.items() if value}


def _canonical(terms: _Terms) -> Dim:
    kept = {key: value for key, value in terms.items() if value}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    texts = []
    for key in sorted(kept, key=lambda names: (-len(names), names)):
        factors = list(key)
        if abs(kept[key]) != 1 or not key:
            factors.insert(0, str(abs(kept[key])))
        texts.append(("- " if kept[key] < 0 else "+ ") + "*".join(factors))
    text = " ".join(texts)
    return text[2:] if text.startswith("+ ") else "-" + text[2:]


def dim_add(a: Dim, b: Dim) -> Dim:
    """The sum of two dimensions.

    >>> dim_add("N", 1), dim_add("N", "N")
    ('N + 1', '2*N')
    """
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    total = dict(_terms(a))
    for key, value in _terms(b).items():
        total[key] = total.get(key, 0) + value
    return _canonical(total)


def dim_multiply(a: Dim, b: Dim) -> Dim:
    """The product of two dimensions.

    >>> dim_multiply("N", "T"), dim_multiply(4, "N")
    ('N*T', '4*N')
    """
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    total: dict[tuple[str, ...], int] = {}
    for left, x in _terms(a).items():
        for right, y in _terms(b).items():
            key = tuple(sorted(left + right))
            total[key] = total.get(key, 0) + x * y
    return _canonical(total)


def dim_product(shape: Iterable[Dim]) -> Dim:
    """The product of all dimensions."""
    total: Dim = 1
    for dim in shape:
        total = dim_multiply(total, dim)
    return total


def dim_divide(a: Dim, b: Dim) -> Dim | None:
    """The exact quotient a / b, or None where the division leaves a rest or cannot be decided.

    >>> dim_divide("6*N*T", "2*N"), dim_divide("N", 2)
    ('3*T', None)
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    divisor = list(_terms(b).items())
    if len(divisor) != 1:
        return 1 if _terms(a) == _terms(b) else None
    names, factor = divisor[0]
    quotient: dict[tuple[str, ...], int] = {}
    for key, value in _terms(a).items():
        rest = list(key)
        for name in names:
            if name not in rest:
                return None
            rest.remove(name)
        if value % factor:
            return None
        quotient[tuple(rest)] = value // factor
    return _canonical(quotient)


def dim_floor_divide(a: Dim, b: int) -> Dim | None:
    """The quotient a / b rounded down, or None where that depends on the size of a name.

    >>> dim_floor_divide("2*T + 3", 2), dim_floor_divide("T", 2)
    ('T + 1', None)
    """
    if isinstance(a, int):
        return a // b
    terms = dict(_terms(a))
    rest = terms.pop((), 0)
    if any(value % b for value in terms.values()):
        return None
    return dim_add(_canonical({key: value // b for key, value in terms.items()}), rest // b)


def dim_names(dim: Dim) -> set[str]:
    """The names in a dimension."""
    return set() if isinstance(dim, int) else {name for key in _terms(dim) for name in key}


def dim_value(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The size of a dimension, given the sizes of its names.

    Raises:
        ShapeError: a name has no size.

    >>> dim_value("2*N + 1", {"N": 3})
    7
    """
    if isinstance(dim, int):
        return dim
    total = 0
    for key, value in _terms(dim).items():
        for name in key:
            if name not in sizes:
                raise ShapeError(f"the dimension '{name}' has no size.", fix=f"bind it: {{'{name}': 1}}.")
            value *= sizes[name]
        total += value
    return total


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
                fix="make the dimensions equal, or 1 where one operand repeats.",
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def match(shape: Shape, sizes: Sequence[int], known: dict[str, int]) -> str | None:
    """Bind the names of a shape from an array's sizes into `known`; returns what does not fit, or None.

    A dimension such as "2*N" binds nothing; it is checked where its names are known.

    >>> match(("N", "2*N"), (3, 7), {})
    'dimension 2*N is 6 and 7 here'
    """
    if len(shape) != len(sizes):
        return (
            f"expected {len(shape)} dimensions {format_shape(shape)}, got {len(sizes)} {format_shape(sizes)}"
        )
    for dim, size in zip(shape, sizes, strict=True):
        if isinstance(dim, str) and dim.isidentifier():
            if known.setdefault(dim, int(size)) != size:
                return f"dimension {dim} is {known[dim]} elsewhere and {size} here"
        elif isinstance(dim, int) and dim != size:
            return f"expected {format_shape(shape)}, got {format_shape(sizes)}"
    for dim, size in zip(shape, sizes, strict=True):
        if isinstance(dim, str) and not dim.isidentifier() and dim_names(dim) <= known.keys():
            if dim_value(dim, known) != size:
                return f"dimension {dim} is {dim_value(dim, known)} and {size} here"
    return None
