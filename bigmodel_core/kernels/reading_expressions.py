"""Reads the expressions in a scalar function: Python's operators, and what it calls."""

from __future__ import annotations

import ast
import builtins
import functools
import itertools
import math
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.definition import BUILTINS, FUNCTIONS, Definition, Scalar
from bigmodel_core.kernels.expressions import Algebra, Expression

_BINARY: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}
_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_WITHOUT = "write the gradient as an op of its own and return it from `grad`."

Names = dict[str, Expression]


class ExpressionReader:
    """Reads the expressions of a function.

    Args:
        found: the function.
        algebra: makes what is read.
        depth: how many helper functions are around it.
    """

    def __init__(self, found: Definition, algebra: Algebra, depth: int) -> None:
        self.found, self.algebra, self.depth = found, algebra, depth
        self.outer = found.outer()

    def refuse(self, node: ast.AST, what: str) -> KernelError:
        return self.found.error(node, f"{what}, of which nothing can be derived", _WITHOUT)

    def inside(
        self, node: ast.Call, function: Scalar, items: list[Expression], words: dict[str, Expression]
    ) -> Expression:
        """What a helper function returns for arguments."""
        raise NotImplementedError

    def condition(self, node: ast.expr, names: Names) -> Expression:
        """An expression as something true or false: a number is true if it is not 0."""
        return self._truth(self.value(node, names))

    def _truth(self, found: Expression) -> Expression:
        if found.is_condition:
            return found
        if found.operator == "number":
            return self.algebra.number(bool(found.value))
        return self.algebra.make("!=", found, self.algebra.number(0))

    def value(self, node: ast.expr, names: Names) -> Expression:
        """What an expression computes."""
        if isinstance(node, ast.Constant):
            return self._constant(node, node.value)
        if isinstance(node, ast.Name):
            return self._name(node, names)
        if isinstance(node, ast.Attribute):
            return self._constant(node, self._resolved(node))
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            sign, compute = _BINARY[type(node.op)]
            return self._folded(sign, compute, self.value(node.left, names), self.value(node.right, names))
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, names)
        if isinstance(node, ast.BoolOp):
            return self._joined(node, names)
        if isinstance(node, ast.Compare) and all(type(item) in _COMPARED for item in node.ops):
            sides = [self.value(item, names) for item in (node.left, *node.comparators)]
            parts = [
                self.algebra.make(_COMPARED[type(sign)], *pair)
                for sign, pair in zip(node.ops, itertools.pairwise(sides), strict=True)
            ]
            return functools.reduce(self.algebra.both, parts)
        if isinstance(node, ast.IfExp):
            condition = self.condition(node.test, names)
            return self.algebra.where(condition, self.value(node.body, names), self.value(node.orelse, names))
        if isinstance(node, ast.Call):
            return self._call(node, names)
        raise self.refuse(node, f"uses `{ast.unparse(node)}`")

    def _folded(self, sign: str, compute: Callable[..., Any], *items: Expression) -> Expression:
        if all(item.operator == "number" for item in items):
            try:
                value = compute(*(item.value for item in items))
            except (ArithmeticError, ValueError):
                value = None
            if isinstance(value, (int, float)):
                return self.algebra.number(value)
        return self.algebra.make(sign, *items)

    def _unary(self, node: ast.UnaryOp, names: Names) -> Expression:
        if isinstance(node.op, ast.Not):
            condition = self.condition(node.operand, names)
            known = isinstance(condition.value, bool)
            return self.algebra.number(not condition.value) if known else self.algebra.make("not", condition)
        found = self.value(node.operand, names)
        if isinstance(node.op, ast.Invert):
            raise self.refuse(node, "uses bits of integers")
        return found if isinstance(node.op, ast.UAdd) else self._folded("negative", operator.neg, found)

    def _joined(self, node: ast.BoolOp, names: Names) -> Expression:
        """`and` and `or`: of numbers they give one of them, as in Python."""
        items = [self.value(item, names) for item in node.values]
        is_and = isinstance(node.op, ast.And)
        result = items[-1]
        for item in reversed(items[:-1]):
            if item.is_condition and result.is_condition:
                result = self.algebra.make("and" if is_and else "or", item, result)
            else:
                ways = (result, item) if is_and else (item, result)
                result = self.algebra.where(self._truth(item), *ways)
        return result

    def _name(self, node: ast.Name, names: Names) -> Expression:
        if node.id in names:
            return names[node.id]
        if node.id in self.found.function.__code__.co_varnames:
            raise self.found.error(
                node,
                f"uses '{node.id}', which not every way to here gives a value",
                "give it a value before the branches.",
            )
        return self._constant(node, self._resolved(node))

    def _resolved(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in self.outer:
            return self.outer[node.id]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = self.outer.get(node.value.id)
            if isinstance(owner, types.ModuleType) and hasattr(owner, node.attr):
                return getattr(owner, node.attr)
        raise self.found.error(
            node, f"uses the unknown name '{ast.unparse(node)}'", "define it at the top of the file."
        )

    def _constant(self, node: ast.expr, value: Any) -> Expression:
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (bool, int, float)):
            return self.algebra.number(value)
        raise self.found.error(node, f"uses '{ast.unparse(node)}', a {type(value).__name__}")

    def _call(self, node: ast.Call, names: Names) -> Expression:
        function = self._resolved(node.func)
        items = [self.value(item, names) for item in node.args]
        words = {item.arg: self.value(item.value, names) for item in node.keywords if item.arg}
        name = getattr(function, "__name__", "")
        if isinstance(function, types.FunctionType):
            return self.inside(node, function, items, words)
        if words:
            raise self.found.error(
                node, "passes an argument by its name to a function of Python", "pass it by position."
            )
        if name in FUNCTIONS and getattr(math, name) is function:
            expected = 2 if name in ("atan2", "copysign", "fmod", "pow") else 1
            if len(items) != expected:
                raise self.found.error(
                    node, f"passes {len(items)} arguments to math.{name}", f"pass {expected}."
                )
            return (
                self._folded("**", operator.pow, *items)
                if name == "pow"
                else self._folded(name, function, *items)
            )
        if name in BUILTINS and getattr(builtins, name) is function and items:
            return self._builtin(node, name, function, items)
        raise self.refuse(node, f"calls {ast.unparse(node.func)}")

    def _builtin(self, node: ast.Call, name: str, function: Any, items: list[Expression]) -> Expression:
        if name in ("max", "min") and len(items) > 1:
            return functools.reduce(lambda a, b: self._folded(name, function, a, b), items)
        if name == "pow" and len(items) == 2:
            return self._folded("**", operator.pow, *items)
        if len(items) != 1 or name in ("max", "min", "pow"):
            raise self.found.error(node, f"passes {len(items)} arguments to {name}")
        return self._truth(items[0]) if name == "bool" else self._folded(name, function, *items)
