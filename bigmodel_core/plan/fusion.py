"""Fusion: chains of elementwise ops over one iteration space become one kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bigmodel_core.errors import KernelError
from bigmodel_core.graph import Node, Value
from bigmodel_core.graph.dtypes import FLOATS
from bigmodel_core.graph.spec import Dim, Shape, dim_product
from bigmodel_core.kernels.fused import Chain, Elementwise, Part, Space, space
from bigmodel_core.kernels.scalar import parameters

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device
    from bigmodel_core.plan.program import Program

MAX_PARTS = 48
"""Chains are cut at this length: longer ones only spill registers and compile slowly."""


def fuse(nodes: Sequence[Node], program: Program) -> list[list[Node]]:
    """Group nodes into those that become one kernel each, in an order of their first nodes.

    A group holds elementwise nodes of one output shape; it never needs something that is computed from it
    outside."""
    kernel_of = program.device.kernel_of
    sources = {node.index: [program.root(value).node.index for value in node.inputs] for node in nodes}
    group_of: dict[int, int] = {}
    groups: dict[int, list[Node]] = {}
    for node in nodes:
        kernel = kernel_of(node)
        group_of[node.index] = node.index
        groups[node.index] = [node]
        if not isinstance(kernel, Elementwise):
            continue
        for value in node.inputs:
            if value.node.index not in group_of:
                continue
            other, mine = group_of[value.node.index], group_of[node.index]
            if other == mine or not isinstance(kernel_of(value.node), Elementwise):
                continue
            if value.shape != node.outputs[0].shape or len(groups[other]) + len(groups[mine]) > MAX_PARTS:
                continue
            if not _joinable(groups[other], groups[mine], groups, group_of, sources):
                continue
            merged = sorted(groups[other] + groups[mine], key=lambda item: item.index)
            keep = min(other, mine)
            for number in {other, mine} - {keep}:
                del groups[number]
            groups[keep] = merged
            for member in merged:
                group_of[member.index] = keep
    return list(groups.values())


def _joinable(
    a: list[Node],
    b: list[Node],
    groups: dict[int, list[Node]],
    group_of: dict[int, int],
    sources: Mapping[int, Sequence[int]],
) -> bool:
    """Whether no way leads from one group to the other through a third: joined, they would wait for
    themselves. `sources` are the nodes that a node reads the memory of."""
    members = {node.index for node in (*a, *b)}
    oldest = min(members)
    stack = [
        source
        for node in (*a, *b)
        for source in sources[node.index]
        if source not in members and source in group_of
    ]
    seen: set[int] = set()
    while stack:
        group = group_of[stack.pop()]
        if group in seen:
            continue
        seen.add(group)
        for node in groups[group]:
            for source in sources[node.index]:
                if source in members:
                    return False
                if source in group_of and groups[group_of[source]][-1].index > oldest:
                    stack.append(source)
    return True


@dataclass(frozen=True)
class Fused:
    """A chain with the shapes it is computed over.

    Args:
        chain: the program.
        space: its iteration space.
        shape: the shape of its outputs.
        operands: the shapes of its operands.
    """

    chain: Chain
    space: Space
    shape: Shape
    operands: tuple[Shape, ...]

    def overwriting(self, result: int, operand: int) -> Fused:
        """The same with one result written into an operand's memory."""
        results = list(self.chain.results)
        results[result] = (results[result][0], operand)
        return replace(self, chain=replace(self.chain, results=tuple(results)))

    def looking_at(self, result: int) -> Fused:
        """The same, reporting where numbers of a result are NaN or infinite once they are written."""
        return replace(self, chain=replace(self.chain, watched=(*self.chain.watched, result)))

    def on_tiles(self, matrix: Shape) -> Space | None:
        """The iteration space as (rows, columns) of a matrix that one operand is; None if it is no such
        space."""
        if (
            not matrix
            or matrix[-1] == 1
            or self.shape[-1:] != matrix[-1:]
            or dim_product(self.shape) != dim_product(matrix)
        ):
            return None
        columns = matrix[-1]
        lead = space(self.shape[:-1], [_lead(shape) for shape in self.operands])
        if len(lead.axes) > 1:
            return None
        rows: Dim = lead.axes[0] if lead.axes else 1
        varies = tuple(
            (bool(lead.varies[number]) and lead.varies[number][0], shape[-1:] == (columns,))
            for number, shape in enumerate(self.operands)
        )
        return Space((rows, columns), varies)


def _lead(shape: Shape) -> Shape:
    return shape[:-1]


def fused_program(
    group: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value], device: Device
) -> Fused | None:
    """The chain of a group of elementwise nodes; None if the group is one node with a kernel of its
    own."""
    if not isinstance(device.kernel_of(group[0]), Elementwise):
        return None
    shape = group[0].outputs[0].shape
    reduced = space(shape, [value.shape for value in inputs])
    numbers = {id(value): number for number, value in enumerate(inputs)}
    parts: list[Part] = []
    for node in group:
        kernel = device.kernel_of(node)
        assert isinstance(kernel, Elementwise)
        names = parameters(kernel.function)[len(node.inputs) :]
        attributes = []
        for name in names:
            if name == "index":
                continue
            if not hasattr(node.op, name):
                raise KernelError(
                    f"the scalar function '{kernel.function.__name__}' takes '{name}', which is no attribute"
                    f" of {type(node.op).__name__}.",
                    fix=(
                        "its arguments are one number from each input, then fields of the op by name, and"
                        " `index`."
                    ),
                )
            attributes.append((name, getattr(node.op, name)))
        operands = tuple(numbers[id(value)] for value in node.inputs)
        output = node.outputs[0]
        numbers[id(output)] = len(inputs) + len(parts)
        parts.append(Part(kernel.function, operands, tuple(attributes), output.dtype, _compute_type(node)))
    last = [bool(pattern) and pattern[-1] for pattern in reduced.varies]
    chain = Chain(
        tuple((value.dtype, varies) for value, varies in zip(inputs, last, strict=True)),
        tuple(parts),
        tuple((numbers[id(value)] - len(inputs), -1) for value in outputs),
        max(len(reduced.axes), 2),
    )
    return Fused(chain, reduced, shape, tuple(value.shape for value in inputs))


def _compute_type(node: Node) -> str:
    output = node.outputs[0].dtype
    if output in FLOATS:
        return output
    return next((value.dtype for value in node.inputs if value.dtype in FLOATS), None) or (
        output if output != "bool" or not node.inputs else node.inputs[0].dtype
    )
