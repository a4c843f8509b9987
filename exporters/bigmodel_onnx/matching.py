"""What a pattern of ops finds: the nodes of the graph that one operator of the file stands for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from bigmodel_core.graph import Node, Value
from bigmodel_core.ops import shape


@dataclass
class Match:
    """What to write for a node.

    Args:
        node: the node.
        sources: the values it is computed from.
        lower: writes it, given the emitter and the names of the sources; returns the outputs' names.
        others: further nodes that are written together with it; their outputs' names follow.
    """

    node: Node
    sources: tuple[Value, ...]
    lower: Callable[..., Any]
    others: tuple[Node, ...] = field(default=())

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The values that are written."""
        return tuple(value for node in (self.node, *self.others) for value in node.outputs)


class Uses:
    """How often each value is used.

    Args:
        nodes: the nodes of the model.
        outputs: the values that leave it.
    """

    def __init__(self, nodes: Collection[Node], outputs: Collection[Value]) -> None:
        self._counts: dict[int, int] = {}
        for value in [value for node in nodes for value in node.inputs]:
            self._counts[id(value)] = self._counts.get(id(value), 0) + 1
        for value in outputs:
            self._counts[id(value)] = 2

    def once(self, value: Value) -> bool:
        """Whether only one node reads it, and nobody outside."""
        return self._counts.get(id(value), 0) <= 1


def before_broadcast(value: Value) -> Value:
    """The value before it was broadcast."""
    while isinstance(value.node.op, shape.BroadcastTo):
        value = value.node.inputs[0]
    return value
