"""Activations that gradients need are computed again where the gradient of their input is, if little is lost:
what they are computed of is kept for that anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node, Value
from bigmodel_core.plan.passes import Computation, copied_inputs

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device

Users = Mapping[int, list[Node]]


def activations_again(computation: Computation, device: Device) -> Computation:
    """The output of an activation that its one reader and the gradient of that need is computed twice, the
    second time together with the gradient of the activation (`Op.with_forward`)."""
    gradients = _gradients(computation)
    if not gradients:
        return computation
    graph, new = copied_inputs(computation.graph)
    again: dict[int, Value] = {}

    def given(value: Value) -> Value:
        """What stands for an input of a node: an activation's output is the second one as soon as that can be
        computed, and so is a reshape of it."""
        output = _behind(value)
        node = gradients.get(id(output))
        if node is None or id(node.inputs[0]) not in new:
            return new[id(value)]
        if id(output) not in again:
            with graph.scope(node.path, node.layer):
                made = node.op.with_forward(*(new[id(operand)] for operand in node.inputs))
            assert made is not None
            again[id(output)], new[id(node.outputs[0])] = made
        return _reshaped(value, again[id(output)])

    def _reshaped(value: Value, root: Value) -> Value:
        if not value.node.op.alias:
            return root
        return graph.repeat(value.node, [_reshaped(value.node.inputs[0], root)]).outputs[0]

    for node in computation.nodes:
        if id(node.outputs[0]) in new:
            continue
        inputs = [new[id(value)] if node.op.alias else given(value) for value in node.inputs]
        if id(node.outputs[0]) in new:  # it was made with an activation that it needs itself
            continue
        with graph.scope(node.path, node.layer):
            found = graph.repeat(node, inputs).outputs
        new.update(zip((id(value) for value in node.outputs), found, strict=True))
    return computation.moved(graph, lambda value: new[id(value)])


def _gradients(computation: Computation) -> dict[int, Node]:
    """By the outputs of activations that are worth it, the nodes of their gradients."""
    pairs = [(node, forward) for node in computation.nodes if (forward := node.op.gradient_of()) is not None]
    if not pairs:
        return {}
    outputs = {(node.op, id(node.inputs[0])): node.outputs[0] for node in computation.nodes if node.inputs}
    users: dict[int, list[Node]] = {}
    for node in computation.nodes:
        for value in node.inputs:
            users.setdefault(id(value), []).append(node)
    asked = (*computation.outputs, *computation.updates.values(), *computation.guards)
    kept = {id(_behind(value)) for value in asked}
    found: dict[int, Node] = {}
    for node, forward in pairs:
        output = outputs.get((forward, id(node.inputs[1])))
        if output is None or id(output) in kept or id(output) in found:
            continue
        slope = _behind(node.inputs[0]).node
        late = [reader.index > slope.index for reader in _readers(output, users)]
        if late.count(False) == 1 and True in late:
            found[id(output)] = node
    return found


def _readers(value: Value, users: Users) -> Iterator[Node]:
    """The nodes that read a value or a reshape of it."""
    for node in users.get(id(value), ()):
        if node.op.alias:
            yield from _readers(node.outputs[0], users)
        else:
            yield node


def _behind(value: Value) -> Value:
    """A value, or what it is a reshape of."""
    while value.node.op.alias:
        value = value.node.inputs[0]
    return value
