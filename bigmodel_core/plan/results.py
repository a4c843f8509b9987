"""The memory of what a program gives: where it must not be that of something else, it is a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bigmodel_core.graph import LEAVES, Graph, Value
from bigmodel_core.ops.gate import Copy
from bigmodel_core.plan.values import root_of


def kept(graph: Graph, value: Value, new_of: Value | None, changing: Mapping[Value, Value]) -> Value:
    """A value as it was before the updates: a copy, where it is the memory of a variable that changes."""
    root = root_of(value)
    if root is new_of or root not in changing:
        return value
    return _copied(graph, value)


def made_apart(graph: Graph, values: Sequence[Value]) -> list[Value]:
    """Values that have memory of their own: copies of inputs, of constants, and of those that come twice."""
    seen: set[Value] = set()
    found = []
    for value in values:
        # A value that comes a third time is the copy of its copy: equal nodes are one.
        while isinstance((root := root_of(value)).node.op, LEAVES) or root in seen:
            value = _copied(graph, value)
        seen.add(root)
        found.append(value)
    return found


def _copied(graph: Graph, value: Value) -> Value:
    with graph.scope(value.node.path, value.node.layer):
        return graph.apply(Copy(), (value,)).outputs[0]
