"""Plans on the CPU: every step becomes rows of one table, which one native call walks through."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.graph import Constant, Input, Value, Variable
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine import runner
from bigmodel_core.kernels.cpu.engine.compile_ahead import compile_ahead
from bigmodel_core.kernels.cpu.engine.launch import ALIGNMENT, PADDING, CpuBuffer, CpuLaunch, kernels_of
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.plan import clock
from bigmodel_core.plan.bound import SMALLER
from bigmodel_core.plan.capacity import refused_politely
from bigmodel_core.plan.changes import LATEST
from bigmodel_core.plan.cpu_program import CpuProgram
from bigmodel_core.plan.failures import Unproven, error_of
from bigmodel_core.plan.steps import Step
from bigmodel_core.plan.variables import Variables

if TYPE_CHECKING:
    from bigmodel_core.plan.cpu import CpuDevice, HostArray
    from bigmodel_core.plan.program import Program


class CpuPlan:
    """A program bound to sizes: one table, one block of memory, which the program's plans use in turns.

    Args:
        device: where it runs.
        program: what to compute.
        sizes: the sizes of named dimensions.
        variables: the arrays that live across runs; the plan refers to their memory.
    """

    copied = 8192
    """Bytes of an input up to which it is copied: that takes less time than finding its address."""

    def __init__(
        self, device: CpuDevice, program: Program, sizes: Mapping[str, int], variables: Variables
    ) -> None:
        self.device, self.program, self.sizes = device, program, dict(sizes)
        self._variables = variables
        self._keep: list[HostArray] = []
        self._status = np.zeros(8, np.int64)
        self._inputs: dict[str, tuple[CpuBuffer, Spec]] = {}
        self._staging: dict[str, tuple[np.ndarray, int]] = {}
        """By input the array that is copied to where kernels cannot read the caller's, and its address."""
        bound = CpuProgram(program, self.sizes, self._leaf, CpuBuffer(64, self._status.ctypes.data))
        self._place_buffers(bound)
        self._write_tables(bound)
        self._writer = program.writer if program.updates else None
        for variable in program.updates:
            variables.stored(path_of(variable)).written_by(program.writer)
        self._views = [array_on(bound.spec(value), bound.buffer(value)) for value in program.outputs]
        self._direct = self._readable_in_place(bound)

    def _leaf(self, value: Value, spec: Spec) -> CpuBuffer:
        """The memory of an input, variable or constant."""
        op = value.node.op
        if isinstance(op, Input):
            buffer = CpuBuffer(spec.nbytes)
            self._inputs[op.name] = buffer, spec
            return buffer
        if isinstance(op, Variable):
            memory = self._variables.memory(op.path)
        else:
            assert isinstance(op, Constant)
            memory = self.device.allocate(op.array)
        self._keep.append(memory)
        return CpuBuffer(memory.array.nbytes, memory.address)

    def _place_buffers(self, bound: CpuProgram) -> None:
        """Give every temporary, and every input behind them, its place in one block of memory."""
        places, total = bound.places()
        for buffer, _ in self._inputs.values():
            places.append((buffer, total))
            total += -(-(buffer.nbytes + PADDING) // ALIGNMENT) * ALIGNMENT
        self.nbytes = total
        with refused_politely(total, f"a run at {bound.described()} needs", SMALLER, bound.largest()):
            self.arena = self.device.arenas.of(self.program, total)
        self._keep_memory(bound)
        for buffer, offset in places:
            buffer.address = self.arena.memory.address + offset
        for name, (buffer, spec) in self._inputs.items():
            self._staging[name] = array_on(spec, buffer), buffer.address

    def _keep_memory(self, bound: CpuProgram) -> None:
        """Give what is kept memory that plans for other sizes use, too, where they compute the same."""
        kept, memory = bound.kept, self.device.kept_of(self.program)
        leaves: dict[int, object] = {id(bound.status): "status"}
        for key, value in bound.unchanging_leaves().items():
            of_variable = isinstance(value.node.op, Variable)
            leaves[key] = (id(self._variables), path_of(value)) if of_variable else value.node.op
        names = memory.names(kept, leaves)
        self.kept_nbytes = kept.nbytes
        with refused_politely(kept.nbytes, "the weights as kernels read them need", SMALLER):
            for buffer in kept.buffers:
                found = memory.of(names[id(buffer)], buffer.nbytes)
                buffer.address = found.address
                self._keep.append(found)
        self._sources = [
            self._variables.stored(path_of(value))
            for value in bound.unchanging_leaves().values()
            if kept.rows and isinstance(value.node.op, Variable)
        ]

    def _write_tables(self, bound: CpuProgram) -> None:
        """Lay the launches out for the native calls, everything compiled."""
        once, each = ([launch for _, launch in rows] for rows in (bound.kept.rows, bound.rows))
        compile_ahead((*kernels_of([*once, *each]), runner.RUN, runner.WORK))
        self._row_steps = [bound.step_of(*row) for row in bound.rows]
        self._kept_steps = [bound.step_of(*row) for row in bound.kept.rows]
        self._table = self._table_of(each, self._row_steps)
        self._kept_table = self._table_of(once, self._kept_steps) if once else None
        self._seen = -1 if once else None
        self._found: list[list[int]] = []

    def _table_of(self, launches: list[CpuLaunch], steps: list[Step]) -> Table:
        return Table(launches, [buffer for buffer, _ in self._inputs.values()], self._status)

    def _readable_in_place(self, bound: CpuProgram) -> set[str]:
        """The inputs that kernels may read where the caller has them: read to their end only, no outputs."""
        copied = {id(self.program.root(value)) for value in self.program.outputs}
        copied |= _read_past(self.program, bound.sizes)
        return {name for name, value in self.program.inputs.items() if id(value) not in copied}

    # Running ---------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run once; returns copies of the outputs."""
        try:
            with self.arena.lock:
                self.execute(inputs)
                return [view.copy() for view in self._views]
        except Unproven:
            return self.program.exact().plan(self._variables, self.sizes).run(inputs)

    def execute(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Run once, leaving the outputs in the plan's memory; the caller holds the arena's lock."""
        if self._seen is not None and self._seen != LATEST.number:
            self._compute_kept()
        for name, (target, address) in self._staging.items():
            array = inputs.get(name)
            if array is None:
                target[...] = 0
            elif (
                name in self._direct
                and type(array) is np.ndarray
                and array.nbytes > self.copied
                and array.dtype == target.dtype
                and array.flags.c_contiguous
            ):
                address = array.__array_interface__["data"][0]
            else:
                target[...] = array
            self._table.move(self._inputs[name][0], address)
        try:
            row = self._table.run() if clock.current is None else clock.current.run(self, self._table)
        finally:
            if self._writer is not None:
                self._writer.has_written()
        if row >= 0:
            self._raise(self._row_steps, row)

    def _compute_kept(self) -> None:
        """Compute anew what is kept, if a variable that it depends on has changed.

        What is written meanwhile, by another thread, has another number and is seen in the next run."""
        latest = LATEST.number
        found = [stored.changes() for stored in self._sources]
        if self._seen == -1 or found != self._found:
            assert self._kept_table is not None
            row = self._kept_table.run()
            if row >= 0:
                self._raise(self._kept_steps, row)
        self._seen, self._found = latest, found

    def _raise(self, steps: list[Step], row: int) -> None:
        status = self._status.copy()
        self._status[:] = 0
        raise error_of(steps[row], status)


def path_of(variable: Value) -> str:
    """The path of a variable."""
    assert isinstance(variable.node.op, Variable)
    return variable.node.op.path


def array_on(spec: Spec, buffer: CpuBuffer) -> np.ndarray:
    """An array on a plan's memory."""
    raw = (ctypes.c_uint8 * spec.nbytes).from_address(buffer.address)
    return np.frombuffer(raw, spec.dtype).reshape(spec.sizes)  # type: ignore[call-overload]  # NumPy's stubs know no dtype by a plain str


def _read_past(program: Program, sizes: Mapping[str, int]) -> set[int]:
    """The ids of the values behind whose end kernels of a program read."""
    found: set[int] = set()
    parts = (part for step in program.steps for part in step.parts() if part.fused is None)
    for part in parts:
        kernel, node = program.device.kernel_of(part.node), part.node
        positions = kernel.over_reads(node.op, [value.spec.bind(sizes) for value in node.inputs])
        if (body := program.bodies.get(node.index)) is not None:
            inner = _read_past(body, sizes)
            positions = tuple(int(name) for name, value in body.inputs.items() if id(value) in inner)
        found |= {id(program.root(node.inputs[position])) for position in positions}
    return found
