"""What a plan runs on a CUDA device: a kernel, its arguments, and how many blocks of how many threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.kernels.cuda.engine import runtime, simulator

LAST = 2**62
"""Above every position: kernels report `LAST - position`, so that the largest number names the first one."""


@dataclass(frozen=True)
class Sizes:
    """How work is cut.

    Args:
        threads: threads of a block.
        blocks: blocks of a launch at most; threads then take several pieces each.
        lanes: threads that share one row where rows are long.
        long_row: from how many numbers on a row is shared.
        row_piece: numbers of a row that one block adds up.
        column_piece: rows that one thread adds up.
    """

    threads: int
    blocks: int
    lanes: int
    long_row: int
    row_piece: int
    column_piece: int


DEVICE = Sizes(threads=256, blocks=4096, lanes=128, long_row=128, row_piece=16384, column_piece=256)
SIMULATOR = Sizes(threads=2, blocks=2, lanes=4, long_row=8, row_piece=16, column_piece=8)
"""Every simulated thread is a thread of the operating system: few, so that tests are quick."""


def sizes() -> Sizes:
    """How work is cut here."""
    return SIMULATOR if runtime.simulated() else DEVICE


@dataclass(eq=False)
class CudaBuffer:
    """A contiguous piece of device memory that the plan places.

    Args:
        nbytes: its size.
        memory: a one-dimensional device array that covers it, set by the plan.
    """

    nbytes: int
    memory: Any = None


@dataclass(frozen=True, eq=False)
class View:
    """An array argument: a buffer's memory, from some element on, under a shape.

    >>> View(CudaBuffer(24), (2, 3), "float32").size
    6
    """

    buffer: CudaBuffer
    shape: tuple[int, ...]
    dtype: str
    offset: int = 0
    is_read: bool = False
    """Whether kernels only read it: in the simulator, writing to it is an error."""

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    def resolve(self) -> Any:
        """The device array, once the buffer has its memory."""
        shape = self.shape or (1,)
        if self.size == 0:
            return runtime.numba_cuda().device_array(shape, np.dtype(self.dtype))
        memory = self.buffer.memory
        flat = memory if memory.dtype == np.dtype(self.dtype) else memory.view(np.dtype(self.dtype))
        found = flat[self.offset : self.offset + self.size].reshape(shape)
        return simulator.read_only(found) if self.is_read and runtime.simulated() else found


def flat(buffer: CudaBuffer, count: int, dtype: str) -> View:
    """All numbers of a buffer in one row."""
    return View(buffer, (count,), dtype)


@dataclass(eq=False)
class CudaLaunch:
    """One launch of a kernel.

    Args:
        function: the kernel, a plain Python function in terms of `cuda.grid`, `cuda.threadIdx` and so on.
        arguments: `View`s and numbers of NumPy's types (or tuples of them).
        blocks: blocks along each axis of the grid.
        threads: threads of a block.
    """

    function: Callable[..., None]
    arguments: Sequence[Any]
    blocks: tuple[int, ...]
    threads: int

    @property
    def kernel(self) -> runtime.Kernel:
        """The compiled form, made once for a function."""
        return runtime.kernel(self.function)

    def bound(self, stream: Any) -> Callable[[], None]:
        """A call that launches it, once all buffers have their memory."""
        resolved = [item.resolve() if isinstance(item, View) else item for item in self.arguments]
        return self.kernel.bound(self.blocks, self.threads, stream, resolved)


def over_items(function: Callable[..., None], arguments: Sequence[Any], items: int) -> CudaLaunch:
    """A launch whose threads share a number of independent items."""
    chosen = sizes()
    blocks = min(chosen.blocks, -(-items // chosen.threads))
    return CudaLaunch(function, arguments, (blocks,), chosen.threads)


def over_rows(function: Callable[..., None], arguments: Sequence[Any], rows: int, lanes: int) -> CudaLaunch:
    """A launch that gives each row to one thread (`lanes` 1) or to a block of `lanes` threads."""
    if lanes == 1:
        return over_items(function, arguments, rows)
    return CudaLaunch(function, arguments, (min(sizes().blocks, rows),), lanes)


def lanes_for(length: int) -> int:
    """How many threads share a row of a given length."""
    chosen = sizes()
    return chosen.lanes if length >= chosen.long_row else 1
