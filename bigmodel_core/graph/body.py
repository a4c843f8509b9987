"""Graphs inside ops: what one step of a loop computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import GraphError
from bigmodel_core.graph.graph import Constant, Graph, Node, between, needed, place
from bigmodel_core.graph.op import Op
from bigmodel_core.graph.spec import Spec
from bigmodel_core.graph.value import Value


@dataclass(frozen=True, eq=False, repr=False)
class Body:
    """Outputs as a function of inputs. Two are equal if they are the same values of the same graph.

    Args:
        graph: where they are. It may grow; what is there stays.
        inputs: leaves (`Input`), each called by its position among the inputs of the op.
        outputs: what it computes of them.
    """

    graph: Graph
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @classmethod
    def of(cls, inputs: Sequence[Value], outputs: Sequence[Value]) -> Body:
        """What leads from some values of a graph to others, as a graph of its own.

        The inputs stand on their own even where one is computed from another; constants go along.
        """
        graph = Graph()
        made = [graph.input(str(number), value.spec) for number, value in enumerate(inputs)]
        new = dict(zip(map(id, inputs), made, strict=True))
        for node in between(inputs, outputs):
            with graph.scope(node.path, node.layer):
                copied = graph.repeat(node, [new[id(value)] for value in node.inputs]).outputs
            for old, value in zip(node.outputs, copied, strict=True):
                new.setdefault(id(old), value)
        return cls(graph, tuple(made), tuple(new[id(value)] for value in outputs))

    @property
    def nodes(self) -> list[Node]:
        """What it computes, in an order in which it can be."""
        return needed(self.outputs)

    def __repr__(self) -> str:
        return f"<Body: {len(self.nodes)} nodes>"

    def _key(self) -> tuple[Any, ...]:
        return id(self.graph), tuple(map(id, self.inputs)), tuple(map(id, self.outputs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def with_inner(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes, and those inside their ops."""
    for node in nodes:
        yield node
        body = node.op.inner()
        if body is not None:
            yield from with_inner(body.nodes)


class BodyGraph(Graph):
    """The graph of a body while it is built. Values of the graph around it may be used in it.

    Args:
        outer: the graph around it.

    Attributes:
        taken: by value of the graph around it, what stands for it here.
        is_closed: whether the body is done: nothing can be added to it any more.
    """

    def __init__(self, outer: Graph) -> None:
        self.outer: Graph = outer
        path, layer = outer.path, outer.layer
        super().__init__()
        self.path, self.layer = path, layer
        self.taken: dict[Value, Value] = {}
        self.is_closed = False

    # The layer whose call runs: layers enter and leave the outermost graph.

    @property
    def path(self) -> str:
        return self.outer.path

    @path.setter
    def path(self, path: str) -> None:
        self.outer.path = path

    @property
    def layer(self) -> str:
        return self.outer.layer

    @layer.setter
    def layer(self, layer: str) -> None:
        self.outer.layer = layer

    def apply(self, op: Op, inputs: Sequence[Any]) -> Node:
        if self.is_closed:
            raise GraphError(
                f"{type(op).__name__} was applied to a value of a body that is done, which is there at each"
                " step alone.",
                fix="return it from the body: the results of all steps come with those of the loop.",
                where=place(self.path, self.layer) or None,
            )
        return super().apply(op, inputs)

    def is_inside(self, other: Graph) -> bool:
        return self.outer is other or self.outer.is_inside(other)

    def here(self, value: Value) -> Value:
        if value.node.graph is self or not self.is_inside(value.node.graph):
            return super().here(value)
        if isinstance(value.node.op, Constant):
            return self.apply(value.node.op, ()).outputs[0]
        outer = self.outer.here(value)
        if outer not in self.taken:
            self.taken[outer] = super().input(f"outer {len(self.taken)}", outer.spec)
        return self.taken[outer]

    def input(self, name: str, spec: Spec) -> Value:
        """An array given at each run of the graph around it."""
        return self.here(self.outer.input(name, spec))

    def variable(self, path: str, spec: Spec) -> Value:
        """An array that lives across runs of the graph around it."""
        return self.here(self.outer.variable(path, spec))

    def given(self, name: str, spec: Spec) -> Value:
        """An input of the body."""
        return super().input(name, spec)
