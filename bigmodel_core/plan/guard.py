"""Ops that plans add of their own: the gate before all updates of variables, and a copy into a variable.

The gate stops a run before anything is overwritten, unless certain numbers are finite: the loss, the
gradients. Most are looked at one by one. A gradient that is a product of two far smaller matrices is consumed
tile by tile, after the gate, and never lies in memory as a whole: no number of it is larger than the length
of its sums times the largest number of either matrix, and those two are looked at instead. Where that bound
is too large to prove anything, the run is repeated, from the same variables, by a program that takes nothing
for granted (`Program.exact`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node, Op, Value, needed
from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.graph.spec import Dim, Spec, dim_value
from bigmodel_core.kernels.cpu import gate as cpu_kernels
from bigmodel_core.kernels.cuda import gate as cuda_kernels
from bigmodel_core.kernels.fused import Elementwise, elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.plan.fusion import kernel_of

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program

USUAL_ROWS = 64
"""Rows of a batch from which it is judged, whatever the batch, whether two matrices are far smaller than
their product."""


@dataclass(frozen=True)
class Check:
    """What has to be modest: a factor times the largest magnitude of each of some of a gate's inputs.

    Args:
        inputs: positions.
        factor: how many such products are added up, a size that may depend on the batch's.
    """

    inputs: tuple[int, ...]
    factor: Dim = 1


@dataclass(frozen=True)
class Gate(Op):
    """Stops the run where a number is NaN or infinite, or where that cannot be told.

    Args:
        checks: what is checked, in the order in which a failure is reported.
        exact: whether the inputs are all there is to know: then any finite number will do.
    """

    checks: tuple[Check, ...]
    exact: bool = False
    cpu = cpu_kernels.gate
    cuda = cuda_kernels.gate

    def infer(self, *values: Spec) -> Spec:
        return Spec((), "int64")

    def bind(self, sizes: Mapping[str, int]) -> Gate:
        """The gate at some sizes."""
        return replace(self, checks=tuple(replace(c, factor=dim_value(c.factor, sizes)) for c in self.checks))

    def limit(self, dtype: str) -> float:
        """What numbers of a type have to be below."""
        return inf if self.exact else DTYPES[dtype].modest


def gate_of(program: Program) -> Node:
    """The gate of a program with guards, added to its graph."""
    users: dict[int, list[Node]] = {}
    for node in program.nodes:
        for value in node.inputs:
            users.setdefault(id(program.root(value)), []).append(node)
    measured: list[Value] = []
    checks = []
    for guard in program.guards:
        operands, factor = _proof(program, program.root(guard), users)
        for value in operands:
            if all(value is not known for known in measured):
                measured.append(value)
        checks.append(
            Check(tuple(next(n for n, m in enumerate(measured) if m is v) for v in operands), factor)
        )
    return program.graph.apply(Gate(tuple(dict.fromkeys(checks)), program.is_exact), measured)


def waiting_for(program: Program, gate: Node) -> Iterator[Node]:
    """The products that run after the gate, since their operands were checked instead of them."""
    for guard in program.guards:
        root = program.root(guard)
        if all(root is not value for value in gate.inputs):
            yield root.node


def _proof(program: Program, guard: Value, users: Mapping[int, list[Node]]) -> tuple[tuple[Value, ...], Dim]:
    """The values whose magnitudes, times a factor, bound a guard's: those of a product, or the guard."""
    node = guard.node
    alone: tuple[tuple[Value, ...], Dim] = (guard,), 1
    if program.is_exact or program.device.name != "cpu":
        return alone
    factor = node.op.terms(*(value.spec for value in node.inputs))
    if factor is None:
        return alone
    operands = tuple(program.root(value) for value in node.inputs)
    readers = users.get(id(guard), [])
    if not readers or any(guard is program.root(value) for value in program.outputs):
        return alone
    if not all(isinstance(kernel_of(reader, "cpu"), Elementwise) for reader in readers):
        return alone
    if not _far_smaller(node) or any(node is earlier for earlier in needed(operands)):
        return alone
    return operands, factor


def _far_smaller(product: Node) -> bool:
    """Whether to read the operands costs less than to write, read and read again what is computed of them."""
    *lead, rows, columns = product.outputs[0].shape
    if lead or not isinstance(rows, int) or not isinstance(columns, int):
        return False
    return rows * columns > USUAL_ROWS * (rows + columns)


@dataclass(frozen=True)
class Copy(ElementwiseOp):
    """The same numbers in other memory."""

    cpu, cuda = elementwise(lambda x: x)
