"""The CPU with memory that ends at unreadable pages: a kernel that reads or writes where it must not dies.

Every buffer of a plan lies in pages of its own. What surrounds it depends on the form:

    "end"      behind the buffer lie the `PADDING` bytes that kernels may read, and then an unreadable page
    "padding"  right behind the buffer begins a page that can be read and not written
    "begin"    right before the buffer ends an unreadable page

The caller's arrays, which kernels read in place, have no padding, and can nowhere be written. What can be
written around a buffer holds NaN or huge numbers, as new buffers do: a kernel that uses what it may only
read, or what nobody wrote, gives other numbers, and one that writes there is found out after the launch. All
this takes place in a copy of the process (`child`), which may die.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.kernels.cpu.engine import launch, runner, threads
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.kernels.status import KERNEL_RAISED
from bigmodel_core.plan import Variables
from bigmodel_core.plan.cpu import CpuDevice
from bigmodel_core.plan.cpu_kept import KeptMemory
from bigmodel_core.plan.cpu_plan import CpuPlan, array_on
from bigmodel_core.plan.cpu_program import CpuProgram
from bigmodel_core.plan.program import Program
from bigmodel_core.plan.steps import Step
from bigmodel_core.testing.child import IS_POSSIBLE

FORMS = ("end", "padding", "begin")
PAGE = mmap.PAGESIZE
REACH = 256 * PAGE
"""Bytes before and behind that cannot be read: whole rows past the end end there."""
NOTHING, READ = 0, mmap.PROT_READ if IS_POSSIBLE else 0
POISON = {"end": 0xFF, "padding": 0xFF, "begin": 0x4B}
"""Bytes of new memory: 0xFF is NaN in every float type and -1 in every integer type, 0x4B a huge number."""


class Guarded:
    """Memory of so many bytes between pages that cannot be read.

    Args:
        nbytes: its size.
        form: what surrounds it.
        padding: bytes behind it that can be read.
    """

    def __init__(self, nbytes: int, form: str, padding: int) -> None:
        self.nbytes, self.fill = nbytes, POISON[form]
        behind = 0 if form == "padding" else padding
        inner = max(-(-(nbytes + behind) // PAGE), 1) * PAGE
        after = -(-padding // PAGE) * PAGE if form == "padding" else 0
        self._map = mmap.mmap(-1, inner + after + 2 * REACH)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._inner, self._end, self._after = start + REACH, start + REACH + inner, after
        ctypes.memset(self._inner, self.fill, inner + after)
        self.address = self._inner if form == "begin" else self._end - behind - nbytes
        _protect(start, REACH, NOTHING)
        _protect(self._end, after, READ)
        _protect(self._end + after, REACH, NOTHING)

    def view(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """The memory as an array."""
        raw = (ctypes.c_uint8 * self.nbytes).from_address(self.address)
        return np.frombuffer(raw, dtype).reshape(shape)  # type: ignore[call-overload]  # NumPy's stubs know no dtype by a plain str

    def content(self) -> bytes:
        """Its bytes."""
        return ctypes.string_at(self.address, self.nbytes)

    def poison(self) -> None:
        """Forget what was written."""
        ctypes.memset(self.address, self.fill, self.nbytes)

    def freeze(self) -> None:
        """Let nobody write here any more."""
        _protect(self._inner, self._end - self._inner, READ)

    def is_whole(self) -> bool:
        """Whether nothing was written around the memory."""
        stop = self.address + self.nbytes
        around = ((self._inner, self.address - self._inner), (stop, self._end - stop))
        return all(ctypes.string_at(at, count).count(self.fill) == count for at, count in around)


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
        is_backwards: whether the last piece of a launch runs first.
        compares_inputs: whether what launches read is looked at after them.
    """

    def __init__(
        self,
        form: str,
        note: Callable[[str], None],
        is_backwards: bool = False,
        compares_inputs: bool = True,
    ) -> None:
        super().__init__()
        self.form, self.note, self.is_backwards = form, note, is_backwards
        self.compares_inputs = compares_inputs
        self.pieces: dict[int, Guarded] = {}

    def buffer(self, nbytes: int) -> Guarded:
        """Memory for a buffer of a plan."""
        return self._kept_track_of(Guarded(nbytes, self.form, launch.PADDING))

    def allocate(self, array: np.ndarray) -> Any:
        return self._kept_track_of(GuardedMemory(array, self.form))

    def _kept_track_of(self, piece: Any) -> Any:
        self.pieces[piece.address] = piece
        return piece

    def kept_of(self, program: Program) -> KeptMemory:
        return self._kept.setdefault(program, KeptMemory(self.buffer))

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> CpuPlan:
        return GuardedPlan(self, program, sizes, variables)

    def array(self, array: np.ndarray, is_frozen: bool = True) -> np.ndarray:
        """A copy of a caller's array, which ends (or begins) at an unreadable page."""
        memory = self._kept_track_of(Guarded(array.nbytes, self.form, 0))
        found: np.ndarray = memory.view(array.dtype.name, array.shape)
        found[...] = array
        if is_frozen:
            memory.freeze()
        return found


