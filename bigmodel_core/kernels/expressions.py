"""What a scalar function computes, as expressions: made by reading it (`reading.py`), differentiated
(`derivatives.py`), and written as Python again, here.

An expression is an operator and its arguments; equal ones are one object, so that what is used twice is
computed once. Operators are those of Python ("+", "<", "and"), "where" (condition, then, else), the names of
functions, and the leaves "number" and "argument".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bigmodel_core.kernels.definition import BUILTINS, FUNCTIONS

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
LOGIC = ("and", "or", "not")


@dataclass(frozen=True, eq=False)
class Expression:
    """An operator and its arguments: what `bm.expression` gives.

    Args:
        operator: what is computed: an operator of Python ("+", "**", "<", "and"; "negative" is the sign), a
            function of `math` or a built-in one by its name, "where" (condition, then, otherwise), or a leaf:
            "number" or "argument".
        arguments: of what.
        value: of a leaf: the number, or the name of the argument.
    """

    operator: str
    arguments: tuple[Expression, ...] = ()
    value: Any = None

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false, and no number."""
        if self.operator == "where":
            return all(item.is_condition for item in self.arguments[1:])
        return self.operator in (*COMPARISONS, *LOGIC, "bool") or isinstance(self.value, bool)

    def parts(self) -> list[Expression]:
        """It and all that it is made of, each once, behind what it reads."""
        return in_order(self)

    def is_number(self, value: float) -> bool:
        """Whether it is this number."""
        return self.operator == "number" and not isinstance(self.value, bool) and self.value == value


@dataclass
class Algebra:
    """Makes expressions, each once; those of the rules of differentiation are simplified."""

    made: dict[tuple[Any, ...], Expression] = field(default_factory=dict)

    def make(self, operator: str, *arguments: Expression) -> Expression:
        """An operator of expressions, as it stands."""
        return self._once((operator, *map(id, arguments)), Expression(operator, arguments))

    def number(self, value: float) -> Expression:
        """A number."""
        return self._once(("number", type(value), repr(value)), Expression("number", (), value))

    def argument(self, name: str) -> Expression:
        """An argument of the function."""
        return self._once(("argument", name), Expression("argument", (), name))

    def rebuilt(self, item: Expression, arguments: Sequence[Expression]) -> Expression:
        """An expression with other arguments."""
        return item if not item.arguments else self.make(item.operator, *arguments)

    def _once(self, key: tuple[Any, ...], expression: Expression) -> Expression:
        return self.made.setdefault(key, expression)

    # Simplified: a factor 0 stands for a gradient that does not pass ----------------------------------------

    def add(self, a: Expression, b: Expression) -> Expression:
        if a.is_number(0):
            return b
        if b.is_number(0):
            return a
        return self.make("+", a, b)

    def negative(self, a: Expression) -> Expression:
        if a.operator == "number":
            return self.number(-a.value)
        return a.arguments[0] if a.operator == "negative" else self.make("negative", a)

    def subtract(self, a: Expression, b: Expression) -> Expression:
        if b.is_number(0):
            return a
        return self.negative(b) if a.is_number(0) else self.make("-", a, b)

    def multiply(self, *factors: Expression) -> Expression:
        """The product. One that is 0 in a branch is 0 there whatever the others are, be they infinite."""
        result = factors[0]
        for factor in factors[1:]:
            result = self._product(result, factor)
        return result

    def _product(self, a: Expression, b: Expression) -> Expression:
        if a.is_number(0) or b.is_number(0):
            return self.number(0.0)
        for one, other in ((a, b), (b, a)):
            if one.is_number(1):
                return other
            if one.is_number(-1):
                return self.negative(other)
        for one, other in ((a, b), (b, a)):
            if one.operator == "where" and any(item.is_number(0) for item in one.arguments[1:]):
                condition, then, otherwise = one.arguments
                return self.where(condition, self._product(then, other), self._product(otherwise, other))
        return self.make("*", a, b)

    def divide(self, a: Expression, b: Expression) -> Expression:
        if a.is_number(0) or b.is_number(1):
            return a
        if a.operator == "where" and any(item.is_number(0) for item in a.arguments[1:]):
            condition, then, otherwise = a.arguments
            return self.where(condition, self.divide(then, b), self.divide(otherwise, b))
        return self.make("/", a, b)

    def power(self, a: Expression, exponent: float) -> Expression:
        """A fixed power."""
        if exponent == 0:
            return self.number(1.0)
        return a if exponent == 1 else self.make("**", a, self.number(exponent))

    def where(self, condition: Expression, then: Expression, otherwise: Expression) -> Expression:
        if isinstance(condition.value, bool):
            return then if condition.value else otherwise
        if then.operator == "where" and then.arguments[0] is condition:
            then = then.arguments[1]
        if otherwise.operator == "where" and otherwise.arguments[0] is condition:
            otherwise = otherwise.arguments[2]
        return then if then is otherwise else self.make("where", condition, then, otherwise)

    def both(self, a: Expression, b: Expression) -> Expression:
        return self.make("and", a, b)


