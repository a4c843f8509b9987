"""Reads the Python of a scalar function as one expression of its arguments.

Branches become choices, local names disappear, helper functions are put in their place, and loops over
a fixed range are written out: what is left can be differentiated, and written in other ways.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.definition import Scalar, check, definition
from bigmodel_core.kernels.expressions import Algebra, Expression
from bigmodel_core.kernels.reading_expressions import ExpressionReader, Names
from bigmodel_core.kernels.scalar import parameters

MOST_STEPS = 64
"""Loops of more steps are not written out."""
DEEPEST = 16
"""How deep helpers may call helpers."""


@dataclass(frozen=True)
class Read:
    """A scalar function as an expression.

    Args:
        parameters: the names of its arguments.
        result: what it computes.
        algebra: what made the expression, and makes more of it.
        origin: how messages call the function: its name, file and line.
    """

    parameters: tuple[str, ...]
    result: Expression
    algebra: Algebra
    origin: str


@functools.lru_cache(1024)
def read(function: Scalar) -> Read:
    """What a scalar function computes.

    Raises:
        KernelError: it is not one expression; the message names the file and line, and the mend.
    """
    check(function)
    found = definition(function)
    if found is None:
        raise KernelError(
            f"the source of the scalar function '{function.__name__}' is not at hand, so that nothing can be"
            " derived from it.",
            fix="put the function into a file; or define grad and onnx in the op.",
        )
    algebra, names = Algebra(), parameters(function)
    reader = _Reader(found, algebra, 0)
    result = reader.returned(found.statements, {name: algebra.argument(name) for name in names}, found.tree)
    return Read(names, result, algebra, f"'{found.name}' ({found.at(found.tree)})")


class _Reader(ExpressionReader):
    """Reads one function."""

    # Statements -------------------------------------------------------------------------------------------

    def returned(self, statements: Sequence[ast.stmt], names: Names, last: ast.AST) -> Expression:
        """What statements return.

        Args:
            statements: in order.
            names: what local names stand for; it is changed.
            last: where a message points if nothing is returned.
        """
        for number, statement in enumerate(statements):
            rest = statements[number + 1 :]
            if isinstance(statement, ast.Return):
                assert statement.value is not None
                return self.value(statement.value, names)
            if isinstance(statement, ast.If):
                condition = self.condition(statement.test, names)
                if isinstance(condition.value, bool):
                    chosen = statement.body if condition.value else statement.orelse
                    return self.returned([*chosen, *rest], names, last)
                if _returns(statement):
                    then = self.returned([*statement.body, *rest], dict(names), statement)
                    otherwise = self.returned([*statement.orelse, *rest], dict(names), statement)
                    return self.algebra.where(condition, then, otherwise)
                self._branches(statement, condition, names)
            elif isinstance(statement, ast.For):
                if _returns(statement):
                    raise self.refuse(statement, "returns from a loop")
                self._written_out(statement, names)
            else:
                self._assigned(statement, names)
        raise self.found.error(
            last, "returns nothing where it comes to its end", "return a number on every way through it."
        )

    def _assigned(self, statement: ast.stmt, names: Names) -> None:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                self._bind(target, statement.value, names)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._bind(statement.target, statement.value, names)
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            load = ast.copy_location(ast.Name(statement.target.id, ast.Load()), statement)
            value = ast.copy_location(ast.BinOp(load, statement.op, statement.value), statement)
            names[statement.target.id] = self.value(value, names)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return
        elif not isinstance(statement, ast.Pass):
            word = type(statement).__name__.lower()
            raise self.refuse(statement, f"has a `{word}`")

    def _bind(self, target: ast.expr, value: ast.expr, names: Names) -> None:
        if isinstance(target, ast.Name):
            names[target.id] = self.value(value, names)
            return
        if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)) or len(target.elts) != len(
            value.elts
        ):
            raise self.refuse(target, "assigns to something else than names")
        found = [self.value(item, names) for item in value.elts]
        for item, expression in zip(target.elts, found, strict=True):
            if not isinstance(item, ast.Name):
                raise self.refuse(item, "assigns to something else than names")
            names[item.id] = expression

    def _branches(self, statement: ast.If, condition: Expression, names: Names) -> None:
        """Names after an `if`: each is chosen; one that only a branch gives is forgotten."""
        ways = []
        for body in (statement.body, statement.orelse):
            way = dict(names)
            self._run(body, way)
            ways.append(way)
        names.clear()
        for name in ways[0].keys() & ways[1].keys():
            names[name] = self.algebra.where(condition, ways[0][name], ways[1][name])

    def _run(self, statements: Sequence[ast.stmt], names: Names) -> None:
        for statement in statements:
            if isinstance(statement, ast.If):
                condition = self.condition(statement.test, names)
                if isinstance(condition.value, bool):
                    self._run(statement.body if condition.value else statement.orelse, names)
                else:
                    self._branches(statement, condition, names)
            elif isinstance(statement, ast.For):
                self._written_out(statement, names)
            else:
                self._assigned(statement, names)

    def _written_out(self, statement: ast.For, names: Names) -> None:
        assert isinstance(statement.iter, ast.Call)
        bounds = [self.value(item, names) for item in statement.iter.args]
        fixed = all(item.operator == "number" and isinstance(item.value, int) for item in bounds)
        if not fixed or statement.orelse or not isinstance(statement.target, ast.Name):
            raise self.refuse(statement, "has a loop whose steps are not fixed")
        steps = range(*(item.value for item in bounds))
        if len(steps) > MOST_STEPS:
            raise self.refuse(statement, f"has a loop of more than {MOST_STEPS} steps")
        for step in steps:
            names[statement.target.id] = self.algebra.number(step)
            self._run(statement.body, names)

    # Helpers --------------------------------------------------------------------------------------

    def inside(
        self, node: ast.Call, function: Scalar, items: list[Expression], words: dict[str, Expression]
    ) -> Expression:
        """A call of a helper function: what it returns for these arguments."""
        helper = definition(function)
        if helper is None or self.depth >= DEEPEST:
            raise self.refuse(node, f"calls {function.__name__}, which calls itself or has no source at hand")
        try:
            bound = inspect.signature(function).bind(*items, **words)
        except TypeError as error:
            raise self.found.error(node, f"calls {function.__name__} wrongly: {error}") from None
        bound.apply_defaults()
        inner = _Reader(helper, self.algebra, self.depth + 1)
        given = {
            name: value if isinstance(value, Expression) else inner._constant(node, value)
            for name, value in bound.arguments.items()
        }
        return inner.returned(helper.statements, given, helper.tree)


def _returns(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Return) for node in ast.walk(statement))
