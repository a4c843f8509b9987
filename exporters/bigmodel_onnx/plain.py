"""The structure of a file: its graph, and those in its nodes, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Structure = dict[str, Any]


def is_graph(value: Any) -> bool:
    """Whether an attribute is a graph; a dict of another kind is an array."""
    return isinstance(value, dict) and "nodes" in value


def inner_graphs(node: Structure) -> list[Structure]:
    """The graphs among the attributes of a node."""
    return [value for value in node["attributes"].values() if is_graph(value)]


def with_inner(nodes: Iterable[Structure]) -> Iterator[Structure]:
    """Nodes, and those in their graphs."""
    for node in nodes:
        yield node
        for graph in inner_graphs(node):
            yield from with_inner(graph["nodes"])


def read_by(graph: Structure) -> set[str]:
    """The names that the nodes of a graph read, and those of the graphs in it; its outputs are read, too."""
    nodes = list(with_inner(graph["nodes"]))
    inner = [inside for node in nodes for inside in inner_graphs(node)]
    return {
        *graph["outputs"],
        *(name for node in nodes for name in node["inputs"]),
        *(name for inside in inner for name in inside["outputs"]),
    }
