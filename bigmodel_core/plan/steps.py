"""Steps: the nodes of a program grouped into what runs as one, elementwise chains above all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node, Value
from bigmodel_core.ops.gate import Copy
from bigmodel_core.plan.fusion import Fused, fused_program
from bigmodel_core.plan.guard import gate_of
from bigmodel_core.plan.kernel_table import needs_kernel

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


@dataclass(eq=False)
class Step:
    """One thing a plan does: a kernel of one op, or a fused chain of elementwise ops.

    Args:
        nodes: the node, or those of the chain.
        inputs: what it reads.
        outputs: what it writes.
        fused: the chain's program, None for a single kernel.
        writes: for outputs that become the new value of a variable in place, the variable, by the output's
            position.
        epilogue: what runs on each tile of this step's output right after it is written; it may have an
            epilogue, too.
        takes: for outputs in the memory of a value that nothing else needs any more, that value, by the
            output's position.
        beside: steps that are run together with this one, each on its own: none needs another.
        is_unchanging: whether it computes the same in each run, until a variable changes.
    """

    nodes: list[Node]
    inputs: list[Value]
    outputs: list[Value]
    fused: Fused | None = None
    writes: dict[int, Value] = field(default_factory=dict)
    epilogue: Step | None = None
    takes: dict[int, Value] = field(default_factory=dict)
    beside: list[Step] = field(default_factory=list)
    is_unchanging: bool = False

    def chain(self) -> Iterator[Step]:
        """The step and its epilogues, in order."""
        at: Step | None = self
        while at is not None:
            yield at
            at = at.epilogue

    def parts(self) -> Iterator[Step]:
        """This step, its epilogues, and the steps beside it."""
        for member in (self, *self.beside):
            yield from member.chain()

    @property
    def node(self) -> Node:
        """The node that gives the step its place in error messages."""
        return self.nodes[-1]

    @property
    def ops(self) -> str:
        """The names of its ops, as in "Multiply+Add"."""
        return "+".join(type(node.op).__name__ for node in self.nodes)

    def __repr__(self) -> str:
        return " | ".join(" -> ".join(part.ops for part in member.chain()) for member in (self, *self.beside))


def grouped(program: Program) -> list[Step]:
    """The steps of a program in no particular order, its gate last."""
    steps: list[Step] = []
    gate = gate_of(program) if program.guards else None
    checked = gate.inputs if gate else ()
    outside = {id(program.root(value)) for value in (*program.outputs, *program.updates.values(), *checked)}
    plain = [node for node in program.nodes if needs_kernel(node.op)]
    users: dict[int, list[Node]] = {}
    for node in plain:
        for value in node.inputs:
            users.setdefault(id(program.root(value)), []).append(node)
    for group in program.device.passes.grouping(plain, program):
        members = {node.index for node in group}
        outputs = [
            value
            for node in group
            for value in node.outputs
            if id(value) in outside or any(user.index not in members for user in users.get(id(value), []))
        ]
        if not outputs:
            outputs = list(group[-1].outputs)
        read = (value for node in group for value in node.inputs if value.node.index not in members)
        inputs = list(dict.fromkeys(read))
        elementwise = fused_program(group, inputs, outputs, program.device)
        if elementwise is None:
            outputs = list(group[0].outputs)
        steps.append(Step(group, inputs, outputs, elementwise))
        steps[-1].is_unchanging = id(outputs[0]) in program.unchanging
    if gate is not None:
        program.roots.update({id(value): value for value in gate.outputs})
        steps.append(Step([gate], list(gate.inputs), list(gate.outputs)))
    return steps


def copy_step(program: Program, variable: Value, value: Value) -> Step:
    """A copy of a value into a variable's memory."""
    node = program.graph.apply(Copy(), (value,))
    for output in node.outputs:
        program.roots[id(output)] = output
    fused = fused_program([node], [value], list(node.outputs), program.device)
    return Step([node], [value], list(node.outputs), fused, {0: variable})
