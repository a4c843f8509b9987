"""Plans on the CPU: every step becomes rows of one table, which one native call walks through."""

from __future__ import annotations

import ctypes
import math
import os
import threading
import weakref
from collections.abc import Mapping

import numpy as np

from bigmodel_core.graph import Constant, Input, Value, Variable
from bigmodel_core.graph.dtypes import COMPUTED, SIZES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.cpu import runner
from bigmodel_core.kernels.cpu.compile_ahead import compile_ahead
from bigmodel_core.kernels.cpu.launch import ALIGNMENT, PADDING, CpuBuffer, CpuLaunch, kernels_of
from bigmodel_core.kernels.cpu.table import Table
from bigmodel_core.plan.binding import SMALLER
from bigmodel_core.plan.capacity import refused_politely
from bigmodel_core.plan.cpu_binding import Binding
from bigmodel_core.plan.device import Device, Variables
from bigmodel_core.plan.failures import Unproven, error_of
from bigmodel_core.plan.layout import channels_last
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.passes import Passes, decomposed, decomposed_but_images, selected_early
from bigmodel_core.plan.program import Program
from bigmodel_core.plan.schedule import updates_together


class Memory:
    """An aligned piece of memory with padding behind it, and the array in it."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        nbytes = math.prod(shape) * SIZES[dtype]
        with refused_politely(nbytes, "an array needs", "use smaller layers or batches."):
            self._raw = np.zeros(nbytes + PADDING + ALIGNMENT, np.uint8)
        start = -self._raw.ctypes.data % ALIGNMENT
        self.array = self._raw[start : start + nbytes].view(np.dtype(dtype)).reshape(shape)
        self.address = self._raw.ctypes.data + start


class Arena:
    """Scratch memory that plans of one program use in turns.

    Args:
        nbytes: its size.

    Attributes:
        lock: held by the plan that runs.
    """

    def __init__(self, nbytes: int) -> None:
        self.memory, self.nbytes, self.lock = Memory((nbytes,), "uint8"), nbytes, threading.Lock()
        _arenas.add(self)


_arenas: weakref.WeakSet[Arena] = weakref.WeakSet()


def _after_fork() -> None:
    """A lock that another thread held at the moment of the fork would never be released in the child."""
    for arena in list(_arenas):
        arena.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class CpuDevice(Device):
    """The processor this runs on."""

    name = "cpu"
    dtypes = COMPUTED
    passes = Passes(
        graph=(selected_early, decomposed_but_images, channels_last, decomposed),
        steps=(updates_together,),
    )

    def __init__(self) -> None:
        self._arenas: weakref.WeakKeyDictionary[Program, Arena] = weakref.WeakKeyDictionary()

    def arena(self, program: Program, nbytes: int) -> Arena:
        """Scratch memory of at least so many bytes for a plan of a program: that of its other plans where it
        is large enough. One that grows does so by a quarter, so that growing sizes do not pile up."""
        found = self._arenas.get(program)
        if found is None or found.nbytes < nbytes:
            found = Arena(nbytes if found is None else max(nbytes, found.nbytes * 5 // 4))
            self._arenas[program] = found
        return found

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
        return Binding(program, sizes, lambda value, spec: CpuBuffer(spec.nbytes), CpuBuffer(0)).listing()


CPU = CpuDevice()


class CpuPlan:
    """A program bound to sizes: one table, one block of memory, which the program's plans use in turns.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        variables: the arrays that live across runs; the plan refers to their memory.
    """

    def __init__(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> None:
        self.program, self.sizes = program, dict(sizes)
        self._variables = variables
        self._keep: list[Memory] = []
        self._status = np.zeros(8, np.int64)
        self._inputs: dict[str, tuple[CpuBuffer, Spec]] = {}
        self._staging: dict[str, tuple[np.ndarray, int]] = {}
        """By input the array that is copied to where kernels cannot read the caller's, and its address."""
        binding = Binding(program, self.sizes, self._leaf, CpuBuffer(64, self._status.ctypes.data))
        self._place_buffers(binding)
        self._write_table(binding.rows)
        self._views = [_view(binding.spec(value), binding.buffer(value)) for value in program.outputs]
        self._direct = self._readable_in_place(binding)

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
            memory = CPU.allocate(op.array)
        self._keep.append(memory)
        return CpuBuffer(memory.array.nbytes, memory.address)

    def _place_buffers(self, binding: Binding) -> None:
        """Give every temporary, and every input behind them, its place in one block of memory."""
        places, total = binding.places()
        for buffer, _ in self._inputs.values():
            places.append((buffer, total))
            total += -(-(buffer.nbytes + PADDING) // ALIGNMENT) * ALIGNMENT
        self.nbytes = total
        with refused_politely(total, f"a run at {binding.described()} needs", SMALLER, binding.largest()):
            self.scratch = CPU.arena(self.program, total)
        for buffer, offset in places:
            buffer.address = self.scratch.memory.address + offset
        for name, (buffer, spec) in self._inputs.items():
            self._staging[name] = _view(spec, buffer), buffer.address

    def _write_table(self, rows: list[tuple[int, CpuLaunch]]) -> None:
        """Lay the launches out for the native call, everything compiled."""
        launches = [launch for _, launch in rows]
        compile_ahead((*kernels_of(launches), runner.RUN, runner.WORK))
        self._row_steps = [number for number, _ in rows]
        self._table = Table(launches, [buffer for buffer, _ in self._inputs.values()], self._status)

    def _readable_in_place(self, binding: Binding) -> set[str]:
        """The inputs that kernels may read where the caller has them: read to their end only, no outputs."""
        copied = {id(self.program.root(value)) for value in self.program.outputs}
        parts = (part for step in self.program.steps for part in step.parts() if part.fused is None)
        for part in parts:
            kernel, node = self.program.device.kernel_of(part.node), part.node
            for position in kernel.over_reads(node.op, [binding.spec(value) for value in node.inputs]):
                copied.add(id(self.program.root(node.inputs[position])))
        return {name for name, value in self.program.inputs.items() if id(value) not in copied}

    # Running ---------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run once; returns copies of the outputs."""
        try:
            with self.scratch.lock:
                self.execute(inputs)
                return [view.copy() for view in self._views]
        except Unproven:
            return self.program.exact().plan(self._variables, self.sizes).run(inputs)

    def execute(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Run once, leaving the outputs in the plan's memory; the caller holds the arena's lock."""
        for name, (target, address) in self._staging.items():
            array = inputs.get(name)
            if array is None:
                target[...] = 0
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
            self._table.move(self._inputs[name][0], address)
        row = self._table.run()
        if self._status[codes.CODE]:
            status = self._status.copy()
            self._status[:] = 0
            raise error_of(self.program.steps[self._row_steps[row]] if row >= 0 else None, status)


def _view(spec: Spec, buffer: CpuBuffer) -> np.ndarray:
    """An array on a plan's memory."""
    raw = (ctypes.c_uint8 * spec.nbytes).from_address(buffer.address)
    return np.frombuffer(raw, spec.dtype).reshape(spec.sizes)  # type: ignore[call-overload]  # NumPy's stubs know no dtype by a plain str
