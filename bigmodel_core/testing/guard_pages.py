"""Programs on memory that ends at unreadable pages: a kernel that reads or writes where it must not dies.

Every buffer of a plan lies in pages of its own. What surrounds it depends on the form:

    "end"      behind the buffer lie the `PADDING` bytes that kernels may read, and then an unreadable page
    "padding"  right behind the buffer begins a page that can be read and not written
    "begin"    right before the buffer ends an unreadable page

The caller's arrays, which kernels read in place, have no padding, and can nowhere be written. What can be
written around a buffer holds NaN, as new buffers do: a kernel that uses what it may only read gives other
numbers, and one that writes there is found out after the launch. Chunks of array kernels run from the last to
the first. All this takes place in a copy of the process, which may die.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bigmodel_core.graph import Graph, Node
from bigmodel_core.kernels.cpu.engine import launch, runner, threads
from bigmodel_core.kernels.cpu.engine.array import is_of_arrays
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.plan import Variables, device_named
from bigmodel_core.plan.cpu import CpuDevice
from bigmodel_core.plan.cpu_kept import KeptMemory
from bigmodel_core.plan.cpu_plan import CpuPlan, array_on, path_of
from bigmodel_core.plan.cpu_program import CpuProgram
from bigmodel_core.plan.program import Program
from bigmodel_core.plan.steps import Step
from bigmodel_core.testing.child import Child

IS_POSSIBLE = sys.platform.startswith(("linux", "darwin"))
FORMS = ("end", "padding", "begin")
PAGE = mmap.PAGESIZE
REACH = 256 * PAGE
"""Bytes before and behind that cannot be read: whole rows past the end end there."""
NOTHING, READ = 0, mmap.PROT_READ if IS_POSSIBLE else 0
POISON = 0xFF
"""Bytes of this kind are NaN in every float type, and -1 in every integer type."""
KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_ssize_t] * 2)
"""What Numba makes of a kernel: where a result and a failure go, the context, the chunk."""


@dataclass
class Run:
    """A program to run as it is, and between guard pages.

    Args:
        name: for people.
        make: makes the program for a device.
        arrays: its inputs and variables.
        compared: how many of its outputs have a meaning everywhere.
    """

    name: str
    make: Callable[[Any], Program]
    arrays: Mapping[str, np.ndarray]
    compared: int | None = None

    def on(self, device: Any) -> Callable[[], list[np.ndarray]]:
        """What runs the program on a device, everything compiled, and gives its outputs and variables."""
        program, variables = self.make(device), Variables(device)
        paths = [path_of(value) for value in program.variables]
        for path in paths:
            variables.create(path, self.arrays[path])
        given = {name: self.arrays[name] for name in program.inputs if name in self.arrays}
        plan = program.plan(variables, program.sizes(given))
        if isinstance(device, GuardedCpu):
            given = {name: device.array(array) for name, array in given.items()}
        return lambda: [*plan.run(given)[: self.compared], *(variables.read(path) for path in paths)]


def alone(node: Node, sizes: Mapping[str, int], device: Any = "cpu") -> Program:
    """A program of one op, whose inputs are the caller's; no input may say the sizes it depends on."""
    graph, op, specs = Graph(), node.op, [value.spec for value in node.inputs]
    said = {dim for spec in specs for dim in spec.shape}
    named = {name for spec in specs for name in spec.names()}
    if not named or named - said:
        op, specs = op.bind(sizes), [spec.bind(sizes) for spec in specs]
    values = [graph.input(f"x{n}", spec) for n, spec in enumerate(specs)]
    return Program(graph, graph.apply(op, values).outputs, device=device)


def fault_of(runs: Iterable[Run], prepare: Callable[[], Any] = contextlib.nullcontext) -> str:
    """What goes wrong when programs run between guard pages, and where; empty if nothing does.

    Args:
        runs: the programs; what they give as they are is what they have to give.
        prepare: the context in which plans between guard pages are made.
    """
    child = Child()
    ready: list[tuple[str, list[Callable[[], list[np.ndarray]]], Callable[[], list[np.ndarray]]]] = []
    for run in runs:
        guarded = []
        for form in FORMS:
            with prepare():
                guarded.append(run.on(GuardedCpu(form, partial(_note, child, run.name, form))))
        ready.append((run.name, guarded, run.on(device_named("cpu"))))

    def work() -> None:
        for name, guarded, plain in ready:
            found = [each() for each in guarded]
            child.say(name)
            expected = plain()
            for results in found:
                for ours, usual in zip(results, expected, strict=True):
                    assert ours.tobytes() == usual.tobytes(), "it uses numbers that are not its own"

    return child.run(work)


def _note(child: Child, name: str, form: str, text: str) -> None:
    child.say(f"{name}, guard pages at the {form}: {text}")


