"""Scalar functions as source text: one Python function of numbers becomes part of any kernel, in any number
type.

An elementwise op is given by a plain function of numbers. Its text is parsed and put into the kernel's loop,
with two
changes: numbers written in it take the kernel's type (Numba would compute `1 + x` in float64 for a float32
    `x`), and functions of
`math` are renamed, so that each device puts its own in their place.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import inspect
import math
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES, FLOATS
from bigmodel_core.kernels.definition import FUNCTIONS, Definition, Scalar, definition

CONVERTERS: dict[str, Any] = {
    dtype.converter: bool if dtype.kind == "bool" else dtype.scalar
    for dtype in DTYPES.values()
    if dtype.is_computed
}
"""What converts a number to a type in generated source, by the name it has there."""


@dataclass
class Inlined:
    """A scalar function ready to be put into a kernel.

    Args:
        parameters: names of its arguments.
        expression: the result, when the function is a single `return`; arguments appear by name.
        name: otherwise, the name of the helper function to call.
        helpers: source text of helper functions, by name.
        math_names: the functions of `math` that it calls, with their number type; `m_exp_float32` stands for
            `math.exp`.
        objects: Python objects to put into the kernel's globals, by name.
    """

    parameters: tuple[str, ...]
    expression: ast.expr | None
    name: str
    helpers: dict[str, str] = field(default_factory=dict)
    math_names: set[tuple[str, str]] = field(default_factory=set)
    objects: dict[str, Any] = field(default_factory=dict)

    def call(self, arguments: dict[str, str]) -> str:
        """The function applied to expressions, as source."""
        if self.expression is None:
            return f"{self.name}({', '.join(arguments[name] for name in self.parameters)})"
        return ast.unparse(
            _Substitute(arguments).visit(ast.parse(ast.unparse(self.expression), mode="eval").body)
        )


@functools.lru_cache(4096)
def parameters(function: Scalar) -> tuple[str, ...]:
    """The names of a function's arguments."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return tuple(inspect.signature(function).parameters)
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])  # many times faster


@functools.cache
def inline(function: Scalar, dtype: str) -> Inlined:
    """Prepare a scalar function for kernels that compute in a number type.

    Raises:
        KernelError: the function refers to something that a kernel cannot hold.
    """
    name = f"{getattr(function, '__name__', 'scalar').strip('<>')}_{dtype}"
    found = definition(function)
    if found is None:  # no source, as in an interactive session: Numba takes the function as it is
        return Inlined(parameters(function), None, name, objects={name: function})
    result = Inlined(parameters(function), None, name)
    typed = _Typed(found, dtype, result)
    body = [typed.visit(copy.deepcopy(statement)) for statement in found.statements]
    if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
        result.expression = ast.fix_missing_locations(body[0].value)
        return result
    helper = ast.parse(f"def {name}({', '.join(result.parameters)}): pass").body[0]
    assert isinstance(helper, ast.FunctionDef)
    helper.body = body
    result.helpers[name] = ast.unparse(ast.fix_missing_locations(helper))
    return result


class _Substitute(ast.NodeTransformer):
    def __init__(self, arguments: dict[str, str]) -> None:
        self.arguments = arguments

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.arguments:
            return ast.parse(self.arguments[node.id], mode="eval").body
        return node


class _Typed(ast.NodeTransformer):
    """Gives numbers the kernel's type and resolves names outside the function."""

    def __init__(self, found: Definition, dtype: str, result: Inlined) -> None:
        self.found, self.dtype, self.result = found, dtype, result
        self.local = set(found.function.__code__.co_varnames)
        self.outer = found.outer()

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return self._number(node.value)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        node.left = self.visit(node.left)
        whole = isinstance(node.right, ast.Constant) and isinstance(node.right.value, int)
        if not (isinstance(node.op, ast.Pow) and whole):  # x ** 2 is a product, x ** 2.0 a call of pow
            node.right = self.visit(node.right)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id not in self.local:
            owner = self.outer.get(node.value.id)
            if isinstance(owner, ModuleType) and hasattr(owner, node.attr):
                return self._resolved(node, f"{node.value.id}_{node.attr}", getattr(owner, node.attr))
        raise self.found.error(node, f"uses '{ast.unparse(node)}', which a kernel cannot hold")

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.local or not isinstance(node.ctx, ast.Load):
            return node
        if node.id not in self.outer:
            raise self.found.error(
                node, f"uses the unknown name '{node.id}'", "define it at the top of the file."
            )
        return self._resolved(node, node.id, self.outer[node.id])

    def _number(self, value: float) -> ast.expr:
        if self.dtype == "bool" or (self.dtype not in FLOATS and isinstance(value, float)):
            return ast.Constant(value)
        return ast.Call(ast.Name(DTYPES[self.dtype].converter, ast.Load()), [ast.Constant(value)], [])

    def _resolved(self, node: ast.expr, name: str, value: Any) -> ast.expr:
        if isinstance(value, (bool, np.bool_)):
            return ast.Constant(bool(value))
        if isinstance(value, (int, float, np.integer, np.floating)):
            number = value.item() if isinstance(value, np.generic) else value
            if not math.isfinite(number):
                self.result.objects[f"c_{name}"] = number
                return ast.Name(f"c_{name}", ast.Load())
            return self._number(number)
        own_name = getattr(value, "__name__", "")
        if getattr(math, own_name, None) is value and own_name in FUNCTIONS:
            kind = self.dtype if self.dtype in FLOATS else "float64"
            self.result.math_names.add((own_name, kind))
            return ast.Name(f"m_{own_name}_{kind}", ast.Load())
        if isinstance(value, FunctionType):
            helper = inline(value, self.dtype)
            self._take(helper)
            if helper.expression is not None:
                text = (
                    f"def {helper.name}({', '.join(helper.parameters)}):\n    return"
                    f" {ast.unparse(helper.expression)}"
                )
                self.result.helpers[helper.name] = text
            return ast.Name(helper.name, ast.Load())
        if getattr(builtins, name, None) is value:
            return ast.Name(name, ast.Load())
        raise self.found.error(node, f"uses '{name}', a {type(value).__name__}, which a kernel cannot hold")

    def _take(self, other: Inlined) -> None:
        self.result.helpers.update(other.helpers)
        self.result.math_names |= other.math_names
        self.result.objects.update(other.objects)
