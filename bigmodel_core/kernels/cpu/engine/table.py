"""The table of some launches: contexts and links laid out in memory, and the one native call that runs it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence

import numpy as np

from bigmodel_core.kernels.cpu.engine import runner, threads
from bigmodel_core.kernels.cpu.engine.launch import (
    ALIGNMENT,
    CpuBuffer,
    CpuLaunch,
    Item,
    MovingBuffer,
    Places,
    integer_of,
)

LINE = ALIGNMENT // 8
"""Integers in a cache line, on which contexts start."""


class Table:
    """Launches whose buffers have addresses, ready to run.

    Args:
        launches: run in this order.
        moving: buffers whose addresses change from run to run: see `move`.
        status: where kernels report a failure, as eight integers; the first is 0 as long as all is well.
        repeat: how often one `run` goes through the launches.
    """

    def __init__(
        self,
        launches: Sequence[CpuLaunch],
        moving: Sequence[CpuBuffer] = (),
        status: np.ndarray | None = None,
        repeat: int = 1,
    ) -> None:
        self.status = np.zeros(8, np.int64) if status is None else status
        self._integers: list[int] = []
        self._inner: list[tuple[int, int]] = []  # slots that hold addresses within the block, and where to
        self._moving = {id(buffer): buffer for buffer in moving}
        self._slots: dict[int, list[tuple[int, int]]] = {id(buffer): [] for buffer in moving}
        self._starts: dict[int, int] = {}
        self._lists: list[tuple[int, Places]] = []  # slots that hold the address of a list of slots
        rows = [(launch, self._context(launch), self._links(launch.epilogue)) for launch in launches]
        for slot, places in self._lists:
            self._inner.append((slot, self._list(places)))
        self._block, base = _aligned(self._integers)
        for slot, start in self._inner:
            self._block[slot] = base + start * 8
        self.rows = np.zeros((len(rows) * repeat, runner.ROW), np.int64)
        for number, (launch, context, link) in enumerate(rows * repeat):
            link_address = base + link * 8 if link >= 0 else 0
            self.rows[number] = (
                *(launch.kernel.address, base + context * 8, link_address),
                *(runner.BRANCH if launch.branches else launch.chunks, self.status.ctypes.data),
            )
        self._prepare_call()

    def _room(self, count: int, whole_lines: bool) -> int:
        if whole_lines:
            self._integers += [0] * (-len(self._integers) % LINE)
        start = len(self._integers)
        self._integers += [0] * count
        return start

    def _context(self, launch: CpuLaunch) -> int:
        """Put a context into the block, after those that it refers to; returns where it starts."""
        if id(launch) in self._starts:
            return self._starts[id(launch)]
        inner = {
            n: self._context(item) for n, item in enumerate(launch.context) if isinstance(item, CpuLaunch)
        }
        start = self._starts[id(launch)] = self._room(len(launch.context), True)
        for slot, item in enumerate(launch.context, start):
            if isinstance(item, CpuLaunch):
                self._inner.append((slot, inner[slot - start]))
                continue
            if isinstance(item, Places):
                self._lists.append((slot, item))
                continue
            whole, offset = _place(item)
            if id(whole) in self._moving or isinstance(whole, MovingBuffer):
                self._slots.setdefault(id(whole), []).append((slot, offset))
            self._integers[slot] = integer_of(item)
        return start

    def _list(self, places: Places) -> int:
        """Put a list of slots into the block: how many, then of each its address and the offset of the part
        of the buffer that it is for; returns where the list starts."""
        slots = self._slots.get(id(places.buffer), [])
        start = self._room(1 + 2 * len(slots), False)
        self._integers[start] = len(slots)
        for number, (slot, offset) in enumerate(slots):
            self._inner.append((start + 1 + 2 * number, slot))
            self._integers[start + 2 + 2 * number] = offset
        return start

    def _links(self, launch: CpuLaunch | None) -> int:
        """Put a launch and its epilogues into the block as links; returns where the first is, -1 for none."""
        if launch is None:
            return -1
        start, following = self._context(launch), self._links(launch.epilogue)
        link = self._room(runner.LINK, False)
        self._integers[link] = launch.kernel.address
        self._inner.append((link + 1, start))
        if following >= 0:
            self._inner.append((link + 2, following))
        return link

    def _prepare_call(self) -> None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_ssize_t] * 4)
        self._native = kind(runner.RUN.address)
        self._result, self._failure = (ctypes.c_ssize_t * 1)(), (ctypes.c_void_p * 1)()
        self._status_address = self.status.ctypes.data
        self._arguments = (
            ctypes.addressof(self._result),
            ctypes.addressof(self._failure),
            self.rows.ctypes.data,
            len(self.rows),
        )

    def move(self, buffer: CpuBuffer, address: int) -> None:
        """Update the kernels' address of a buffer of `moving`."""
        if address != buffer.address:
            buffer.address = address
            for slot, offset in self._slots[id(buffer)]:
                self._block[slot] = address + offset

    def run(self) -> int:
        """Run all launches, on as many threads as `threads.num_threads()` says.

        Returns:
            The row after which the run stopped because the status was set; -1 where it came to the end.
        """
        self._native(*self._arguments, threads.pool(), self._status_address)
        return int(self._result[0])

    def run_timed(self, times: list[int], empty: int = 0) -> int:
        """As `run`, each launch in a native call of its own.

        Args:
            times: for each row the nanoseconds that it took are added to.
            empty: nanoseconds of a call that runs nothing, which are taken off.
        """
        result, failure, _, count = self._arguments
        pool, clock, native = threads.pool(), time.perf_counter_ns, self._native
        rows, branches = self.rows.copy(), {}
        for number in np.flatnonzero(rows[:, 3] == runner.BRANCH):
            # As any other row it runs once; where the run goes on is looked up here.
            rows[number, 3] = 1
            branches[int(number)] = ctypes.c_int64.from_address(int(rows[number, 1]))
        base, row = rows.ctypes.data, 0
        while row < count:
            begun = clock()
            native(result, failure, base + row * runner.ROW * 8, 1, pool, self._status_address)
            times[row] += clock() - begun - empty
            if self._result[0] >= 0:
                return row
            row += branches[row].value if row in branches else 1
        return -1

    def empty_call(self) -> int:
        """The nanoseconds of a native call that runs nothing."""
        result, failure, base, _ = self._arguments
        begun = time.perf_counter_ns()
        self._native(result, failure, base, 0, threads.pool(), self._status_address)
        return time.perf_counter_ns() - begun


def _place(item: Item) -> tuple[Item, int]:
    """The memory that a part belongs to, and where in it the part is; any other item itself."""
    offset = 0
    while isinstance(item, CpuBuffer) and item.whole is not None:
        item, offset = item.whole, offset + item.offset
    return item, offset


def _aligned(integers: list[int]) -> tuple[np.ndarray, int]:
    """Integers in memory that starts on a cache line, and its address."""
    raw = np.zeros(len(integers) + LINE, np.int64)
    first = (-raw.ctypes.data % ALIGNMENT) // 8
    block = raw[first : first + len(integers)]
    block[:] = integers
    return block, raw.ctypes.data + first * 8
