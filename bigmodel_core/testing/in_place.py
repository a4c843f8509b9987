"""Ops whose output takes over the memory of an input: they give the same as with memory of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel_core.graph import Graph, Node
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.outputs import listed
from bigmodel_core.plan import Program, Variables
from bigmodel_core.plan.device import Device


@dataclass
class InPlace:
    """An op that works in place.

    Args:
        name: of the op.
        inside: a program in which its output takes over the memory of an input.
        outside: one in which the input is still needed, as an output more.
        given: what both read.
    """

    name: str
    inside: Program
    outside: Program
    given: Mapping[str, np.ndarray]

    def check(self) -> None:
        """Raise AssertionError if the two programs give other bits."""
        variables = Variables(self.inside.device)
        found, usual = self.inside.run(variables, self.given), self.outside.run(variables, self.given)
        if any(one.tobytes() != other.tobytes() for one, other in zip(found, usual, strict=False)):
            raise AssertionError(
                f"{self.name}: the result is another where the output takes over the memory of an input"
                " (in_place): a kernel reads there what it has overwritten"
            )


def in_place(
    device: Device,
    nodes: Sequence[Node],
    given: Mapping[str, np.ndarray],
    state: Mapping[str, np.ndarray],
) -> list[InPlace]:
    """Those nodes of a graph that can work in place.

    Args:
        device: where.
        nodes: applications of ops.
        given: the inputs of the graph by name.
        state: its variables by path.
    """
    found = []
    for node in nodes:
        position = device.kernel_of(node).in_place
        if position is None or not node.inputs[position].spec.is_float:
            continue
        before = Program(node.graph, node.inputs, device=device)
        variables = Variables(device)
        for path, array in state.items():
            variables.create(path, array)
        read = before.run(variables, {name: given[name] for name in given if name in before.inputs})
        # A kernel may take over what a step made: here that is the input with its sign changed.
        graph, names = Graph(), [f"input_{number}" for number in range(len(read))]
        with graph.active():
            values = [
                graph.input(name, Spec(array.shape, array.dtype.name))
                for name, array in zip(names, read, strict=True)
            ]
            made = values[position] = -values[position]
            outputs = listed(node.op(*values))
        inside = Program(graph, outputs, device=device)
        outside = Program(graph, [*outputs, made], device=device)
        if any(step.takes and step.fused is None for step in inside.steps):
            arrays = dict(zip(names, read, strict=True)) | {names[position]: -read[position]}
            found.append(InPlace(type(node.op).__name__, inside, outside, arrays))
    return found
