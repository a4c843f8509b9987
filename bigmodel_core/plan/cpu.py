"""Plans on the CPU: every step becomes rows of one table, which one native call walks through."""

from __future__ import annotations

import ctypes
import math
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodel_core.graph import Value
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cpu import elementwise, runner, threads
from bigmodel_core.kernels.cpu.launch import ALIGNMENT, PADDING, Buffer, Launch, float_bits
from bigmodel_core.kernels.cpu.memory import SIZES
from bigmodel_core.plan.device import Variables
from bigmodel_core.plan.memory import Lifetime, place
from bigmodel_core.plan.program import Program, Step
from bigmodel_core.spec import Spec, dim_value


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
        self._keep: list[Any] = [variables]
        self._lock = threading.Lock()
        _plans.add(self)
        self._specs: dict[int, Spec] = {}
        self._buffers: dict[int, Buffer] = {}
        self._scratch: list[tuple[Buffer, int]] = []
        self._status = np.zeros(8, np.int64)
        self._place_leaves(variables)
        rows = self._bind_steps()
        self._place_buffers()
        self._write_table(rows)
        self._prepare_call()

    # Binding ---------------------------------------------------------------------------------------------

    def spec(self, value: Value) -> Spec:
        """A value's spec with all sizes known."""
        found = self._specs.get(id(value))
        if found is None:
            found = self._specs[id(value)] = value.spec.bind(self.sizes)
        return found

    def buffer(self, value: Value) -> Buffer:
        """The memory of a value."""
        root = self.program.root(value)
        found = self._buffers.get(id(root))
        if found is None:
            found = self._buffers[id(root)] = Buffer(_nbytes(self.spec(root)))
        return found

    def _place_leaves(self, variables: Variables) -> None:
        for value in self.program.variables:
            memory = variables.memory(value.node.op.path)  # type: ignore[attr-defined]
            self._buffers[id(value)] = Buffer(memory.array.nbytes, memory.address)
            self._keep.append(memory)
        for value in self.program.constants:
            memory = CPU.allocate(value.node.op.array)  # type: ignore[attr-defined]
            self._buffers[id(value)] = Buffer(memory.array.nbytes, memory.address)
            self._keep.append(memory)
        self._staging: dict[str, Memory] = {}
        self._input_buffers: dict[str, Buffer] = {}
        for name, value in self.program.inputs.items():
            spec = self.spec(value)
            memory = Memory(spec.sizes, spec.dtype)
            self._staging[name] = memory
            self._input_buffers[name] = self._buffers[id(value)] = Buffer(memory.array.nbytes, memory.address)

    def _bind_steps(self) -> list[tuple[int, Launch]]:
        rows: list[tuple[int, Launch]] = []
        for number, step in enumerate(self.program.steps):
            launches = self._launches(step, number, None)
            if step.follower is not None:
                last = launches[-1] if launches else None
                tile = last.tile if last else None
                if last is not None and tile is not None:
                    following = self._launches(step.follower, number, tile)
                    last.follower = following[0] if following else None
                else:
                    launches += self._launches(step.follower, number, None)
            rows += [(number, launch) for launch in launches]
        return rows

    def _launches(self, step: Step, number: int, tile: tuple[int, int] | None) -> list[Launch]:
        for position, variable in step.writes.items():
            self._buffers[id(step.outputs[position])] = self._buffers[id(variable)]
        inputs = [self.buffer(value) for value in step.inputs]
        outputs = [self.buffer(value) for value in step.outputs]
        if step.fused is not None:
            space = step.fused.space
            if tile is not None:
                matrix = next(s for s in self.program.steps if s.follower is step).outputs[0]
                tiled = step.fused.on_tiles(matrix.shape)
                assert tiled is not None
                space = tiled
            sizes = [dim_value(axis, self.sizes) for axis in space.axes]
            launch = elementwise.launch(step.fused.chain, space, sizes, inputs, outputs, tile)
            return [launch] if launch else []
        op = step.node.op
        call = Call(
            op.bind(self.sizes) if hasattr(op, "bind") else op,
            tuple(self.spec(value) for value in step.node.inputs),
            tuple(self.spec(value) for value in step.node.outputs),
            tuple(self.buffer(value) for value in step.node.inputs),
            tuple(outputs),
            lambda nbytes: self._new_scratch(nbytes, number),
            Buffer(64, self._status.ctypes.data),
        )
        return list(op.cpu.launches(call))

    def _new_scratch(self, nbytes: int, step: int) -> Buffer:
        buffer = Buffer(nbytes)
        self._scratch.append((buffer, step))
        return buffer

    def _place_buffers(self) -> None:
        """Give every temporary its place in one block of memory."""
        steps = self.program.steps
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, step in enumerate(steps):
            for part in (step, step.follower) if step.follower else (step,):
                for value in (*part.inputs, *part.outputs):
                    root = id(self.program.root(value))
                    first.setdefault(root, number)
                    last[root] = number
        for value in (*self.program.outputs, *self.program.guards):
            last[id(self.program.root(value))] = len(steps)
        buffers: list[Buffer] = []
        lifetimes: list[Lifetime] = []
        for root, begin in first.items():
            buffer = self._buffers[root]
            if buffer.address == 0:
                buffers.append(buffer)
                lifetimes.append(Lifetime(buffer.nbytes, begin, last[root]))
        for buffer, step_number in self._scratch:
            buffers.append(buffer)
            lifetimes.append(Lifetime(buffer.nbytes, step_number, step_number))
        offsets, total = place(lifetimes, PADDING)
        arena = Memory((total,), "uint8")
        self._keep.append(arena)
        self.nbytes = total + sum(memory.array.nbytes for memory in self._staging.values())
        for buffer, offset in zip(buffers, offsets, strict=True):
            buffer.address = arena.address + offset

    def _write_table(self, rows: list[tuple[int, Launch]]) -> None:
        contexts: list[int] = []
        starts: list[int] = []
        self._input_slots: dict[str, list[int]] = {name: [] for name in self._input_buffers}
        by_buffer = {id(buffer): name for name, buffer in self._input_buffers.items()}

        def add(launch: Launch) -> int:
            contexts.extend([0] * (-len(contexts) % 8))  # contexts start on cache lines
            start = len(contexts)
            for item in launch.context:
                if isinstance(item, Buffer):
                    if id(item) in by_buffer:
                        self._input_slots[by_buffer[id(item)]].append(len(contexts))
                    contexts.append(item.address)
                else:
                    contexts.append(float_bits(item) if isinstance(item, float) else int(item))
            return start

        self._table = np.zeros((max(len(rows), 1), runner.ROW), np.int64)
        self._row_steps = [number for number, _ in rows]
        for row, (_, launch) in enumerate(rows):
            starts.append(add(launch))
            self._table[row, :3] = launch.kernel.address, 0, launch.chunks
            self._table[row, 5] = self._status.ctypes.data
            if launch.follower is not None:
                self._table[row, 3:5] = launch.follower.kernel.address, add(launch.follower)
        block = Memory((max(len(contexts), 1),), "int64")
        block.array[: len(contexts)] = contexts
        self._contexts = block
        for row, (_, launch) in enumerate(rows):
            self._table[row, 1] = block.address + starts[row] * 8
            if launch.follower is not None:
                self._table[row, 4] = block.address + int(self._table[row, 4]) * 8
        self._rows = len(rows)

    def _prepare_call(self) -> None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_ssize_t] * 4)
        self._native = kind(runner.RUN.address)
        self._result = (ctypes.c_ssize_t * 1)()
        self._failure = (ctypes.c_void_p * 1)()
        self._arguments = (
            ctypes.addressof(self._result),
            ctypes.addressof(self._failure),
            self._table.ctypes.data,
            self._rows,
        )
        self._status_address = self._status.ctypes.data
        self._views = [self._view(value) for value in self.program.outputs]
        self._direct = self._readable_in_place()

    def _readable_in_place(self) -> set[str]:
        """The inputs that kernels may read where the caller has them: read to their end only, no outputs."""
        copied = {id(self.program.root(value)) for value in self.program.outputs}
        for node in self.program.nodes:
            if hasattr(node.op, "over_reads"):
                for position in node.op.over_reads(*(value.spec for value in node.inputs)):
                    copied.add(id(self.program.root(node.inputs[position])))
        return {name for name, value in self.program.inputs.items() if id(value) not in copied}

    def _view(self, value: Value) -> np.ndarray:
        spec, buffer = self.spec(value), self.buffer(value)
        count = _nbytes(spec)
        raw = (ctypes.c_uint8 * count).from_address(buffer.address)
        return np.frombuffer(raw, spec.dtype).reshape(spec.sizes)  # type: ignore[call-overload]

    # Running ---------------------------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run once; returns copies of the outputs."""
        with self._lock:
            self.execute(inputs)
            return [view.copy() for view in self._views]

    def execute(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Run once, leaving the outputs in the plan's memory."""
        contexts = self._contexts.array
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
            buffer = self._input_buffers[name]
            if address != buffer.address:
                buffer.address = address
                for slot in self._input_slots[name]:
                    contexts[slot] = address
        self._native(*self._arguments, threads.pool(), self._status_address)
        if self._status[0]:
            status = self._status.copy()
            self._status[:] = 0
            raise self.program.failure(self._failed_step(), status)

    def _failed_step(self) -> Step | None:
        row = self._result[0]
        return self.program.steps[self._row_steps[row]] if 0 <= row < self._rows else None


_plans: weakref.WeakSet[CpuPlan] = weakref.WeakSet()


def _after_fork() -> None:
    """A lock that another thread held at the moment of the fork would never be released in the child."""
    for plan in list(_plans):
        plan._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _nbytes(spec: Spec) -> int:
    return math.prod(spec.sizes) * SIZES[spec.dtype]
