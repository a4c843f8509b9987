"""What a plan runs on the CPU: a kernel, the integers of its context, and how many chunks its work has."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.tile_table import TileTable

ALIGNMENT = 64
"""Every buffer of a plan starts on a cache line."""
PADDING = 256
"""Bytes after every buffer that a kernel may read (never write): vector loads need no masks at the end."""


@dataclass(eq=False)
class CpuBuffer:
    """A contiguous, aligned piece of memory whose address the plan fills in.

    Args:
        nbytes: its size; `PADDING` bytes more can be read.
        address: where it is, set by the plan.
        whole: the piece of memory that it is a part of; None for one of its own.
        offset: the bytes of that before it.
    """

    nbytes: int
    address: int = 0
    whole: CpuBuffer | None = None
    offset: int = 0

    @property
    def piece(self) -> CpuBuffer:
        """The piece of memory that it is, or is in."""
        return self if self.whole is None else self.whole.piece

    @property
    def start(self) -> int:
        """The bytes of that piece before it."""
        return 0 if self.whole is None else self.whole.start + self.offset

    def part(self, offset: int, nbytes: int) -> CpuBuffer:
        """A part of it, to be named in contexts of launches: it is where this is, `offset` bytes further."""
        return CpuBuffer(nbytes, whole=self, offset=offset)


class MovingBuffer(CpuBuffer):
    """Memory that is elsewhere in each turn of a loop: a step of a longer array, or one of two in turns."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where the contexts of launches hold the address of a buffer, or of a part of it: how many places there
    are, then the address of each, and the bytes of the buffer before the part."""

    buffer: MovingBuffer


Scratch = Callable[[int], CpuBuffer]
"""Gives scratch memory of a number of bytes, which lives during the launches of one op."""


@dataclass(eq=False)
class CpuLaunch:
    """One row of a plan's table.

    Args:
        kernel: a native function of (context address, chunk).
        context: what the kernel reads: a `CpuBuffer`, a `TileTable` or a kernel is stored as its address, a
            float as the bits of a float64, another launch as the address of its context, `Places` as that of
            a list.
        chunks: into how many independent pieces the work is cut; fixed by shapes alone.
        tile: for a kernel that writes a matrix tile by tile: (rows, columns) of a tile; chunk `c` then
            writes the tile at row `c // n` and column `c % n` of the tiles, with n tiles in a row. Lets the
            plan run other kernels on each finished tile. None where chunks are not tiles.
        epilogue: the launch that runs on each chunk right after this one; it may have an epilogue, too.
        choice: the algorithm chosen for this shape, in a few words; empty if there is only one.
        branches: whether the run goes on elsewhere: the first integer of the context, which the kernel may
            change, then says how many rows further on, or back where it is negative.
        makes: scratch memory that it fills, or a part of it, with what depends on nothing but what else its
            context names; only such launches write it. Where all that is the same from run to run, it runs
            once it has changed, and the memory is kept.
    """

    kernel: NativeFunction
    context: Sequence[Item]
    chunks: int = 1
    tile: tuple[int, int] | None = None
    epilogue: CpuLaunch | None = field(default=None, repr=False)
    choice: str = ""
    branches: bool = False
    makes: tuple[CpuBuffer, ...] = ()

    def linked(self) -> Iterator[CpuLaunch]:
        """The launch, and those that run on each of its chunks after it, in order."""
        at: CpuLaunch | None = self
        while at is not None:
            yield at
            at = at.epilogue


def buffers_of(launch: CpuLaunch) -> Iterator[CpuBuffer]:
    """The pieces of memory that a launch and its epilogues refer to; some of them more than once."""
    for part in launch.linked():
        for item in part.context:
            if isinstance(item, CpuBuffer):
                yield item.piece
            elif isinstance(item, CpuLaunch):
                yield from buffers_of(item)


Item = int | float | CpuBuffer | TileTable | NativeFunction | CpuLaunch | Places
"""What a context holds."""


def kernels_of(launches: Iterable[CpuLaunch]) -> Iterator[NativeFunction]:
    """Everything that must be compiled for some launches."""
    for first in launches:
        for launch in first.linked():
            yield launch.kernel
            for item in launch.context:
                if isinstance(item, TileTable):
                    yield item.fill
                elif isinstance(item, CpuLaunch):
                    yield from kernels_of([item])


def integer_of(item: int | float | CpuBuffer | TileTable | NativeFunction) -> int:
    """An item as a context holds it."""
    if isinstance(item, CpuBuffer) and item.whole is not None:
        return integer_of(item.whole) + item.offset
    if isinstance(item, (CpuBuffer, TileTable, NativeFunction)):
        return item.address
    return float_bits(item) if isinstance(item, float) else int(item)


def float_bits(value: float) -> int:
    """A float64 as the integer with the same bits, as contexts hold it (`load_float` reads it back)."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])
