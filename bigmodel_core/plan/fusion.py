"""Fusion: a group of elementwise nodes over one iteration space is one kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node, Value
from bigmodel_core.graph.dtypes import FLOATS
from bigmodel_core.graph.spec import Dim, Shape, dim_product
from bigmodel_core.kernels.fused import Chain, Elementwise, Part, Space, check_arguments, space
from bigmodel_core.kernels.scalar import parameters

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device


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
        check_arguments(node.op, kernel.function, len(node.inputs))
        attributes = []
        for name in names:
            if name == "index":
                continue
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