class Guarded:
    """Memory of so many bytes between pages that cannot be read.

    Args:
        nbytes: its size.
        form: what surrounds it.
        padding: bytes behind it that can be read.
    """

    def __init__(self, nbytes: int, form: str, padding: int) -> None:
        self.nbytes = nbytes
        behind = 0 if form == "padding" else padding
        inner = max(-(-(nbytes + behind) // PAGE), 1) * PAGE
        after = -(-padding // PAGE) * PAGE if form == "padding" else 0
        self._map = mmap.mmap(-1, inner + after + 2 * REACH)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._inner, self._end, self._after = start + REACH, start + REACH + inner, after
        ctypes.memset(self._inner, POISON, inner + after)
        self.address = self._inner if form == "begin" else self._end - behind - nbytes
        _protect(start, REACH, NOTHING)
        _protect(self._end, after, READ)
        _protect(self._end + after, REACH, NOTHING)

    def view(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """The memory as an array."""
        raw = (ctypes.c_uint8 * self.nbytes).from_address(self.address)
        return np.frombuffer(raw, dtype).reshape(shape)  # type: ignore[call-overload]  # NumPy's stubs know no dtype by a plain str

    def freeze(self) -> None:
        """Let nobody write here any more."""
        _protect(self._inner, self._end - self._inner, READ)

    def is_whole(self) -> bool:
        """Whether nothing was written around the memory."""
        stop = self.address + self.nbytes
        around = ((self._inner, self.address - self._inner), (stop, self._end - stop))
        return all(ctypes.string_at(at, count).count(POISON) == count for at, count in around)


def _protect(address: int, nbytes: int, protection: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    found = library.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), protection)
    assert found == 0, os.strerror(ctypes.get_errno())


class GuardedMemory(Guarded):
    """Memory of a variable or constant."""

    def __init__(self, array: np.ndarray, form: str) -> None:
        super().__init__(array.nbytes, form, launch.PADDING)
        self.array = self.view(array.dtype.name, array.shape)
        self.array[...] = array


class GuardedCpu(CpuDevice):
    """The processor, with guard pages around all memory of plans.

    Args:
        form: what surrounds buffers.
        note: is told what runs, before it does.
    """

    def __init__(self, form: str, note: Callable[[str], None]) -> None:
        super().__init__()
        self.form, self.note = form, note
        self.pieces: list[Guarded] = []

    def buffer(self, nbytes: int) -> Guarded:
        """Memory for a buffer of a plan."""
        self.pieces.append(Guarded(nbytes, self.form, launch.PADDING))
        return self.pieces[-1]

    def allocate(self, array: np.ndarray) -> Any:
        self.pieces.append(memory := GuardedMemory(array, self.form))
        return memory

    def kept_of(self, program: Program) -> KeptMemory:
        return self._kept.setdefault(program, KeptMemory(self.buffer))

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> CpuPlan:
        return GuardedPlan(self, program, sizes, variables)

    def array(self, array: np.ndarray) -> np.ndarray:
        """A copy of a caller's array, which ends (or begins) at an unreadable page."""
        self.pieces.append(memory := Guarded(array.nbytes, self.form, 0))
        found = memory.view(array.dtype.name, array.shape)
        found[...] = array
        memory.freeze()
        return found


class GuardedPlan(CpuPlan):
    """A plan whose buffers never share a page."""

    device: GuardedCpu
    copied = 0  # kernels read all arrays where the caller has them

    def _place_buffers(self, bound: CpuProgram) -> None:
        super()._place_buffers(bound)
        for buffer, _ in (*bound.places()[0], *self._inputs.values()):
            buffer.address = self.device.buffer(buffer.nbytes).address
        for name, (buffer, spec) in self._inputs.items():
            self._staging[name] = array_on(spec, buffer), buffer.address

    def _table_of(self, launches: list[CpuLaunch], steps: list[Step]) -> Any:
        return GuardedTable(self.device, steps, launches, super()._table_of(launches, steps))


class GuardedTable:
    """A table that runs launch by launch, and looks for what was written beside buffers."""

    def __init__(
        self, guarded: GuardedCpu, steps: list[Step], launches: list[CpuLaunch], table: Table
    ) -> None:
        self.guarded, self.launches, self.table, self.move = guarded, launches, table, table.move
        pairs = zip(steps, launches, strict=True)
        self.names = [f"{step!r}, kernel {launch.kernel.name}" for step, launch in pairs]

    def run(self) -> int:
        result, failure, *_ = self.table._arguments
        number = 0
        while number < len(self.names):
            self.guarded.note(self.names[number])
            row = self.table.rows[number].copy()
            if branches := row[3] == runner.BRANCH:
                row[3] = 1
            address = row.ctypes.data
            if row[3] > 1 and is_of_arrays(self.launches[number].kernel):
                for chunk in reversed(range(int(row[3]))):
                    run_chunk(address, chunk, result, failure)
            else:
                self.table._native(result, failure, address, 1, threads.pool(), self.table._status_address)
            if self.table.status[0]:
                return number
            if not all(piece.is_whole() for piece in self.guarded.pieces):
                raise AssertionError("it wrote before or behind a buffer")
            number += ctypes.c_int64.from_address(int(row[1])).value if branches else 1
        return -1


def run_chunk(link: int, chunk: int, result: int, failure: int) -> None:
    """Run a launch, and what follows it, on one chunk."""
    while link:
        kernel, context, link = (ctypes.c_int64 * runner.LINK).from_address(link)
        if KERNEL(kernel)(result, failure, context, chunk) != 0:
            raise AssertionError("it raised an error")
