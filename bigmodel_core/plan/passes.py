"""Passes: what a device does between a graph and the steps of a program, whatever the sizes.

A `Program` applies the passes of its device in three stages:

| stage | takes | gives |
| --- | --- | --- |
| `Passes.graph` | what is to be computed of a graph | the same numbers, computed of another graph |
| `Passes.grouping` | the nodes of that graph | groups of nodes, of which each becomes one step |
| `Passes.steps` | the steps in the order in which they run | steps, of which some run as one |

What depends on sizes comes later: the device binds the steps to them, and chooses launches and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bigmodel_core.errors import GraphError, KernelError
from bigmodel_core.graph import Graph, Input, Node, Op, Value, needed, parts_of
from bigmodel_core.plan.grouping import fuse
from bigmodel_core.plan.kernel_table import needs_kernel

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device
    from bigmodel_core.plan.program import Program
    from bigmodel_core.plan.steps import Step


@dataclass(frozen=True)
class Computation:
    """A graph, and what is to be computed of it.

    Args:
        graph: the graph.
        outputs: values to read out.
        updates: new values of variables, by path.
        guards: floats that must be finite.
    """

    graph: Graph
    outputs: Sequence[Value]
    updates: dict[str, Value]
    guards: Sequence[Value]

    @cached_property
    def nodes(self) -> list[Node]:
        """The nodes that it needs, in an order they can be computed in."""
        return needed([*self.outputs, *self.updates.values(), *self.guards])

    def moved(self, graph: Graph, new: Callable[[Value], Value]) -> Computation:
        """The same of another graph, in which `new` finds what stands for a value."""
        return Computation(
            graph,
            [new(value) for value in self.outputs],
            {path: new(value) for path, value in self.updates.items()},
            [new(value) for value in self.guards],
        )


GraphPass = Callable[[Computation, "Device"], Computation]
Grouping = Callable[[Sequence[Node], "Program"], list[list[Node]]]
StepPass = Callable[[list["Step"], "Program"], list["Step"]]


@dataclass(frozen=True)
class Passes:
    """The passes of a device.

    Args:
        graph: rewrites of the graph, applied in this order.
        grouping: which nodes become one step. The nodes of a group of several have elementwise kernels and
            outputs of one shape, and no way leads from one to another through a node outside.
        steps: rearrangements of the ordered steps, applied in this order.
    """

    graph: Sequence[GraphPass] = ()
    grouping: Grouping = fuse
    steps: Sequence[StepPass] = ()

    def rewritten(self, computation: Computation, device: Device) -> Computation:
        """A computation after all rewrites of the graph.

        Raises:
            GraphError: a pass changes the shape or number type of what is computed.
        """
        for rewrite in self.graph:
            before, computation = computation, rewrite(computation, device)
            _check_same(before, computation, getattr(rewrite, "__name__", repr(rewrite)))
        return computation


def _check_same(before: Computation, after: Computation, name: str) -> None:
    specs = [
        [value.spec for value in (*found.outputs, *found.updates.values(), *found.guards)]
        for found in (before, after)
    ]
    if specs[0] != specs[1] or list(before.updates) != list(after.updates):
        raise GraphError(
            f"the pass '{name}' changes what is computed: from {specs[0]} to {specs[1]}.",
            fix="give a value of the same shape and number type for each that was asked for, in order.",
        )


def replaced(
    computation: Computation, rule: Callable[[Node, Sequence[Value]], Sequence[Value] | None]
) -> Computation:
    """A computation with some nodes replaced.

    Args:
        computation: what is rewritten.
        rule: `rule(node, inputs)` gives what stands for the outputs of a node, `inputs` being its inputs in
            the new graph; None keeps the node.
    """
    graph, new = copied_inputs(computation.graph)
    for node in computation.nodes:
        if id(node.outputs[0]) in new:
            continue
        inputs = [new[id(value)] for value in node.inputs]
        with graph.scope(node.path, node.layer):
            found = rule(node, inputs)
            if found is None:
                found = graph.repeat(node, inputs).outputs
        new.update(zip((id(value) for value in node.outputs), found, strict=True))
    return computation.moved(graph, lambda value: new[id(value)])


def copied_inputs(old: Graph) -> tuple[Graph, dict[int, Value]]:
    """A new graph with the inputs of another, and these by the id of the old ones. Inputs that nothing reads
    go along: they may still give a size."""
    graph = Graph()
    inputs = [node for node in old.nodes if isinstance(node.op, Input)]
    return graph, {id(node.outputs[0]): graph.apply(node.op, ()).outputs[0] for node in inputs}


# Passes for any device --------------------------------------------------------------------------------------


def decomposed(computation: Computation, device: Device) -> Computation:
    """Ops that the device has no kernel for are computed by more elementary ones, where there is such a way
    (`Op.decomposed`)."""
    return _with_parts_of(computation, lambda node: _has_no_kernel(node, device))


def decomposed_but_images(computation: Computation, device: Device) -> Computation:
    """The same for all ops but those on images, whose parts depend on a layout that is still to be chosen."""
    return _with_parts_of(
        computation, lambda node: node.op.channels_last() is None and _has_no_kernel(node, device)
    )


def _has_no_kernel(node: Node, device: Device) -> bool:
    if not needs_kernel(node.op):
        return type(node.op).decomposed is not Op.decomposed
    try:
        device.kernel_of(node)
    except KernelError:
        return True
    return False


def _with_parts_of(computation: Computation, chosen: Callable[[Node], bool]) -> Computation:
    if not any(chosen(node) for node in computation.nodes):
        return computation
    return replaced(computation, lambda node, inputs: parts_of(node.op, inputs) if chosen(node) else None)


def selected_early(computation: Computation, device: Device) -> Computation:
    """What is spread over a larger array and then selected (`Op.selects`) is selected first: the gradient of
    a ReLU before a max-pool is taken on the windows, of which there are fewer than pixels."""
    if all(_early_choice(node.op.selects, node.inputs) is None for node in computation.nodes):
        return computation

    def rule(node: Node, inputs: Sequence[Value]) -> Sequence[Value] | None:
        choice = _early_choice(node.op.selects, inputs)
        if choice is None:
            return None
        spread = inputs[0].node
        small, *others = spread.inputs
        graph = spread.graph
        (selected,) = graph.apply(node.op, [small, choice]).outputs
        return graph.apply(spread.op, [selected, *others]).outputs

    return replaced(computation, rule)


def _early_choice(selects: bool, inputs: Sequence[Value]) -> Value | None:
    """What decides about the numbers that the first input spreads; None if nothing can be selected
    early."""
    if not selects:
        return None
    source, choice = inputs
    return source.node.op.at_targets(choice, *source.node.inputs)
