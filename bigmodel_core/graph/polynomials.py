"""Polynomials of names: what is known of a dimension that is an expression, and its one canonical text.

The factors of a term are names, minimums "min(T, 10)" and quotients rounded down, "(H + 1) // 2". A name is
known to be 1 or more. The simplifications of quotients are those of JAX's symbolic shapes, and make the sizes
of strided windows over each other comparable: a floor of a floor is one floor, whole parts are taken out, and
what is left of each coefficient is between 0 and the divisor.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping

from bigmodel_core.errors import ShapeError

Terms = Mapping[tuple[str, ...], int]
_TOKEN = re.compile(r"\s*([0-9]+|[A-Za-z_][A-Za-z0-9_]*|//|[-+*%(),])")
_SMALLER = "min("
_FLOORED = " // "
_BRACKETS = {"(": 1, ")": -1}
_DEEPEST = 20
"""How deep brackets may be nested."""
LARGEST = 2**63 - 1
_LONGEST = 64
"""How many terms a polynomial may have, and factors a term."""


@functools.lru_cache(4096)
def terms_of(dim: int | str) -> Terms:
    """A dimension as its terms: the factors of each, and the number they are multiplied by.

    Raises:
        ShapeError: it is no dimension.
    """
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    return _Reader(str(dim)).whole()


class _Reader:
    """Reads an expression as Python does: numbers and names under + - * // %, min(,) and brackets."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != "".join(text.split()):
            raise self.refusal()
        if max(itertools.accumulate(_BRACKETS.get(sign, 0) for sign in text), default=0) > _DEEPEST:
            raise ShapeError("a dimension is nested too deep.", fix="give the model fixed sizes.")

    def refusal(self) -> ShapeError:
        return ShapeError(f"'{self.text}' is not a dimension.", fix="use an integer or a name such as 'N'.")

    def taken(self, *signs: str) -> str | None:
        """The next token, if it is one of these."""
        found = self.tokens[self.at] if self.at < len(self.tokens) else ""
        if found not in signs:
            return None
        self.at += 1
        return str(found)

    def needed(self, sign: str) -> None:
        if self.taken(sign) is None:
            raise self.refusal()

    def whole(self) -> Terms:
        found = self.sum()
        if self.at < len(self.tokens):
            raise self.refusal()
        return found

    def sum(self) -> Terms:
        total = self.product()
        while sign := self.taken("+", "-"):
            total = plus(total, self.product(), 1 if sign == "+" else -1)
        return total

    def product(self) -> Terms:
        total = self.factor()
        while sign := self.taken("*", "//", "%"):
            right = self.factor()
            if sign == "*":
                total = times(total, right)
            else:
                whole = floored(total, right)
                total = whole if sign == "//" else plus(total, times(whole, right), -1)
        return total

    def factor(self) -> Terms:
        sign = 1
        while self.taken("-"):
            sign = -sign
        if self.taken("("):
            found = self.sum()
            self.needed(")")
            return times(found, {(): sign})
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        self.at += 1
        if token.isdecimal():
            if len(token) > len(str(LARGEST)):
                raise ShapeError("a dimension is too large.", fix="give the model smaller sizes.")
            return {(): sign * int(token)} if int(token) else {}
        if not token.isidentifier():
            raise self.refusal()
        if token != "min" or not self.taken("("):
            return {(token,): sign}
        left = self.sum()
        self.needed(",")
        found = smaller(left, self.sum())
        self.needed(")")
        return times(found, {(): sign})


# Factors that are no names ------------------------------------------------------------------------------


@functools.lru_cache(4096)
def operands(factor: str) -> tuple[str, int | str, int | str] | None:
    """What a factor is made of: ("min", a, b) or ("//", a, b); None if it is a name."""
    if factor.isidentifier():
        return None
    kind, sign, inner = ("min", ", ", factor[len(_SMALLER) : -1])
    if not factor.startswith(_SMALLER):
        kind, sign, inner = "//", _FLOORED, factor
    depth = 0
    for place, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and inner.startswith(sign, place):
            left, right = inner[:place], inner[place + len(sign) :]
            return kind, text_of(terms_of(left)), text_of(terms_of(right))
    raise AssertionError(factor)


def _quotient(a: Terms, b: Terms) -> Terms:
    sides = (str(text_of(side)) for side in (a, b))
    left, right = (side if side.isidentifier() or side.isdecimal() else f"({side})" for side in sides)
    return {(f"{left}{_FLOORED}{right}",): 1}


# Arithmetic ---------------------------------------------------------------------------------------------


def plus(a: Terms, b: Terms, number: int = 1) -> Terms:
    """a + number * b."""
    total = dict(a)
    for key, value in b.items():
        total[key] = total.get(key, 0) + number * value
    return {key: value for key, value in total.items() if value}


def times(a: Terms, b: Terms) -> Terms:
    """a * b."""
    if len(a) * len(b) > _LONGEST or max(map(len, a), default=0) + max(map(len, b), default=0) > _LONGEST:
        raise ShapeError("a dimension is a product of too many others.", fix="give the model fixed sizes.")
    total: dict[tuple[str, ...], int] = {}
    for left, x in a.items():
        for right, y in b.items():
            key = tuple(sorted(left + right))
            total[key] = total.get(key, 0) + x * y
    return {key: value for key, value in total.items() if value}


def divided(a: Terms, b: Terms) -> Terms | None:
    """a / b if there is no remainder, whatever the names are; else None."""
    if len(b) != 1:
        return {(): 1} if a == b and a else None
    ((names, factor),) = b.items()
    quotient: dict[tuple[str, ...], int] = {}
    for key, value in a.items():
        rest = list(key)
        for name in names:
            if name not in rest:
                return None
            rest.remove(name)
        if value % factor:
            return None
        quotient[tuple(rest)] = value // factor
    return quotient


