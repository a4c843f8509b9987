"""The arithmetic of dimensions: integers, names, and polynomials of names in canonical form.

A polynomial such as "2*N*T + 1" is what reshapes and concatenations of named dimensions give. Where a slice
is cut short by the end of an axis, it holds a minimum: "min(T, 10)", "T - min(T, 2)". A name is
known to be 1 or more.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping

from bigmodel_core.errors import ShapeError

Dim = int | str
Shape = tuple[Dim, ...]

_Terms = Mapping[tuple[str, ...], int]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SMALLER = "min("
_DEEPEST = 20
"""How deep minimums may be nested."""
_LARGEST = 2**63 - 1
_LONGEST = 64
"""How many terms a polynomial may have, and factors a term."""


@functools.lru_cache(4096)
def _terms(dim: Dim) -> _Terms:
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    total: dict[tuple[str, ...], int] = {}
    for part in _parted(dim.replace("-", "+-"), "+"):
        if not part.strip():
            continue
        sign, factors = (-1, part.strip()[1:]) if part.strip().startswith("-") else (1, part)
        product: _Terms = {(): sign}
        for factor in _parted(factors, "*"):
            product = _product(product, _factor(factor.strip(), dim))
        for key, value in product.items():
            total[key] = total.get(key, 0) + value
    return {key: value for key, value in total.items() if value}


def _factor(text: str, dim: str) -> _Terms:
    """A number, a name, or the smaller of two dimensions."""
    if text.isdecimal() and text.isascii():
        return {(): int(text)}
    if _NAME.fullmatch(text):
        return {(text,): 1}
    sides = _parted(text[len(_SMALLER) : -1], ",")
    if not text.startswith(_SMALLER) or not text.endswith(")") or len(sides) != 2:
        raise ShapeError(f"'{dim}' is not a dimension.", fix="use an integer or a name such as 'N'.")
    if text.count("(") > _DEEPEST:
        raise ShapeError("a dimension is made of too many minimums.", fix="give the model fixed sizes.")
    left, right = (_terms(side.replace("+-", "-")) for side in sides)
    return _smaller(left, right)


def _parted(text: str, sign: str) -> list[str]:
    """The parts of a text between signs that are in no brackets."""
    if "(" not in text:
        return text.split(sign)
    parts, depth, begin = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == sign and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]


@functools.lru_cache(4096)
def _sides(factor: str) -> tuple[Dim, Dim] | None:
    """The two dimensions that a factor is the smaller of; None if it is a name."""
    if not factor.startswith(_SMALLER):
        return None
    left, right = _parted(factor[len(_SMALLER) : -1], ",")
    return _canonical(_terms(left)), _canonical(_terms(right))


def _sum(a: _Terms, b: _Terms, sign: int = 1) -> _Terms:
    total = dict(a)
    for key, value in b.items():
        total[key] = total.get(key, 0) + sign * value
    return {key: value for key, value in total.items() if value}


def _product(a: _Terms, b: _Terms) -> _Terms:
    if len(a) * len(b) > _LONGEST or max(map(len, a), default=0) + max(map(len, b), default=0) > _LONGEST:
        raise ShapeError("a dimension is a product of too many others.", fix="give the model fixed sizes.")
    total: dict[tuple[str, ...], int] = {}
    for left, x in a.items():
        for right, y in b.items():
            key = tuple(sorted(left + right))
            total[key] = total.get(key, 0) + x * y
    return total


def _smaller(a: _Terms, b: _Terms) -> _Terms:
    """The smaller of two polynomials, where each name is 1 or more."""
    difference = dict(_sum(a, b, -1))
    if _least(difference) >= 0:
        return b
    if _least({key: -value for key, value in difference.items()}) >= 0:
        return a
    number = difference.pop((), 0)
    if difference[min(difference, key=_order)] < 0:  # of the two ways to write it, one
        difference = {key: -value for key, value in difference.items()}
        number, b = -number, a
    sides = dim_sides(_canonical(difference))
    if sides is not None and isinstance(sides[1], int):  # min(min(T, 5), 3)
        return _sum(_sum(b, {(): number}), _smaller(_terms(sides[0]), {(): min(sides[1], -number)}))
    minimum = f"{_SMALLER}{_canonical(difference)}, {-number})"
    return _sum(_sum(b, {(): number}), {(minimum,): 1})


def _least(terms: _Terms) -> float:
    """What a polynomial is at least where each name is 1 or more; -infinity if that is unknown."""
    return sum(_least_product(key, value) for key, value in terms.items())


def _least_product(key: tuple[str, ...], value: int) -> float:
    bounds = [_bounds(factor) for factor in key]
    if len(bounds) > 1 and any(low < 0 for low, _ in bounds):
        return -math.inf
    return value * math.prod(low if value > 0 else high for low, high in bounds)


def _bounds(factor: str) -> tuple[float, float]:
    """What a name or a minimum is at least and at most."""
    sides = _sides(factor)
    if sides is None:
        return 1, math.inf
    highest = min((side for side in sides if isinstance(side, int)), default=math.inf)
    return min(_least(_terms(side)) for side in sides), highest


def _order(key: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Long products come first."""
    return -len(key), key


