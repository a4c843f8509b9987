"""The arithmetic of dimensions: integers, names, and expressions of names in canonical form.

A polynomial such as "2*N*T + 1" is what reshapes and concatenations of named dimensions give. Where a slice
is cut short by the end of an axis, it holds a minimum: "min(T, 10)", "T - min(T, 2)"; windows with a stride
give quotients rounded down: "(H + 1) // 2". A name is known to be 1 or more. How such polynomials are kept is
in `bigmodel_core.graph.polynomials`.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.polynomials import (
    LARGEST,
    divided,
    floored,
    least,
    most,
    operands,
    order,
    plus,
    smaller,
    terms_of,
    text_of,
    times,
)

Dim = int | str
Shape = tuple[Dim, ...]


class SymbolicDim(str):
    """A dimension that is free until a plan is made: what `x.shape` holds for it.

    It is its own text in canonical form, equal to it and hashed like it, and one computes with it as with an
    integer: + - * // % and ** with integers, other dimensions and their texts. `==` tells whether two
    dimensions are the same expression. `<` and the like, and `bool`, are decided for all sizes at once (a
    name is 1 or more) or refused; `int`, `float` and `range` are always refused.

    Raises:
        ShapeError: the text is no expression of names, or a question has no answer for all sizes.

    >>> t = SymbolicDim("T")
    >>> t + 1, 2 * t * t - t, (t - 1) // 2 + 1, t + 1 > t
    ('T + 1', '2*T*T - T', '(T + 1) // 2', True)
    """

    __slots__ = ()
    __array_ufunc__ = None  # numbers of NumPy leave arithmetic to the dimension

    def __new__(cls, text: str) -> SymbolicDim:
        found = canonical(text)
        if isinstance(found, int):
            raise ShapeError(f"'{text}' is the number {found}.", fix="use the integer itself.")
        return str.__new__(cls, found)

    def __add__(self, other: Any) -> Any:
        return _computed("+", dim_add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _computed("+", dim_add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _computed("-", dim_subtract, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _computed("-", dim_subtract, other, self)

    def __mul__(self, other: Any) -> Any:
        return _computed("*", dim_multiply, self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return _computed("//", dim_floor_divide, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _computed("//", dim_floor_divide, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _computed("/", _exactly, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _computed("/", _exactly, other, self)

    def __mod__(self, other: Any) -> Any:
        return _computed("%", dim_remainder, self, other)

    def __rmod__(self, other: Any) -> Any:  # a text on the left is a text to format
        return NotImplemented if isinstance(other, str) else _computed("%", dim_remainder, other, self)

    def __pow__(self, other: Any) -> Any:
        return _computed("**", _power, self, other)

    def __neg__(self) -> Any:
        return dim_multiply(self, -1)

    def __lt__(self, other: Any) -> Any:
        return _compared("<", operator.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return _compared("<=", operator.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return _compared(">", operator.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return _compared(">=", operator.ge, self, other)

    def __bool__(self) -> bool:
        if least(terms_of(self)) >= 1 or most(terms_of(self)) <= -1:
            return True
        raise _undecided(f"whether {self} is 0 cannot be decided", self)

    def __index__(self) -> int:
        raise _undecided(f"the dimension {self} has no number", self)

    __int__ = __index__

    def __float__(self) -> float:
        raise _undecided(f"the dimension {self} has no number", self)


def _undecided(what: str, *dims: Dim) -> ShapeError:
    names = ", ".join(sorted(set().union(*map(dim_names, dims))))
    return ShapeError(
        f"{what} while the model is built: {names} may be any size from 1 on.",
        fix="fix that size in the input's spec, or compute with ops.size_of and ops.positions, which know"
        " sizes when the model runs; of two dimensions, bm.dim_min and bm.dim_max are the smaller and the"
        " larger.",
    )


def _operand(side: object) -> Dim | None:
    """A side of an operator as a dimension; None if it is none."""
    if isinstance(side, np.integer):
        return int(side)
    return side if isinstance(side, (int, str)) and not isinstance(side, bool) else None


def _computed(sign: str, rule: Callable[[Dim, Dim], Dim], a: object, b: object) -> Any:
    left, right = _operand(a), _operand(b)
    if isinstance(a, (float, np.floating)) or isinstance(b, (float, np.floating)):
        raise ShapeError(
            f"{a} {sign} {b}: dimensions are whole numbers.",
            fix="use integers, and // to divide; ops.size_of gives a dimension as a float.",
        )
    return NotImplemented if left is None or right is None else rule(left, right)


def _compared(sign: str, rule: Callable[[Any, Any], bool], a: Dim, other: object) -> Any:
    b = _operand(other)
    if b is None:
        return NotImplemented
    difference = plus(terms_of(a), terms_of(b), -1)
    found = {rule(least(difference), 0), rule(most(difference), 0)}
    if len(found) > 1:
        raise _undecided(f"whether {a} {sign} {b} cannot be decided", a, b)
    return found.pop()


def _exactly(a: Dim, b: Dim) -> Dim:
    found = dim_divide(a, b)
    if found is None:
        raise ShapeError(f"the dimension ({a}) / ({b}) is no whole number in all sizes.", fix="use //.")
    return found


def _power(a: Dim, b: Dim) -> Dim:
    if isinstance(b, str) or b < 0:
        raise ShapeError(f"({a}) ** ({b}) is no dimension.", fix="use an exponent that is 0, 1, 2, ...")
    return dim_product(itertools.repeat(a, b))


def _dim(terms: Mapping[tuple[str, ...], int]) -> Dim:
    found = text_of(terms)
    return found if isinstance(found, int) else str.__new__(SymbolicDim, found)


@functools.lru_cache(4096)
def canonical(dim: str) -> Dim:
    """A dimension as written by a user, in canonical form.

    Raises:
        ShapeError: it is no dimension.

    >>> canonical("(H - 1) // 2 + 1"), canonical("1 + N - N")
    ('(H + 1) // 2', 1)
    """
    return _dim(terms_of(dim))


def dim_add(a: Dim, b: Dim) -> Dim:
    """The sum of two dimensions.

    >>> dim_add("N", 1), dim_add("N", "N")
    ('N + 1', '2*N')
    """
    return a + b if isinstance(a, int) and isinstance(b, int) else _add(a, b)


@functools.lru_cache(4096)
def _add(a: Dim, b: Dim) -> Dim:
    return _dim(plus(terms_of(a), terms_of(b)))


def dim_subtract(a: Dim, b: Dim) -> Dim:
    """The difference of two dimensions.

    >>> dim_subtract("N", 1), dim_subtract("N", "N")
    ('N - 1', 0)
    """
    return dim_add(a, dim_multiply(b, -1))


def dim_multiply(a: Dim, b: Dim) -> Dim:
    """The product of two dimensions.

    >>> dim_multiply("N", "T"), dim_multiply(4, "N")
    ('N*T', '4*N')
    """
    if isinstance(a, int) and isinstance(b, int) and abs(a * b) <= LARGEST:
        return a * b
    return _multiply(a, b)


@functools.lru_cache(4096)
def _multiply(a: Dim, b: Dim) -> Dim:
    return _dim(times(terms_of(a), terms_of(b)))


def dim_product(shape: Iterable[Dim]) -> Dim:
    """The product of all dimensions."""
    total: Dim = 1
    for dim in shape:
        total = dim_multiply(total, dim)
    return total


def dim_divide(a: Dim, b: Dim) -> Dim | None:
    """The exact quotient a / b, or None if there is a remainder or it cannot be decided.

    >>> dim_divide("6*N*T", "2*N"), dim_divide("N", 2)
    ('3*T', None)
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    return _divide(a, b)