def in_order(result: Expression) -> list[Expression]:
    """An expression and all that it is made of, each once, behind what it reads."""
    found: dict[int, Expression] = {}
    stack = [(result, False)]
    while stack:
        item, is_ready = stack.pop()
        if id(item) in found:
            continue
        if is_ready:
            found[id(item)] = item
        else:
            stack.append((item, True))
            stack.extend((part, False) for part in reversed(item.arguments))
    return list(found.values())


def names_in(result: Expression) -> set[str]:
    """The arguments that an expression depends on."""
    return {item.value for item in in_order(result) if item.operator == "argument"}


# As Python ------------------------------------------------------------------------------------------------


def as_function(name: str, parameters: Sequence[str], result: Expression, file: str) -> Any:
    """A Python function that computes an expression; its text is its attribute `source`.

    Args:
        name: what it is called.
        parameters: the names of its arguments.
        result: what it returns.
        file: what stands for its file in messages.
    """
    uses: dict[int, int] = {}
    ordered = in_order(result)
    for item in ordered:
        for part in item.arguments:
            uses[id(part)] = uses.get(id(part), 0) + 1
    texts: dict[int, str] = {}
    lines = [f"def {name}({', '.join(parameters)}):"]
    for item in ordered:
        text = _text(item, [texts[id(part)] for part in item.arguments])
        if uses.get(id(item), 0) > 1 and item.arguments:
            local = f"v{len(lines)}"
            while local in parameters:
                local += "_"
            lines.append(f"    {local} = {text}")
            text = local
        texts[id(item)] = text
    lines.append(f"    return {texts[id(result)]}")
    source = "\n".join(lines) + "\n"
    scope: dict[str, Any] = {"m_inf": math.inf, "m_nan": math.nan}
    scope |= {f"m_{function}": getattr(math, function) for function in FUNCTIONS}
    exec(compile(source, file, "exec"), scope)
    scope[name].source = source
    return scope[name]


def _text(item: Expression, parts: list[str]) -> str:
    if item.operator == "argument":
        return str(item.value)
    if item.operator == "number":
        value = item.value
        if isinstance(value, float) and not math.isfinite(value):
            return "m_nan" if math.isnan(value) else ("m_inf" if value > 0 else "(-m_inf)")
        return repr(value) if value >= 0 else f"({value!r})"
    if item.operator == "where":
        return f"({parts[1]} if {parts[0]} else {parts[2]})"
    if item.operator == "negative":
        return f"(-{parts[0]})"
    if item.operator == "not":
        return f"(not {parts[0]})"
    if item.operator in FUNCTIONS or item.operator in BUILTINS:
        return f"{'m_' if item.operator in FUNCTIONS else ''}{item.operator}({', '.join(parts)})"
    return f"({parts[0]} {item.operator} {parts[1]})"
