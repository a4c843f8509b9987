"""No module imports, through others, itself: at its top, or when one of its functions runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT, ROOT / "plugins", ROOT / "exporters"]
CORE = "bigmodel_core"

OPERATORS = ("bigmodel_core.graph.operations", "bigmodel_core.ops")
"""The one circle: `x + y` on values makes ops, and ops are made of values."""


def modules() -> dict[str, Path]:
    """All modules of the core, the plugins and the exporters by name; packages go by their own names."""
    found = {}
    for source in SOURCES:
        for path in source.glob("bigmodel_*/**/*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, known: dict[str, Path]) -> set[str]:
    """The known modules that a module imports when it or one of its functions runs; what stands under
    `if TYPE_CHECKING` never does."""
    found: set[str] = set()
    for node in running(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{item.name}" for item in node.names}
            found |= {name if name in known else str(node.module) for name in names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found |= {str(item.value) for item in node.args if isinstance(item, ast.Constant)}
    return found & set(known)


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from running(ast.Module(node.orelse, []))
        else:
            yield node
            yield from running(node)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, in the order in which they import each other; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    found = {name: imports(path.read_text("utf-8"), known) - {name} for name, path in known.items()}
    # The package itself looks its names up where they are; whoever imports a module of it imports it first.
    del found[CORE]
    return {name: others - {CORE} for name, others in found.items()}


def test_operators_on_values_are_the_one_circle(graph: dict[str, set[str]]) -> None:
    operations, ops = OPERATORS
    assert ops in graph[operations]
    graph[operations].discard(ops)
    assert " imports ".join(circle(graph)) == ""


def test_circles_are_found_wherever_an_import_stands() -> None:
    known = dict.fromkeys(("a", "a.b", "c"), Path())
    assert imports("from a import b", known) == {"a.b"}
    assert imports("from a import x", known) == {"a"}
    assert imports("def f():\n    import c", known) == {"c"}
    assert imports("importlib.import_module('c')", known) == {"c"}
    assert imports("if TYPE_CHECKING:\n    import c\nelse:\n    import a", known) == {"a"}
    assert circle({"a": {"c"}, "c": {"a.b"}, "a.b": {"a"}}) in (
        ["a", "c", "a.b", "a"],
        ["c", "a.b", "a", "c"],
        ["a.b", "a", "c", "a.b"],
    )