def floored(a: Terms, b: Terms) -> Terms:
    """a / b rounded down.

    Raises:
        ShapeError: b is 0.
    """
    if not b:
        raise ShapeError(f"the dimension {text_of(a)} is divided by 0.", fix="divide by 1 or more.")
    exact = divided(a, b)
    if exact is not None:
        return exact
    if set(b) != {()}:
        return _quotient(a, b)
    sign, divisor = (1, b[()]) if b[()] > 0 else (-1, -b[()])
    whole = {key: sign * value // divisor for key, value in a.items() if sign * value // divisor}
    rest = {key: sign * value % divisor for key, value in a.items() if sign * value % divisor}
    names = [key for key in rest if key]
    if least(rest) >= 0 and most(rest) < divisor:
        return whole
    common = math.gcd(divisor, *(rest[key] for key in names))
    if common > 1:
        inner = {key: value // common for key, value in rest.items() if value // common}
        return plus(whole, floored(inner, {(): divisor // common}))
    of = operands(names[0][0]) if len(names) == 1 and len(names[0]) == 1 and rest[names[0]] == 1 else None
    if of is not None and of[0] == "//" and isinstance(of[2], int):  # (x // 2 + 1) // 2 is (x + 2) // 4
        moved = plus(terms_of(of[1]), {(): of[2]}, rest.get((), 0))
        return plus(whole, floored(moved, {(): divisor * of[2]}))
    return plus(whole, _quotient(rest, {(): divisor}))


def smaller(a: Terms, b: Terms) -> Terms:
    """The smaller of two polynomials, where each name is 1 or more."""
    difference = dict(plus(a, b, -1))
    if least(difference) >= 0:
        return b
    if most(difference) <= 0:
        return a
    number = difference.pop((), 0)
    if difference[min(difference, key=order)] < 0:  # of the two ways to write it, one
        difference = {key: -value for key, value in difference.items()}
        number, b = -number, a
    shifted = plus(b, {(): number})
    ((key, value), *others) = difference.items()
    sides = operands(key[0]) if not others and len(key) == value == 1 else None
    if sides is not None and sides[0] == "min" and isinstance(sides[2], int):  # min(min(T, 5), 3)
        return plus(shifted, smaller(terms_of(sides[1]), {(): min(sides[2], -number)}))
    return plus(shifted, {(f"{_SMALLER}{text_of(difference)}, {-number})",): 1})


# Bounds -------------------------------------------------------------------------------------------------


def least(terms: Terms) -> float:
    """What a polynomial is at least where each name is 1 or more; -infinity if that is unknown."""
    found = sum(_least_product(key, value) for key, value in terms.items())
    for key, value in terms.items():
        of = operands(key[0]) if len(key) == 1 else None
        if of is None or of[0] != "//" or not isinstance(of[2], int):
            continue
        # A floor a // n is at most a / n, and at least (a - n + 1) / n.
        rest = {other: of[2] * number for other, number in terms.items() if other != key}
        bound = plus(rest, terms_of(of[1]), value)
        if value > 0:
            bound = plus(bound, {(): -value * (of[2] - 1)})
        lowest = least(bound)
        return max(found, math.ceil(lowest / of[2]) if math.isfinite(lowest) else lowest)
    return found


def most(terms: Terms) -> float:
    """What a polynomial is at most where each name is 1 or more; infinity if that is unknown."""
    return -least({key: -value for key, value in terms.items()})


def _least_product(key: tuple[str, ...], value: int) -> float:
    bounds = [_bounds(factor) for factor in key]
    if len(bounds) > 1 and any(low < 0 for low, _ in bounds):
        return -math.inf
    found = value * math.prod(low if value > 0 else high for low, high in bounds)
    return -math.inf if math.isnan(found) else found


@functools.lru_cache(4096)
def _bounds(factor: str) -> tuple[float, float]:
    """What a name, a minimum or a quotient is at least and at most."""
    of = operands(factor)
    if of is None:
        return 1, math.inf
    sides = [terms_of(side) for side in of[1:]]
    if of[0] == "min":
        return min(map(least, sides)), min(map(most, sides))
    low, high = least(sides[0]), most(sides[0])
    if not isinstance(of[2], int):
        return (0, high) if low >= 0 and least(sides[1]) >= 1 else (-math.inf, math.inf)
    return tuple(math.floor(side / of[2]) if math.isfinite(side) else side for side in (low, high))  # type: ignore[return-value]  # two


# Texts --------------------------------------------------------------------------------------------------


def order(key: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Long products come first."""
    return -len(key), key


def text_of(terms: Terms) -> int | str:
    """The one way in which a polynomial is written; an integer if it is one.

    Raises:
        ShapeError: it is too large or too long.
    """
    kept = {key: value for key, value in terms.items() if value}
    if len(kept) > _LONGEST or any(abs(value) > LARGEST for value in kept.values()):
        raise ShapeError("a dimension is too large or too long.", fix="give the model smaller sizes.")
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    text = ""
    for key in sorted(kept, key=order):
        value = kept[key]
        bare = value == len(key) == 1  # H // 2 needs no brackets where nothing binds tighter
        factors = [f"({f})" if _FLOORED in f and not (bare or f.startswith(_SMALLER)) else f for f in key]
        if abs(value) != 1 or not key:
            factors.insert(0, str(abs(value)))
        sign = ("-" if value < 0 else "") if not text else (" - " if value < 0 else " + ")
        text += sign + "*".join(factors)
    return text
