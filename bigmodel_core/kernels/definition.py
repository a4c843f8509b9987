"""Where a scalar function is written: its syntax tree, its file and lines, and what it may be made of."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import KernelError

Scalar = Callable[..., Any]

FUNCTIONS = (
    *("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "pow", "fabs", "fmod"),
    *("copysign", "floor", "ceil", "trunc", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc"),
)  # fmt: skip
"""The functions of `math` that kernels of all devices have."""
BUILTINS = ("abs", "bool", "float", "int", "max", "min", "pow", "round")
"""The built-in functions that scalar functions may call."""

_MEND = (
    "use numbers, arguments, branches, plain helper functions, and of `math` " + ", ".join(FUNCTIONS) + "."
)
_OF_ARRAYS = "a scalar function gets one number from each input; bm.kernel takes functions of arrays."
_NUMBERS = "give each number a name of its own."
_TOP = "define helpers and import modules at the top of the file."
_NOT_HERE: dict[tuple[type[ast.AST], ...], tuple[str, str]] = {
    (ast.Try, ast.Raise, ast.Assert): (
        "an exception",
        "branch where an input is special, and return a number.",
    ),
    (ast.With, ast.JoinedStr, ast.Match, ast.NamedExpr): ("a `with`, `match`, `:=` or text", _MEND),
    (ast.Global, ast.Nonlocal, ast.Delete): ("a name of another scope", "assign to names of its own."),
    (ast.List, ast.Dict, ast.Set): ("a collection", _NUMBERS),
    (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp): ("a collection", _NUMBERS),
    (ast.Subscript, ast.Slice): ("an index", _OF_ARRAYS),
    (ast.MatMult,): ("`@`", _OF_ARRAYS),
    (ast.Yield, ast.YieldFrom, ast.Await): ("a generator", "return the number."),
    (ast.Import, ast.ImportFrom): ("an import", _TOP),
    (ast.Lambda, ast.FunctionDef, ast.ClassDef): ("a definition inside", _TOP),
    (ast.Starred,): ("`*`", "write the arguments out."),
    (ast.In, ast.NotIn, ast.Is, ast.IsNot): ("`in` or `is`", "compare numbers by ==, <, >."),
}
"""Python that scalar functions cannot hold, by syntax: what it is called, and the mend."""


@dataclass(frozen=True, eq=False)
class Definition:
    """A function as it is written.

    Args:
        function: the function.
        tree: its definition; a lambda's is an expression.
        file: where it is written.
        first: the line of that file at which line 1 of the tree is.
    """

    function: Any
    tree: ast.FunctionDef | ast.Lambda
    file: str
    first: int

    @property
    def name(self) -> str:
        """What the function is called."""
        return str(self.function.__name__)

    @property
    def statements(self) -> list[ast.stmt]:
        """Its statements, without a docstring; of a lambda, a `return`."""
        if isinstance(self.tree, ast.Lambda):
            return [ast.copy_location(ast.Return(self.tree.body), self.tree.body)]
        body = self.tree.body
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        return body

    def outer(self) -> dict[str, Any]:
        """What names outside of the function stand for, those of Python's own included."""
        closure = inspect.getclosurevars(self.function)
        return {**closure.builtins, **self.function.__globals__, **closure.nonlocals}

    def at(self, node: ast.AST) -> str:
        """The file and line of a part of it."""
        return f"{self.file}, line {getattr(node, 'lineno', 1) + self.first - 1}"

    def error(self, node: ast.AST, what: str, fix: str = _MEND) -> KernelError:
        """The error for a part of the function.

        Args:
            node: the part.
            what: what is wrong with it, as in "uses a list, which ...".
            fix: the mend.
        """
        line = f"\n    {ast.unparse(node).splitlines()[0]}" if isinstance(node, (ast.stmt, ast.expr)) else ""
        return KernelError(f"the scalar function '{self.name}' ({self.at(node)}) {what}.{line}", fix=fix)


@functools.lru_cache(4096)
def definition(function: Scalar) -> Definition | None:
    """The definition of a function; None if its source is not at hand, as in an interactive session."""
    text = getattr(function, "source", None)  # of one that was derived
    if text is not None:
        tree = ast.parse(text).body[0]
        assert isinstance(tree, ast.FunctionDef)
        return Definition(function, tree, function.__code__.co_filename, 1)
    for lines, first, file in _sources(function):
        try:
            tree_of_lines = ast.parse(textwrap.dedent("".join(lines)))
        except SyntaxError:
            continue
        found = [node for node in ast.walk(tree_of_lines) if _is_of(node, function, first)]
        if len(found) > 1:
            found = [node for node in found if _compiles_to(node, function.__code__)]
        if len(found) == 1:
            assert isinstance(found[0], (ast.FunctionDef, ast.Lambda))
            return Definition(function, found[0], file, first)
    return None


def _sources(function: Scalar) -> Iterator[tuple[list[str], int, str]]:
    """Lines that hold a function, the number of the first, their file: its own lines, then the whole file."""
    try:
        code = function.__code__  # that of a decorator's function, if there is one, and not what it wraps
        lines, first = inspect.getsourcelines(code)
        file = inspect.getsourcefile(code) or "?"
        shown = str(Path(file).resolve())
        yield lines, max(first, 1), shown
        yield inspect.findsource(code)[0], 1, shown
    except (OSError, TypeError, IndexError):
        return


