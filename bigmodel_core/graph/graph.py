"""The graph: symbolic values, and the op applications they come from.

A `Graph` is a list of `Node`s in the order of their making, which is an order they can be computed in. An op
is a frozen dataclass: its fields are its attributes, and two applications of equal ops to the same values are
one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError, GraphError
from bigmodel_core.graph.op import Op, active_graph
from bigmodel_core.graph.operands import CONSTANTS, constant_array
from bigmodel_core.graph.spec import Spec
from bigmodel_core.graph.value import Value


@dataclass(frozen=True)
class Input(Op):
    """A leaf: an array given at each run."""

    name: str
    spec: Spec

    def infer(self, *inputs: Spec) -> Spec:
        return self.spec


@dataclass(frozen=True)
class Variable(Op):
    """A leaf: an array that lives across runs, such as a parameter or a part of an optimizer's state."""

    path: str
    spec: Spec

    def infer(self, *inputs: Spec) -> Spec:
        return self.spec


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """A leaf: an array that is part of the graph."""

    array: np.ndarray

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(self.array.shape, self.array.dtype.name)

    def _key(self) -> tuple[Any, ...]:
        return self.array.shape, self.array.dtype, self.array.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


LEAVES = (Input, Variable, Constant)


@dataclass(eq=False)
class Node:
    """One application of an op.

    Args:
        graph: where it belongs.
        op: what is applied.
        inputs: to what.
        path: the path of the layer that requested it; gradients carry the path of what they differentiate.
        layer: that layer's class name.
        index: its place in the graph.
    """

    graph: Graph
    op: Op
    inputs: tuple[Value, ...]
    path: str
    layer: str
    index: int
    outputs: tuple[Value, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.index}: {type(self.op).__name__} at {self.path or '/'}>"

    @property
    def place(self) -> str:
        """The layer as an error message names it: path and class."""
        return place(self.path, self.layer)


def place(path: str, layer: str) -> str:
    """A layer as an error message names it."""
    return f"{path} ({layer})" if path and layer else path or layer