@functools.lru_cache(4096)
def _divide(a: Dim, b: Dim) -> Dim | None:
    found = divided(terms_of(a), terms_of(b))
    return None if found is None else _dim(found)


def dim_floor_divide(a: Dim, b: Dim) -> Dim:
    """The quotient a / b rounded down.

    Raises:
        ShapeError: b is 0.

    >>> dim_floor_divide("2*T + 3", 2), dim_floor_divide("T - 1", 2)
    ('T + 1', '(T + 1) // 2 - 1')
    """
    return a // b if isinstance(a, int) and isinstance(b, int) and b else _floor_divide(a, b)


@functools.lru_cache(4096)
def _floor_divide(a: Dim, b: Dim) -> Dim:
    return _dim(floored(terms_of(a), terms_of(b)))


def dim_remainder(a: Dim, b: Dim) -> Dim:
    """What is left of a where it is divided by b and rounded down; it has the sign of b.

    Raises:
        ShapeError: b is 0.

    >>> dim_remainder("2*T + 3", 2), dim_remainder(-7, 4)
    (1, 1)
    """
    return dim_subtract(a, dim_multiply(dim_floor_divide(a, b), b))


@functools.lru_cache(4096)
def dim_min(a: Dim, b: Dim) -> Dim:
    """The smaller of two dimensions, given that every name is 1 or more.

    >>> dim_min("T", 10), dim_min("T + 3", 10), dim_min("T", 1)
    ('min(T, 10)', 'min(T, 7) + 3', 1)
    """
    return _dim(smaller(terms_of(a), terms_of(b)))


