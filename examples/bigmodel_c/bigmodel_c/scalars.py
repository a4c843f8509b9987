"""Elementwise ops: what `bm.expression` says of them, as C, several that follow each other in one loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_c.arrays import CTYPES, Array, literal, strides
from bigmodel_c.emit import Emit

FUNCTIONS = (
    *("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "fabs", "fmod", "copysign"),
    *("floor", "ceil", "trunc", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc"),
)  # fmt: skip
"""Functions that <math.h> has by the names of Python's `math`."""
SIGNS = ("+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=")
OTHERS = {
    "where": "({0} ? {1} : {2})",
    "and": "({0} && {1})",
    "or": "({0} || {1})",
    "not": "(!{0})",
    "bool": "({0} != 0)",
    "negative": "(-{0})",
    "max": "({1} > {0} ? {1} : {0})",
    "min": "({1} < {0} ? {1} : {0})",
}
"""Operators as C; each is given names and numbers, so that nothing is computed twice."""
SPECIAL = ("**", "//", "%", "abs", "float", "int", "round")
REST = """static {T} rest_{dtype}({T} a, {T} b)
{{
    const {T} rest = {fmod}(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}}"""
REST_OF_INTEGERS = """static {T} rest_{dtype}({T} a, {T} b)
{{
    {T} rest = b == 0 || b + 1 == 0 ? 0 : ({T})(a % b);
    return rest != 0 && (rest < 0) != (b < 0) ? ({T})(rest + b) : rest;
}}"""
QUOTIENT_OF_INTEGERS = """static {T} quotient_{dtype}({T} a, {T} b)
{{
    if (b == 0 || b + 1 == 0)
        return b == 0 ? 0 : ({T})-a;
    return ({T})(a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0));
}}"""


def expression_of(node: bm.Node) -> bm.Expression | None:
    """What an elementwise op computes; None if it is another one, or computes what C has no word for."""
    if len(node.outputs) != 1:
        return None
    try:
        found = bm.expression(node.op, *(f"x{number}" for number in range(len(node.inputs))))
    except bm.errors.KernelError:
        return None
    known = {*FUNCTIONS, *SIGNS, *OTHERS, *SPECIAL, "number", "argument"}
    return found if found is None or {item.operator for item in found.parts()} <= known else None


def computed_in(node: bm.Node) -> str:
    """The number type that an expression is computed in."""
    output = node.outputs[0].dtype
    floats = [value.dtype for value in (node.outputs[0], *node.inputs) if value.spec.is_float]
    return floats[0] if floats else (node.inputs[0].dtype if output == "bool" and node.inputs else output)


@dataclass
class _Scalar:
    """Writes the expression of one node inside a loop."""

    emit: Emit
    dtype: str
    names: Callable[[], str]

    def written(self, result: bm.Expression, arguments: dict[str, str]) -> str:
        """Lines that compute an expression; what its result is called."""
        texts: dict[int, str] = {}
        for item in result.parts():
            if item.operator == "argument":
                texts[id(item)] = arguments[item.value]
            elif item.operator == "number":
                texts[id(item)] = self._number(item.value)
            else:
                name = self.names()
                ctype = "int" if item.is_condition else CTYPES[self.dtype]
                parts = [texts[id(part)] for part in item.arguments]
                self.emit.line(f"const {ctype} {name} = {self._text(item, parts)};")
                texts[id(item)] = name
        return texts[id(result)]

    def _number(self, value: Any) -> str:
        return str(int(value)) if isinstance(value, bool) else literal(value, self.dtype)

    @property
    def _is_float(self) -> bool:
        return bm.dtypes.DTYPES[self.dtype].is_float

    def _function(self, name: str) -> str:
        return name + ("f" if self.dtype == "float32" else "")

    def _text(self, item: bm.Expression, parts: Sequence[str]) -> str:
        operator = item.operator
        if operator in OTHERS:
            return OTHERS[operator].format(*parts)
        if operator in SIGNS:
            if operator == "/" and not self._is_float:
                return f"({CTYPES[self.dtype]})((double){parts[0]} / (double){parts[1]})"
            return f"({parts[0]} {operator} {parts[1]})"
        if operator in FUNCTIONS:
            return f"{self._function(operator)}({', '.join(parts)})"
        return self._special(operator, parts, item)

    def _special(self, operator: str, parts: Sequence[str], item: bm.Expression) -> str:
        ctype, given = CTYPES[self.dtype], {"T": CTYPES[self.dtype], "dtype": self.dtype}
        if operator == "**":
            exponent = item.arguments[1].value
            if exponent in (1, 2, 3, 4):
                return "(" + " * ".join([parts[0]] * int(exponent)) + ")"
            text = f"{self._function('pow')}({', '.join(parts)})"
            return text if self._is_float else f"({ctype}){text}"
        if operator in ("%", "//"):
            if self._is_float and operator == "//":
                return f"{self._function('floor')}({parts[0]} / {parts[1]})"
            name = "rest" if operator == "%" else "quotient"
            source = REST if self._is_float else REST_OF_INTEGERS if operator == "%" else QUOTIENT_OF_INTEGERS
            self.emit.helper(f"{name}_{self.dtype}", source.format(fmod=self._function("fmod"), **given))
            return f"{name}_{self.dtype}({', '.join(parts)})"
        if operator == "abs" and not self._is_float:
            return f"({parts[0]} < 0 ? -{parts[0]} : {parts[0]})"
        name = {"abs": "fabs", "round": "rint", "int": "trunc"}.get(operator)
        if name is None or not self._is_float:
            return f"({ctype}){parts[0]}"
        return f"{self._function(name)}({parts[0]})"


