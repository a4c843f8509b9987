"""Plans on the CPU: every step becomes rows of one table, which one native call walks through."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Mapping

import numpy as np

from bigmodel_core.graph import Constant, Input, Value, Variable
from bigmodel_core.kernels.cpu import runner
from bigmodel_core.kernels.cpu.compile_ahead import compile_ahead
from bigmodel_core.kernels.cpu.launch import ALIGNMENT, PADDING, Buffer, Launch, kernels_of
from bigmodel_core.kernels.cpu.memory import SIZES
from bigmodel_core.kernels.cpu.table import Table
from bigmodel_core.plan.binding import nbytes
from bigmodel_core.plan.cpu_binding import Binding
from bigmodel_core.plan.device import Variables
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.program import Program, Unproven
from bigmodel_core.spec import Spec


class Memory:
    """An aligned piece of memory with padding behind it, and the array in it."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        nbytes = int(np.prod(shape, dtype=np.int64)) * SIZES[dtype]
        self._raw = np.zeros(nbytes + PADDING + ALIGNMENT, np.uint8)
        start = -self._raw.ctypes.data % ALIGNMENT
        self.array = self._raw[start : start + nbytes].view(np.dtype(dtype)).reshape(shape)
        self.address = self._raw.ctypes.data + start


class CpuDevice:
    """The processor this runs on."""

    name = "cpu"

    def allocate(self, array: np.ndarray) -> Memory:
        """Memory that starts with an array's numbers."""
        memory = Memory(array.shape, array.dtype.name)
        memory.array[...] = array
        return memory

    def read(self, memory: Memory) -> np.ndarray:
        """A copy of what memory holds."""
        return memory.array.copy()

    def write(self, memory: Memory, array: np.ndarray) -> None:
        """Overwrite memory, in place."""
        memory.array[...] = array

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> CpuPlan:
        """Bind a program to sizes."""
        return CpuPlan(program, sizes, variables)

    def listing(self, program: Program, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """What a plan would run; no memory is taken and nothing is compiled."""
        return Binding(program, sizes, lambda value, spec: Buffer(nbytes(spec)), Buffer(0)).listing()


CPU = CpuDevice()


class CpuPlan:
    """A program bound to sizes: one table, one block of memory.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        variables: the arrays that live across runs; the plan refers to their memory.
    """

    def __init__(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> None:
        self.program, self.sizes = program, dict(sizes)
        self._variables = variables
        self._keep: list[Memory] = []
        self._lock = threading.Lock()
        _plans.add(self)
        self._status = np.zeros(8, np.int64)
        self._staging: dict[str, Memory] = {}
        self._input_buffers: dict[str, Buffer] = {}
        binding = Binding(program, self.sizes, self._leaf, Buffer(64, self._status.ctypes.data))
        self._place_buffers(binding)
        self._write_table(binding.rows)
        self._views = [_view(binding.spec(value), binding.buffer(value)) for value in program.outputs]
        self._direct = self._readable_in_place()

    def _leaf(self, value: Value, spec: Spec) -> Buffer:
        """The memory of an input, variable or constant."""
        op = value.node.op
        if isinstance(op, Variable):
            memory = self._variables.memory(op.path)
        elif isinstance(op, Constant):
            memory = CPU.allocate(op.array)
        else:
            assert isinstance(op, Input)
            memory = self._staging[op.name] = Memory(spec.sizes, spec.dtype)
        self._keep.append(memory)
        buffer = Buffer(memory.array.nbytes, memory.address)
        if isinstance(op, Input):
            self._input_buffers[op.name] = buffer
        return buffer

    def _place_buffers(self, binding: Binding) -> None:
        """Give every temporary its place in one block of memory."""
        places, total = binding.places()
        arena = Memory((total,), "uint8")
        self._keep.append(arena)
        self.nbytes = total + sum(memory.array.nbytes for memory in self._staging.values())
        for buffer, offset in places:
            buffer.address = arena.address + offset

    def _write_table(self, rows: list[tuple[int, Launch]]) -> None:
        """Lay the launches out for the native call, everything compiled."""
        launches = [launch for _, launch in rows]
        compile_ahead((*kernels_of(launches), runner.RUN, runner.WORK))
        self._row_steps = [number for number, _ in rows]
        self._table = Table(launches, list(self._input_buffers.values()), self._status)

    def _readable_in_place(self) -> set[str]:
        """The inputs that kernels may read where the caller has them: read to their end only, no outputs."""
        copied = {id(self.program.root(value)) for value in self.program.outputs}
        for node in self.program.nodes:
            if hasattr(node.op, "over_reads"):
                for position in node.op.over_reads(*(value.spec for value in node.inputs)):
                    copied.add(id(self.program.root(node.inputs[position])))
        return {name for name, value in self.program.inputs.items() if id(value) not in copied}

    # Running ---------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run once; returns copies of the outputs."""
        try:
            with self._lock:
                self.execute(inputs)
                return [view.copy() for view in self._views]
        except Unproven:
            return self.program.exact().plan(self._variables, self.sizes).run(inputs)

    def execute(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Run once, leaving the outputs in the plan's memory."""
        for name, memory in self._staging.items():
            array = inputs.get(name)
            target = memory.array
            if array is None:
                target[...] = 0
                address = memory.address
            elif (
                name in self._direct
                and type(array) is np.ndarray
                and array.dtype == target.dtype
                and array.flags.c_contiguous
                and array.nbytes > 256
            ):
                address = array.__array_interface__["data"][0]
            else:
                target[...] = array
                address = memory.address
            self._table.move(self._input_buffers[name], address)
        row = self._table.run()
        if self._status[0]:
            status = self._status.copy()
            self._status[:] = 0
            raise self.program.failure(self.program.steps[self._row_steps[row]] if row >= 0 else None, status)


_plans: weakref.WeakSet[CpuPlan] = weakref.WeakSet()


def _after_fork() -> None:
    """A lock that another thread held at the moment of the fork would never be released in the child."""
    for plan in list(_plans):
        plan._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _view(spec: Spec, buffer: Buffer) -> np.ndarray:
    """An array on a plan's memory."""
    raw = (ctypes.c_uint8 * nbytes(spec)).from_address(buffer.address)
    return np.frombuffer(raw, spec.dtype).reshape(spec.sizes)  # type: ignore[call-overload]