def dim_max(a: Dim, b: Dim) -> Dim:
    """The larger of two dimensions: their sum minus the smaller one.

    >>> dim_max(dim_add("T", -2), 0)
    'T - min(T, 2)'
    """
    return dim_subtract(dim_add(a, b), dim_min(a, b))


def dim_least(dim: Dim) -> float:
    """What a dimension is at least, in all sizes; minus infinity where that is unknown.

    >>> dim_least("T + 1"), dim_least("T - 2*(T // 2)")
    (2, 0)
    """
    return least(terms_of(dim))


def _single(dim: Dim, kind: str) -> tuple[Dim, Dim] | None:
    terms = dim_parts(dim)
    if len(terms) == 1 and terms[0][0] == 1 and len(terms[0][1]) == 1:
        of = operands(terms[0][1][0])
        return None if of is None or of[0] != kind else of[1:]
    return None


def dim_sides(dim: Dim) -> tuple[Dim, Dim] | None:
    """The two dimensions that one is the smaller of; None if it is anything else.

    >>> dim_sides("min(T, 10)"), dim_sides("T")
    (('T', 10), None)
    """
    return _single(dim, "min")


def dim_quotient(dim: Dim) -> tuple[Dim, Dim] | None:
    """The two dimensions that one is the quotient of, rounded down; None if it is anything else.

    >>> dim_quotient("(T + 1) // 2"), dim_quotient("T // 2 + 1")
    (('T + 1', 2), None)
    """
    return _single(dim, "//")


def dim_parts(dim: Dim) -> list[tuple[int, tuple[str, ...]]]:
    """The terms of a dimension: a number, and the names, minimums and quotients that it is multiplied by.

    >>> dim_parts("2*N*T - 1"), dim_parts("T - min(T, 2)")
    ([(2, ('N', 'T')), (-1, ())], [(1, ('T',)), (-1, ('min(T, 2)',))])
    """
    terms = terms_of(dim)
    return [(terms[key], key) for key in sorted(terms, key=order)]


def dim_names(dim: Dim) -> set[str]:
    """The names in a dimension."""
    if isinstance(dim, int):
        return set()
    found: set[str] = set()
    for factor in {factor for key in terms_of(dim) for factor in key}:
        of = operands(factor)
        found |= {factor} if of is None else dim_names(of[1]) | dim_names(of[2])
    return found


def dim_value(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The size of a dimension, given the sizes of its names.

    Raises:
        ShapeError: a name has no size, or a divisor is 0.

    >>> dim_value("2*N + 1", {"N": 3}), dim_value("(N + 1) // 2", {"N": 4})
    (7, 2)
    """
    if isinstance(dim, int):
        return dim
    total = 0
    for key, value in terms_of(dim).items():
        for name in key:
            value *= _factor_value(name, sizes)
        total += value
    return total


def _factor_value(factor: str, sizes: Mapping[str, int]) -> int:
    of = operands(factor)
    if of is None:
        if factor not in sizes:
            raise ShapeError(f"the dimension '{factor}' has no size.", fix=f"bind it: {{'{factor}': 1}}.")
        return sizes[factor]
    a, b = (dim_value(side, sizes) for side in of[1:])
    if of[0] == "min":
        return min(a, b)
    if b == 0:
        raise ShapeError(f"the dimension {factor} divides by {of[2]}, which is 0.", fix="use larger sizes.")
    return a // b