def _is_of(node: ast.AST, function: Scalar, first: int) -> bool:
    """Whether a part of a file is the definition of a function."""
    code = function.__code__
    if isinstance(node, ast.FunctionDef):
        lines = [node.lineno, *(item.lineno for item in node.decorator_list)]
        return node.name == code.co_name and code.co_firstlineno in (line + first - 1 for line in lines)
    is_lambda = isinstance(node, ast.Lambda) and code.co_name == "<lambda>"
    return is_lambda and getattr(node, "lineno", 0) + first - 1 == code.co_firstlineno


def _compiles_to(node: ast.AST, code: types.CodeType) -> bool:
    """Whether a lambda is that of a function, of several on one line."""
    assert isinstance(node, ast.Lambda)
    constants = compile(ast.Expression(node), "", "eval").co_consts
    made = next(item for item in constants if isinstance(item, types.CodeType))
    return all(
        getattr(made, name) == getattr(code, name) for name in ("co_varnames", "co_names", "co_consts")
    )


@functools.lru_cache(4096)
def check(function: Scalar) -> None:
    """Refuse a scalar function that no kernel can hold, as soon as it is given.

    Loops over `range` and `while` are fine in a kernel. Names that are not defined yet are left to later.

    Raises:
        KernelError: it names the file and line, what is there and the mend.
    """
    if not isinstance(function, types.FunctionType):
        raise KernelError(
            f"bm.elementwise takes a Python function of numbers, not {function!r}.",
            fix="pass the function itself, such as `def swish(x, beta): ...` or a lambda.",
        )
    found = definition(function)
    if found is None:
        return
    if function.__code__.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise found.error(found.tree, "takes any number of arguments", "name one for each input and field.")
    outer, own = found.outer(), set(function.__code__.co_varnames)
    for statement in found.statements:
        for node in ast.walk(statement):
            _check_node(found, node, outer, own)
    if not isinstance(found.tree, ast.Lambda) and not any(
        isinstance(node, ast.Return) for node in ast.walk(found.tree)
    ):
        raise found.error(found.tree, "returns nothing", "return the number that it computes.")


def _check_node(found: Definition, node: ast.AST, outer: dict[str, Any], own: set[str]) -> None:
    signs = node.ops if isinstance(node, ast.Compare) else [node.op] if isinstance(node, ast.BinOp) else []
    for kinds, (what, fix) in _NOT_HERE.items():
        if any(isinstance(item, kinds) for item in (node, *signs)):
            raise found.error(node, f"uses {what}, which a kernel cannot hold", fix)
    if isinstance(node, ast.Constant) and not isinstance(node.value, (bool, int, float)):
        raise found.error(node, f"uses {node.value!r}, which is no number")
    if isinstance(node, ast.Return) and (node.value is None or isinstance(node.value, ast.Tuple)):
        what = "nothing" if node.value is None else "several numbers"
        raise found.error(node, f"returns {what}", "return the one number that it computes.")
    if isinstance(node, ast.For):
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise found.error(node, "loops over something else than range(...)", "loop over range(count).")
    if isinstance(node, ast.Call):
        _check_call(found, node, outer, own)
    elif isinstance(node, ast.Attribute):
        _check_attribute(found, node, outer, own)
    elif isinstance(node, ast.Name) and node.id not in own and node.id in outer:
        value = outer[node.id]
        if not isinstance(value, (bool, int, float, np.generic, types.ModuleType)) and not callable(value):
            what = f"uses '{node.id}', a {type(value).__name__}, which a kernel cannot hold"
            raise found.error(node, what, "pass numbers as fields of the op.")


def _check_attribute(found: Definition, node: ast.Attribute, outer: dict[str, Any], own: set[str]) -> None:
    """Names of modules are fine, such as `math.pi`; numbers have no attributes."""
    name = node.value.id if isinstance(node.value, ast.Name) else ""
    if name in own or (name in outer and not isinstance(outer[name], types.ModuleType)) or not name:
        what = f"uses {ast.unparse(node)}, an attribute, which a kernel cannot hold"
        raise found.error(node, what, "numbers have none; pass numbers as fields of the op.")


def _check_call(found: Definition, node: ast.Call, outer: dict[str, Any], own: set[str]) -> None:
    if isinstance(node.func, ast.Name):
        if node.func.id in own or node.func.id not in outer:
            return
        value = outer[node.func.id]
    elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        owner = outer.get(node.func.value.id)
        if node.func.value.id in own or owner is None:
            raise found.error(node, f"calls {ast.unparse(node.func)}, a method", _OF_ARRAYS)
        value = getattr(owner, node.func.attr, None)
    else:
        raise found.error(node, f"calls {ast.unparse(node.func)}, which is no function's name")
    name = getattr(value, "__name__", "")
    if isinstance(value, types.FunctionType):
        if value is not found.function:
            check(value)
        return
    if getattr(math, name, None) is value and value is not None:
        if name in FUNCTIONS:
            return
        raise found.error(node, f"calls math.{name}, which kernels do not have")
    if name in (*BUILTINS, "range") and getattr(builtins, name) is value:
        return
    near = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "fabs", "absolute": "fabs"}.get(
        name, name
    )
    fix = f"call math.{near}." if near in FUNCTIONS else _MEND
    raise found.error(node, f"calls {ast.unparse(node.func)}, which kernels do not have", fix)