def groups(nodes: Sequence[bm.Node], outputs: Sequence[bm.Value]) -> list[list[bm.Node]]:
    """Nodes, where elementwise ones of one shape that are read by the next one alone go together with it."""
    readers: dict[bm.Value, set[int]] = {}
    for node in nodes:
        for value in node.inputs:
            readers.setdefault(value, set()).add(id(node))
    wanted = set(outputs)
    places = {id(node): node for node in nodes}
    host: dict[int, int] = {}
    for node in reversed(nodes):
        if expression_of(node) is None or node.outputs[0] in wanted:
            continue
        reading = readers.get(node.outputs[0], set())
        reader = places[next(iter(reading))] if len(reading) == 1 else None
        if reader is not None and expression_of(reader) is not None:
            if reader.outputs[0].shape == node.outputs[0].shape:
                host[id(node)] = host.get(id(reader), id(reader))
    found: dict[int, list[bm.Node]] = {}
    for node in nodes:
        found.setdefault(host.get(id(node), id(node)), []).append(node)
    return [found[id(node)] for node in nodes if id(node) in found]


def write_group(
    emit: Emit, group: Sequence[bm.Node], given: dict[bm.Value, Array], constants: dict[bm.Value, Any]
) -> None:
    """One loop over what a group computes.

    Args:
        emit: where to.
        group: its nodes, the last of which has the output.
        given: the arrays that it reads.
        constants: the numbers that it reads.
    """
    y = emit.outputs[0]
    axes = _axes(y.shape, [array.shape for array in given.values()])
    with emit.loops([size for size, _ in axes]) as indices:
        flat = _index(indices, [steps[0] for _, steps in axes])
        places = {
            value: _index(indices, [steps[number + 1] for _, steps in axes])
            for number, value in enumerate(given)
        }
        count = itertools.count(1)

        def name() -> str:
            return f"v{next(count)}"

        texts: dict[bm.Value, str] = {}
        for value, array in given.items():
            texts[value] = name()
            emit.line(f"const {array.ctype} {texts[value]} = {array}[{places[value]}];")
        for node in group:
            scalar = _Scalar(emit, computed_in(node), name)
            result = expression_of(node)
            assert result is not None
            arguments = {"index": f"(({CTYPES[scalar.dtype]})({flat}))"}
            for number, value in enumerate(node.inputs):
                is_known = value in constants
                arguments[f"x{number}"] = literal(constants[value], value.dtype) if is_known else texts[value]
            found = scalar.written(result, arguments)
            output = node.outputs[0]
            texts[output] = found
            if output.dtype != scalar.dtype or result.is_condition:
                texts[output] = name()
                emit.line(f"const {CTYPES[output.dtype]} {texts[output]} = ({CTYPES[output.dtype]}){found};")
        emit.line(f"{y}[{flat}] = {texts[group[-1].outputs[0]]};")


def _axes(shape: tuple[int, ...], others: Sequence[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    """The axes of a loop, neighbours joined where all arrays allow it: sizes, and the steps of each array."""
    found: list[tuple[int, tuple[int, ...]]] = []
    wide = [(1,) * (len(shape) - len(other)) + other for other in others]
    steps = [
        strides(shape),
        *(
            tuple(0 if size == 1 else step for size, step in zip(other, strides(other), strict=True))
            for other in wide
        ),
    ]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        here = tuple(step[axis] for step in steps)
        if found and all(before == step * size for before, step in zip(found[-1][1], here, strict=True)):
            found[-1] = found[-1][0] * size, here
        else:
            found.append((size, here))
    return found


def _index(indices: Sequence[str], steps: Sequence[int]) -> str:
    terms = [
        name if step == 1 else f"{name} * {step}"
        for name, step in zip(indices, steps, strict=True)
        if step != 0
    ]
    return " + ".join(terms) or "0"