@dataclass
class Touched:
    """The memory of a step.

    Args:
        read: what it may only read, by the position of the input.
        made: what it makes, which holds nothing before.
        written: what it writes.
    """

    read: dict[int, CpuBuffer] = field(default_factory=dict)
    made: list[CpuBuffer] = field(default_factory=list)
    written: list[CpuBuffer] = field(default_factory=list)


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
        self._touched = {id(step): self._touched_by(bound, n) for n, step in enumerate(self.program.steps)}

    def _touched_by(self, bound: CpuProgram, number: int) -> Touched:
        parts = [*self.program.steps[number].parts()]
        root = self.program.root
        written = {id(root(value)) for part in parts for value in part.outputs}
        inputs = [v for part in parts for v in part.inputs if id(root(v)) not in written]
        outputs = [bound.buffer(value) for part in parts for value in part.outputs]
        known = {id(bound.buffer(value)) for value in inputs}
        known |= {*self._leaves(bound), *(id(buffer) for buffer in bound.kept.buffers)}
        made = [buffer for buffer in outputs if id(buffer) not in known]
        made += [buffer for buffer, step in bound.scratch if step == number and id(buffer) not in known]
        outputs_by_id = {id(buffer) for buffer in outputs}
        read = {n: bound.buffer(v) for n, v in enumerate(inputs) if id(bound.buffer(v)) not in outputs_by_id}
        return Touched(read, made, outputs)

    def _leaves(self, bound: CpuProgram) -> Iterable[int]:
        leaves = (*self.program.inputs.values(), *self.program.variables, *self.program.constants)
        return (id(bound.buffer(value)) for value in leaves)

    def _table_of(self, launches: list[CpuLaunch], steps: list[Step]) -> Any:
        pairs = zip(steps, launches, strict=True)
        names = [f"{step!r}, kernel {launch.kernel.name}" for step, launch in pairs]
        touched = [self._touched.get(id(step)) for step in steps]
        return GuardedTable(self.device, names, super()._table_of(launches, steps), touched)


class GuardedTable:
    """A table that runs launch by launch, and looks for what was written beside buffers and to inputs.

    Args:
        guarded: where it runs.
        names: of the launches.
        table: them.
        touched: the memory of the steps of the launches; None in the body of the step before.
    """

    def __init__(
        self, guarded: GuardedCpu, names: list[str], table: Table, touched: list[Touched | None]
    ) -> None:
        self.guarded, self.names, self.table, self.move = guarded, names, table, table.move
        self.touched = touched

    def run(self) -> int:
        number, touched, pieces = 0, Touched(), self.guarded.pieces
        while number < len(self.names):
            self.guarded.note(self.names[number])
            before, touched = touched, self.touched[number] or touched
            if touched is not before:
                for buffer in touched.made:
                    pieces[buffer.address].poison()
            looked_at = touched.read if self.guarded.compares_inputs else {}
            inputs = {n: _bytes(buffer) for n, buffer in looked_at.items()}
            row = self.table.rows[number]
            branches = row[3] == runner.BRANCH
            self._run(row, 1 if branches else int(row[3]))
            if self.table.status[0]:
                return number
            for position, content in inputs.items():
                if _bytes(touched.read[position]) != content:
                    raise AssertionError(f"{self.names[number]}: input {position} was overwritten")
            near = {buffer.address for buffer in (*touched.read.values(), *touched.made, *touched.written)}
            if not all(pieces[at].is_whole() for at in near if at in pieces):
                raise AssertionError(f"{self.names[number]}: it wrote before or behind a buffer")
            number += ctypes.c_int64.from_address(int(row[1])).value if branches else 1
        if not all(piece.is_whole() for piece in pieces.values()):
            raise AssertionError("something was written before or behind a buffer")
        return -1

    def _run(self, row: np.ndarray, chunks: int) -> None:
        """Run the pieces of a launch, each with what follows on it."""
        if not self.guarded.is_backwards:
            one = row.copy()
            one[3] = chunks
            result, failure, *_ = self.table._arguments
            self.table._native(
                result, failure, one.ctypes.data, 1, threads.pool(), self.table._status_address
            )
            return
        for chunk in reversed(range(chunks)):
            kernel, context, link = (int(item) for item in row[: runner.LINK])
            while True:
                if _run_kernel(kernel, context, chunk):
                    self.table.status[0] = KERNEL_RAISED
                    return
                if not link:
                    break
                kernel, context, link = ctypes.cast(link, ctypes.POINTER(ctypes.c_int64))[: runner.LINK]


def _bytes(buffer: CpuBuffer) -> bytes:
    return ctypes.string_at(buffer.address, buffer.nbytes)


def _run_kernel(address: int, context: int, chunk: int) -> int:
    """Run one piece of a kernel; 0 unless it raised."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_ssize_t] * 2)
    result, failure = (ctypes.c_ssize_t * 1)(), (ctypes.c_void_p * 1)()
    code: int = kind(address)(ctypes.addressof(result), ctypes.addressof(failure), context, chunk)
    return code
