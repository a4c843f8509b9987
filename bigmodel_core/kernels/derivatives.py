"""The derivative of a scalar function with respect to one of its arguments, as a scalar function again.

Rules are those of the textbook, forwards: a choice between two expressions is differentiated as the choice
between their derivatives, so that what is not chosen, be it infinite, leaves no trace.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.definition import Scalar
from bigmodel_core.kernels.expressions import (
    COMPARISONS,
    LOGIC,
    Algebra,
    Expression,
    as_function,
    in_order,
    names_in,
)
from bigmodel_core.kernels.reading import read

UPSTREAM = "dy"


@dataclass(frozen=True)
class Derivative:
    """A gradient as a scalar function.

    Args:
        function: of the gradient that comes in, some of the inputs, and attributes by name.
        inputs: the positions of those inputs.
    """

    function: Scalar
    inputs: tuple[int, ...]


@functools.lru_cache(1024)
def derivative(function: Scalar, count: int, position: int) -> Derivative | None:
    """The gradient with respect to an input: the derivative there times the gradient that comes in.

    Args:
        function: a scalar function.
        count: how many inputs there are, the first arguments; others are attributes.
        position: with respect to which of them.

    Returns:
        The gradient; None if it is 0 everywhere.

    Raises:
        KernelError: the function cannot be differentiated; the message names the file and line.
    """
    found = read(function)
    algebra = found.algebra
    slope = _derived(found.result, found.parameters[position], algebra, found.origin)
    if slope.is_number(0):
        return None
    upstream = UPSTREAM
    while upstream in found.parameters:
        upstream += "_"
    result = algebra.multiply(slope, algebra.argument(upstream))
    needed = names_in(result)
    inputs = tuple(number for number, name in enumerate(found.parameters[:count]) if name in needed)
    attributes = [name for name in found.parameters[count:] if name in needed]
    name = f"{function.__name__.strip('<>')}_grad_{found.parameters[position]}"
    given = [upstream, *(found.parameters[number] for number in inputs), *attributes]
    file = f"<derivative by {found.parameters[position]} of {found.origin}>"
    return Derivative(as_function(name, given, result, file), inputs)


def _derived(result: Expression, name: str, algebra: Algebra, origin: str) -> Expression:
    """The derivative of an expression by an argument."""
    zero = algebra.number(0.0)
    slopes: dict[int, Expression] = {}
    for item in in_order(result):
        if item.operator == "argument":
            slopes[id(item)] = algebra.number(1.0) if item.value == name else zero
            continue
        parts = [slopes[id(part)] for part in item.arguments]
        if item.operator != "where" and (item.is_condition or all(part.is_number(0) for part in parts)):
            slopes[id(item)] = zero
            continue
        rule = _RULES.get(item.operator)
        if rule is None:
            raise KernelError(
                f"the scalar function {origin} calls {item.operator}, whose derivative is not known.",
                fix="write the gradient as an op of its own and return it from `grad`.",
            )
        slopes[id(item)] = rule(algebra, item, parts)
    return slopes[id(result)]


Rule = Callable[[Algebra, Expression, Sequence[Expression]], Expression]
"""The derivative of an expression, given those of its arguments."""


def _of_one(slope: Callable[[Algebra, Expression, Expression], Expression]) -> Rule:
    """The rule of a function of one argument, by its slope at x where it is y."""
    return lambda a, y, parts: a.multiply(slope(a, y.arguments[0], y), parts[0])


def _product(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    left, right = y.arguments
    return a.add(a.multiply(right, parts[0]), a.multiply(left, parts[1]))


def _quotient(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    _, below = y.arguments
    return a.subtract(a.divide(parts[0], below), a.multiply(y, _relative(a, below, parts[1])))


def _relative(a: Algebra, x: Expression, slope: Expression) -> Expression:
    """slope / x, also where x is a number and an exponential that overflows: of 1 + exp(v) it is the slope of
    v over 1 + exp(-v), which is the same."""
    if slope.is_number(0) or x.operator != "+":
        return a.divide(slope, x)
    for number, power in (x.arguments, x.arguments[::-1]):
        if number.operator == "number" and number.value > 0 and power.operator == "exp":
            rate = _without(a, slope, power)
            if rate is not None:
                back = a.make("exp", a.negative(power.arguments[0]))
                return a.divide(rate, a.add(a.number(1), a.multiply(number, back)))
    return a.divide(slope, x)


def _without(a: Algebra, x: Expression, factor: Expression) -> Expression | None:
    """An expression divided by one of its factors; None if it has no such factor."""
    if x is factor:
        return a.number(1.0)
    if x.operator == "negative":
        found = _without(a, x.arguments[0], factor)
        return None if found is None else a.negative(found)
    if x.operator == "*" and any(item is factor for item in x.arguments):
        return x.arguments[1] if x.arguments[0] is factor else x.arguments[0]
    return None


def _power(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    """0 where a power of 0 stays 0, or 1: there log(0) is infinite."""
    base, exponent = y.arguments
    if exponent.operator == "number":
        return a.multiply(exponent, a.power(base, exponent.value - 1), parts[0])
    zero = a.number(0.0)
    lower = a.make("**", base, a.subtract(exponent, a.number(1.0)))
    by_base = a.where(a.make("==", exponent, zero), zero, a.multiply(exponent, lower))
    stays = a.both(a.make("==", base, zero), a.make(">=", exponent, zero))
    by_exponent = a.where(stays, zero, a.multiply(y, a.make("log", base)))
    return a.add(a.multiply(by_base, parts[0]), a.multiply(by_exponent, parts[1]))


def _choice(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    return a.where(y.arguments[0], parts[1], parts[2])


def _larger(sign: str) -> Rule:
    """That of `max` or `min`: of equal numbers the first counts."""
    return lambda a, y, parts: a.where(a.make(sign, y.arguments[1], y.arguments[0]), parts[1], parts[0])


def _magnitude(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    x, zero = y.arguments[0], a.number(0)
    below = a.where(a.make("<", x, zero), a.negative(parts[0]), a.number(0.0))
    return a.where(a.make(">", x, zero), parts[0], below)


def _with_sign(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    x, sign = y.arguments
    way = a.make("*", a.make("copysign", a.number(1.0), x), a.make("copysign", a.number(1.0), sign))
    return a.multiply(way, parts[0])


def _remainder(rounded: str) -> Rule:
    """a - b * n: n is a / b, rounded down or towards 0."""

    def rule(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
        times = a.make(rounded, a.make("/", *y.arguments))
        return a.subtract(parts[0], a.multiply(times, parts[1]))

    return rule


def _angle(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    up, along = y.arguments
    square = a.add(a.multiply(up, up), a.multiply(along, along))
    return a.subtract(
        a.multiply(a.divide(along, square), parts[0]), a.multiply(a.divide(up, square), parts[1])
    )


def _nothing(a: Algebra, y: Expression, parts: Sequence[Expression]) -> Expression:
    return a.number(0.0)


def _one_less_square(a: Algebra, x: Expression) -> Expression:
    return a.subtract(a.number(1), a.multiply(x, x))


def _one_and_square(a: Algebra, x: Expression) -> Expression:
    return a.add(a.number(1), a.multiply(x, x))


def _inverse(a: Algebra, x: Expression) -> Expression:
    return a.divide(a.number(1), x)


def _bell(a: Algebra, x: Expression) -> Expression:
    """The slope of erf: 2 / sqrt(pi) * exp(-x * x)."""
    return a.multiply(a.number(2 / math.sqrt(math.pi)), a.make("exp", a.negative(a.multiply(x, x))))


_RULES: dict[str, Rule] = {
    "+": lambda a, y, parts: a.add(parts[0], parts[1]),
    "-": lambda a, y, parts: a.subtract(parts[0], parts[1]),
    "*": _product,
    "/": _quotient,
    "**": _power,
    "negative": lambda a, y, parts: a.negative(parts[0]),
    "where": _choice,
    "max": _larger(">"),
    "min": _larger("<"),
    "%": _remainder("floor"),
    "fmod": _remainder("trunc"),
    "float": lambda a, y, parts: parts[0],
    **dict.fromkeys(("abs", "fabs"), _magnitude),
    **dict.fromkeys((*COMPARISONS, *LOGIC, "bool", "//", "int", "round", "floor", "ceil", "trunc"), _nothing),
    "copysign": _with_sign,
    "exp": _of_one(lambda a, x, y: y),
    "expm1": _of_one(lambda a, x, y: a.make("exp", x)),
    "log": lambda a, y, parts: _relative(a, y.arguments[0], parts[0]),
    "log1p": lambda a, y, parts: _relative(a, a.add(a.number(1), y.arguments[0]), parts[0]),
    "log2": _of_one(lambda a, x, y: a.divide(a.number(1 / math.log(2)), x)),
    "log10": _of_one(lambda a, x, y: a.divide(a.number(1 / math.log(10)), x)),
    "sqrt": _of_one(lambda a, x, y: a.divide(a.number(0.5), y)),
    "sin": _of_one(lambda a, x, y: a.make("cos", x)),
    "cos": _of_one(lambda a, x, y: a.negative(a.make("sin", x))),
    "tan": _of_one(lambda a, x, y: _one_and_square(a, y)),
    "asin": _of_one(lambda a, x, y: _inverse(a, a.make("sqrt", _one_less_square(a, x)))),
    "acos": _of_one(lambda a, x, y: a.negative(_inverse(a, a.make("sqrt", _one_less_square(a, x))))),
    "atan": _of_one(lambda a, x, y: _inverse(a, _one_and_square(a, x))),
    "atan2": _angle,
    "sinh": _of_one(lambda a, x, y: a.make("cosh", x)),
    "cosh": _of_one(lambda a, x, y: a.make("sinh", x)),
    "tanh": _of_one(lambda a, x, y: _one_less_square(a, y)),
    "asinh": _of_one(lambda a, x, y: _inverse(a, a.make("sqrt", _one_and_square(a, x)))),
    "acosh": _of_one(lambda a, x, y: _inverse(a, a.make("sqrt", a.subtract(a.multiply(x, x), a.number(1))))),
    "atanh": _of_one(lambda a, x, y: _inverse(a, _one_less_square(a, x))),
    "erf": _of_one(lambda a, x, y: _bell(a, x)),
    "erfc": _of_one(lambda a, x, y: a.negative(_bell(a, x))),
}
