"""The gate before all updates of variables: what it checks, and what waits for it.

The gate stops a run before anything is overwritten, unless certain numbers are finite: the loss, the
gradients. Most are looked at one by one. A gradient that is a product of two far smaller matrices is consumed
tile by tile, after the gate, and never is in memory as a whole: no number of it is larger than the length
of its sums times the largest number of either matrix, and those two are looked at instead. Where that bound
is too large to prove anything, the run is repeated, from the same variables, by a program that takes nothing
for granted (`Program.exact`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node, Value, needed
from bigmodel_core.graph.spec import Dim, dim_names, dim_value
from bigmodel_core.ops.gate import Bound, Gate

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program

USUAL_SIZE = 64
"""A size of free dimensions at which it is judged, whatever the batch, whether two matrices are far smaller
than their product: 64 rows of a batch, 64 steps of 64 sequences."""


def gate_of(program: Program) -> Node:
    """The gate of a program with guards, added to its graph."""
    users: dict[int, list[Node]] = {}
    for node in program.nodes:
        for value in node.inputs:
            users.setdefault(id(program.root(value)), []).append(node)
    measured: dict[Value, int] = {}
    bounds = []
    for guard in program.guards:
        operands, factor = _proof(program, program.root(guard), users)
        for value in operands:
            measured.setdefault(value, len(measured))
        bounds.append(Bound(tuple(measured[value] for value in operands), factor))
    return program.graph.apply(Gate(tuple(dict.fromkeys(bounds)), program.is_exact), list(measured))


def waiting_for(program: Program, gate: Node) -> Iterator[Node]:
    """The products that run after the gate, since their operands were checked instead of them."""
    checked = set(gate.inputs)
    for guard in program.guards:
        root = program.root(guard)
        if root not in checked:
            yield root.node


def _proof(program: Program, guard: Value, users: Mapping[int, list[Node]]) -> tuple[tuple[Value, ...], Dim]:
    """The values whose magnitudes, times a factor, bound a guard's: those of a product that is finished tile
    by tile and whose readers may run on each tile; otherwise the guard itself."""
    node = guard.node
    alone: tuple[tuple[Value, ...], Dim] = (guard,), 1
    if program.is_exact:
        return alone
    factor = node.op.terms(*(value.spec for value in node.inputs))
    if factor is None or not program.device.kernel_of(node).writes_tiles:
        return alone
    operands = tuple(program.root(value) for value in node.inputs)
    readers = users.get(id(guard), [])
    if not readers or any(guard is program.root(value) for value in program.outputs):
        return alone
    if any(reader.op.alias or not program.device.kernel_of(reader).is_elementwise for reader in readers):
        return alone
    if not _far_smaller(node, factor) or any(node is earlier for earlier in needed(operands)):
        return alone
    return operands, factor


def _far_smaller(product: Node, terms: Dim) -> bool:
    """Whether to read the operands costs less than to write, read and read again what is computed of them,
    and to keep them less memory.

    Args:
        product: a product of two matrices.
        terms: the length of its sums.
    """
    *lead, rows, columns = product.outputs[0].shape
    if lead or not isinstance(rows, int) or not isinstance(columns, int):
        return False
    usual = max(USUAL_SIZE, dim_value(terms, dict.fromkeys(dim_names(terms), USUAL_SIZE)))
    return rows * columns > usual * (rows + columns)