class Graph:
    """A directed acyclic graph of op applications.

    >>> graph = Graph()
    >>> x = graph.input("x", Spec(("N", 3)))
    >>> (x + x).shape
    ('N', 3)
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.path: str = ""
        self.layer: str = ""
        self.recomputed: dict[int, int] = {}
        """By the index of a node whose outputs gradients are to compute again, the number of its part."""
        self._part: int | None = None
        self._known: dict[Any, Node] = {}

    def repeat(self, node: Node, inputs: Sequence[Value]) -> Node:
        """Add the application of a node of another graph to values of this one; shapes and types are checked
        only where they differ from those of the node's own inputs."""
        if any(new.spec != old.spec for new, old in zip(inputs, node.inputs, strict=True)):
            return self.apply(node.op, inputs)
        return self._once(node.op, inputs, [value.spec for value in node.outputs])

    def bound(self, node: Node, inputs: Sequence[Value], sizes: Mapping[str, int]) -> Node:
        """Add the application of a node of another graph with its named dimensions replaced by sizes."""
        return self._once(node.op.bind(sizes), inputs, [value.spec.bind(sizes) for value in node.outputs])

    def apply(self, op: Op, inputs: Sequence[Any]) -> Node:
        """Add one application; shapes and types are checked now."""
        for value in inputs:
            if not isinstance(value, Value):
                return self.apply(op, self.values(inputs, type(op).__name__))
            if value.node.graph is not self:
                return self.apply(op, [self.here(value) for value in inputs])
        key = self._key(op, inputs)
        found = self._known.get(key)
        if found is not None:
            return found
        try:
            specs = op.infer(*(value.spec for value in inputs))
        except BigmodelError as error:
            if error.where is None:
                error.where = place(self.path, self.layer) or None
            raise
        found = self._known[key] = self._added(op, inputs, (specs,) if isinstance(specs, Spec) else specs)
        return found

    def here(self, value: Value) -> Value:
        """A value of this graph, or what stands here for one of a graph around it.

        Raises:
            GraphError: it belongs to another graph.
        """
        if value.node.graph is not self:
            raise GraphError("values of two graphs were mixed.", where=place(self.path, self.layer) or None)
        return value

    def is_inside(self, other: Graph) -> bool:
        """Whether this graph is the body of an op of another one, or of one inside that."""
        return False

    def values(self, inputs: Sequence[Any], name: str) -> list[Value]:
        """What an op is applied to, with numbers and arrays as constants: floats take the float type of the
        Values among them (see `bigmodel_core.graph.operands`)."""
        floats = (value.dtype for value in inputs if isinstance(value, Value) and value.spec.is_float)
        dtype = next(floats, None)
        found = []
        for value in inputs:
            if isinstance(value, CONSTANTS):
                is_float = np.asarray(value).dtype.kind not in "bui"
                value = self.constant(constant_array(value, dtype if is_float else None))
            elif not isinstance(value, Value):
                raise GraphError(
                    f"{name} was applied to a {type(value).__name__}.",
                    fix="ops take Values, arrays and numbers.",
                    where=place(self.path, self.layer) or None,
                )
            found.append(value)
        return found

    @staticmethod
    def _key(op: Op, inputs: Sequence[Value]) -> Any:
        return op, type(op), tuple((value.node.index, value.number) for value in inputs)

    def _once(self, op: Op, inputs: Sequence[Value], specs: Sequence[Spec]) -> Node:
        key = self._key(op, inputs)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._added(op, inputs, specs)
        return found

    def _added(self, op: Op, inputs: Sequence[Value], specs: Sequence[Spec]) -> Node:
        node = Node(self, op, tuple(inputs), self.path, self.layer, len(self.nodes))
        node.outputs = tuple(Value(node, number, spec) for number, spec in enumerate(specs))
        self.nodes.append(node)
        if self._part is not None:
            self.recomputed[node.index] = self._part
        return node

    def input(self, name: str, spec: Spec) -> Value:
        """An array given at each run."""
        return self.apply(Input(name, spec), ()).outputs[0]

    def variable(self, path: str, spec: Spec) -> Value:
        """An array that lives across runs."""
        return self.apply(Variable(path, spec), ()).outputs[0]

    def constant(self, value: Any, dtype: str | None = None) -> Value:
        """An array that is part of the graph."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        return self.apply(Constant(array.reshape(np.shape(value))), ()).outputs[0]

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Nodes made inside are a part whose values gradients compute again, in place of keeping them; parts
        inside of parts belong to those."""
        before = self._part
        self._part = len(self.nodes) if before is None else before
        try:
            yield
        finally:
            self._part = before

    @contextmanager
    def repeating(self, part: int | None, known: dict[int, int]) -> Iterator[None]:
        """Nodes made inside belong to a part of another graph, as `recomputing` made it, or to none.

        Args:
            part: its number there.
            known: the numbers of parts here by those there; one that is met first is added.
        """
        before = self._part
        if before is None and part is not None:
            self._part = known.setdefault(part, len(self.nodes))
        try:
            yield
        finally:
            self._part = before

    @contextmanager
    def scope(self, path: str, layer: str) -> Iterator[None]:
        """Nodes made inside belong to this layer."""
        before = self.path, self.layer
        self.path, self.layer = path, layer
        try:
            yield
        finally:
            self.path, self.layer = before

    @contextmanager
    def active(self) -> Iterator[Graph]:
        """Ops without inputs that are made inside belong to this graph."""
        token = active_graph.set(self)
        try:
            yield self
        finally:
            active_graph.reset(token)


def needed(outputs: Sequence[Value]) -> list[Node]:
    """The nodes that the outputs depend on, in an order they can be computed in."""
    seen: set[int] = set()
    stack = [value.node for value in outputs]
    found = []
    while stack:
        node = stack.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        found.append(node)
        stack.extend(value.node for value in node.inputs)
    return sorted(found, key=lambda node: node.index)


def between(inputs: Iterable[Value], outputs: Iterable[Value]) -> list[Node]:
    """The nodes that compute some values from others, in an order they can be computed in; nothing that only
    those others need."""
    given = {id(value) for value in inputs}
    found: dict[int, Node] = {}
    stack = [value.node for value in outputs if id(value) not in given]
    while stack:
        node = stack.pop()
        if node.index not in found:
            found[node.index] = node
            stack.extend(value.node for value in node.inputs if id(value) not in given)
    return [found[index] for index in sorted(found)]
