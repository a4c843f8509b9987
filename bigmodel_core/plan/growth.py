"""States that grow from call to call: none where nothing is kept, memory of a fixed capacity in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Node, Value
from bigmodel_core.graph.spec import Dim, Spec
from bigmodel_core.ops.attention import Attention
from bigmodel_core.ops.carried import appended_to, growing_axis
from bigmodel_core.ops.shape import broadcast_to
from bigmodel_core.ops.sizes import size_of
from bigmodel_core.ops.updates import UpdateSlice
from bigmodel_core.plan.passes import Computation, replaced

FILLED = "~filled"
"""The name of the input that says how many steps are remembered, a vector of one number."""


def without_past(computation: Computation) -> Computation:
    """The same where nothing is kept from call to call: what is appended to what grows is all of it."""
    if not any(map(appended_to, computation.nodes)):
        return computation
    return replaced(computation, lambda node, inputs: [inputs[1]] if appended_to(node) else None)


def settled(values: Sequence[Value]) -> list[Value]:
    """Some values of a graph where nothing is kept from call to call, as gradients need them: in the same
    graph if there is nothing to keep, else all in another."""
    found = without_past(Computation(values[0].node.graph, list(values), {}, ()))
    return list(found.outputs)


def added(values: Mapping[str, Value]) -> Dim | None:
    """How many steps a call adds to all states that grow; None if there are none.

    Args:
        values: the states for the next call, by path.

    Raises:
        GraphError: it adds more to one than to another.
    """
    found: dict[Dim, str] = {}
    for path, value in values.items():
        if appended_to(value.node):
            past, new = value.node.inputs
            found.setdefault(new.shape[_axis(past)], path)
    if len(found) > 1:
        (first, one), (second, other) = list(found.items())[:2]
        raise GraphError(
            f"a call adds {first} steps to {one}, and {second} to {other}.",
            fix="let all that a model remembers grow by as many steps.",
        )
    return next(iter(found), None)


def _axis(past: Value) -> int:
    axis = growing_axis(past.spec)
    assert axis is not None
    return axis


class Growth:
    """A rule for `replaced`: states that grow are variables of a fixed capacity, written in place.

    Args:
        states: what the variables look like, by path, those that do not grow, too.
    """

    def __init__(self, states: Mapping[str, Spec]) -> None:
        self.states = states
        self._grown: dict[int, Value] = {}

    def __call__(self, node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
        if (state := appended_to(node)) is not None:
            return [self._appended(node, state.path, inputs[1])]
        places = [place for place, value in enumerate(inputs) if id(value) in self._grown]
        if not places:
            return None
        if isinstance(node.op, Attention) and not node.op.has_lengths and 0 not in places:
            return self._attention(node.op, inputs)
        if all(inputs[place].dtype == "bool" for place in places):
            return None  # false behind what is there
        raise GraphError(
            f"{type(node.op).__name__} reads what is remembered, and cannot tell how much there is.",
            fix="let bm.ops.attention alone read it, as keys and values.",
            where=node.path or None,
        )

    def _appended(self, node: Node, path: str, new: Value) -> Value:
        axis = _axis(node.inputs[0])
        graph = new.node.graph
        start = graph.input(FILLED, Spec((1,), "int64"))
        found = UpdateSlice((axis,))(graph.variable(path, self.states[path]), new, start)
        self._grown[id(found)] = start + size_of(new, (axis,), "int64")
        return found

    def _attention(self, op: Attention, inputs: Sequence[Value]) -> Sequence[Value]:
        """Attention to as many keys as there are."""
        there = next(self._grown[id(value)] for value in inputs if id(value) in self._grown)
        place = 3 + op.has_mask + op.has_bias
        lengths = broadcast_to(there, (inputs[1].shape[0],))
        return replace(op, has_lengths=True)(*inputs[:place], lengths, *inputs[place:])