def _canonical(terms: _Terms) -> Dim:
    kept = {key: value for key, value in terms.items() if value}
    if len(kept) > _LONGEST or any(abs(value) > _LARGEST for value in kept.values()):
        raise ShapeError("a dimension is too large or too long.", fix="give the model smaller sizes.")
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    texts = []
    for key in sorted(kept, key=_order):
        factors = list(key)
        if abs(kept[key]) != 1 or not key:
            factors.insert(0, str(abs(kept[key])))
        texts.append(("- " if kept[key] < 0 else "+ ") + "*".join(factors))
    text = " ".join(texts)
    return text[2:] if text.startswith("+ ") else "-" + text[2:]


def canonical(dim: str) -> Dim:
    """A dimension as written by a user, in canonical form.

    Raises:
        ShapeError: it is no dimension.
    """
    return _canonical(_terms(dim))


def dim_add(a: Dim, b: Dim) -> Dim:
    """The sum of two dimensions.

    >>> dim_add("N", 1), dim_add("N", "N")
    ('N + 1', '2*N')
    """
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return _canonical(_sum(_terms(a), _terms(b)))


def dim_multiply(a: Dim, b: Dim) -> Dim:
    """The product of two dimensions.

    >>> dim_multiply("N", "T"), dim_multiply(4, "N")
    ('N*T', '4*N')
    """
    if isinstance(a, int) and isinstance(b, int) and abs(a * b) <= _LARGEST:
        return a * b
    return _canonical(_product(_terms(a), _terms(b)))


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
    """The quotient a / b rounded down, or None if it depends on a free size.

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


def dim_min(a: Dim, b: Dim) -> Dim:
    """The smaller of two dimensions, given that every name is 1 or more.

    >>> dim_min("T", 10), dim_min("T + 3", 10), dim_min("T", 1)
    ('min(T, 10)', 'min(T, 7) + 3', 1)
    """
    return _canonical(_smaller(_terms(a), _terms(b)))


def dim_max(a: Dim, b: Dim) -> Dim:
    """The larger of two dimensions: their sum minus the smaller one.

    >>> dim_max(dim_add("T", -2), 0)
    'T - min(T, 2)'
    """
    return dim_add(dim_add(a, b), dim_multiply(dim_min(a, b), -1))


def dim_sides(dim: Dim) -> tuple[Dim, Dim] | None:
    """The two dimensions that one is the smaller of; None if it is anything else.

    >>> dim_sides("min(T, 10)"), dim_sides("T")
    (('T', 10), None)
    """
    terms = dim_parts(dim)
    if len(terms) == 1 and terms[0][0] == 1 and len(terms[0][1]) == 1:
        return _sides(terms[0][1][0])
    return None


def dim_parts(dim: Dim) -> list[tuple[int, tuple[str, ...]]]:
    """The terms of a dimension, as a number and the factors it is multiplied by: names and minimums.

    >>> dim_parts("2*N*T - 1"), dim_parts("T - min(T, 2)")
    ([(2, ('N', 'T')), (-1, ())], [(1, ('T',)), (-1, ('min(T, 2)',))])
    """
    terms = _terms(dim)
    return [(terms[key], key) for key in sorted(terms, key=_order)]


def dim_names(dim: Dim) -> set[str]:
    """The names in a dimension."""
    if isinstance(dim, int):
        return set()
    found: set[str] = set()
    for factor in {factor for key in _terms(dim) for factor in key}:
        sides = _sides(factor)
        found |= {factor} if sides is None else dim_names(sides[0]) | dim_names(sides[1])
    return found


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
            sides = _sides(name)
            if sides is not None:
                value *= min(dim_value(side, sizes) for side in sides)
                continue
            if name not in sizes:
                raise ShapeError(f"the dimension '{name}' has no size.", fix=f"bind it: {{'{name}': 1}}.")
            value *= sizes[name]
        total += value
    return total
