"""Loops compute no more than what something needs, and once what several of them compute alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bigmodel_core.graph import Body, Node, Value, between
from bigmodel_core.ops.scan import Scan
from bigmodel_core.plan.passes import Computation, replaced

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device

Result = tuple[str, Any]
"""An output of a loop: ("carried", its position), or ("step", what the body computes)."""


def loops_united(computation: Computation, device: Device) -> Computation:
    """Loops over the same graph and the same inputs are one: that of a model, and those that keep more of it
    for gradients. What nothing needs of their results is left out, such as the gradient of the data."""
    loops = [node for node in computation.nodes if isinstance(node.op, Scan) and node.inputs]
    if not loops:
        return computation
    wanted = {value for node in computation.nodes for value in node.inputs}
    wanted |= {*computation.outputs, *computation.updates.values(), *computation.guards}
    groups: dict[Any, list[Node]] = {}
    for node in loops:
        groups.setdefault(_in_common(node), []).append(node)
    unions = {node.index: _Union(members, wanted) for members in groups.values() for node in members}
    made: dict[int, dict[Result, Value]] = {}

    def rule(node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
        union = unions.get(node.index)
        if union is None:
            return None
        first = union.first.index
        if first not in made:
            made[first] = union.applied(inputs)
        found = made[first]
        anything = next(iter(found.values()))  # in the place of what nothing needs
        return [found.get(result, anything) for result in _results(node)]

    return replaced(computation, rule)


def _in_common(node: Node) -> Any:
    """What loops that can be one have in common."""
    op = node.op
    assert isinstance(op, Scan)
    core = Body(op.body.graph, op.body.inputs, op.body.outputs[: op.carries])
    return replace(op, body=core), tuple(map(id, node.inputs))


def _results(node: Node) -> list[Result]:
    """The outputs of a loop, one after the other."""
    op = node.op
    assert isinstance(op, Scan)
    carried: list[Result] = [("carried", number) for number in range(op.carries)]
    return [*carried, *(("step", value) for value in op.body.outputs[op.carries :])]


class _Union:
    """What some loops compute together, as far as something needs it."""

    def __init__(self, loops: Sequence[Node], wanted: Collection[Value]) -> None:
        self.first = loops[0]
        op = self.first.op
        assert isinstance(op, Scan)
        self.op = op
        needed = dict.fromkeys(
            result
            for node in loops
            for result, value in zip(_results(node), node.outputs, strict=True)
            if value in wanted
        )
        self.steps = [value for kind, value in needed if kind == "step"]
        self.carried = sorted(value for kind, value in needed if kind == "carried")
        body = op.body
        while True:
            outputs = [*(body.outputs[number] for number in self.carried), *self.steps]
            nodes = between((), outputs)
            read = {value for node in nodes for value in node.outputs}
            self.inputs = [
                number
                for number, value in enumerate(body.inputs)
                if value in read or (number < op.carries and number in self.carried)
            ]
            carried = [number for number in self.inputs if number < op.carries]
            if carried == self.carried:
                break
            self.carried = carried
        self.body = Body.of([body.inputs[number] for number in self.inputs], outputs)

    def applied(self, inputs: Sequence[Value]) -> dict[Result, Value]:
        """The loop over values of another graph, and its outputs."""
        first = self.op.carries + self.op.xs
        carries = len(self.carried)
        xs = sum(self.op.carries <= number < first for number in self.inputs)
        op = replace(self.op, body=self.body, carries=carries, xs=xs)
        given = [inputs[number] for number in self.inputs]
        outputs = inputs[0].node.graph.apply(op, given).outputs
        results: list[Result] = [("carried", number) for number in self.carried]
        results += [("step", value) for value in self.steps]
        return dict(zip(results, outputs, strict=True))
