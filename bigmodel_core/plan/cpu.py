"""The CPU: arrays in host memory, the passes, and memory that plans use in turns."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.graph.dtypes import COMPUTED, SIZES
from bigmodel_core.kernels.cpu.engine.launch import ALIGNMENT, PADDING, CpuBuffer
from bigmodel_core.plan.activations import activations_again
from bigmodel_core.plan.arenas import Arenas
from bigmodel_core.plan.capacity import refused_politely
from bigmodel_core.plan.cpu_kept import KeptMemory
from bigmodel_core.plan.cpu_plan import CpuPlan
from bigmodel_core.plan.cpu_program import CpuProgram
from bigmodel_core.plan.device import Device
from bigmodel_core.plan.layout import channels_last
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.loops import loops_united
from bigmodel_core.plan.passes import Passes, decomposed, decomposed_but_images, selected_early
from bigmodel_core.plan.schedule import updates_together
from bigmodel_core.plan.variables import Variables
from bigmodel_core.plan.vocabulary import vocabulary_by_blocks

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


class HostArray:
    """An array in an aligned piece of memory with padding behind it."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        nbytes = math.prod(shape) * SIZES[dtype]
        with refused_politely(nbytes, "an array needs", "use smaller layers or batches."):
            self._raw = np.zeros(nbytes + PADDING + ALIGNMENT, np.uint8)
        start = -self._raw.ctypes.data % ALIGNMENT
        self.array = self._raw[start : start + nbytes].view(np.dtype(dtype)).reshape(shape)
        self.address = self._raw.ctypes.data + start


class Arena:
    """A block of memory that plans of one program use in turns.

    Args:
        nbytes: its size.
        before: the smaller one that it replaces.

    Attributes:
        lock: held by the plan that runs; a block and its successor have the same, since what is kept
            (`cpu_kept`) belongs to the plans of both.
    """

    def __init__(self, nbytes: int, before: Arena | None = None) -> None:
        self.memory, self.nbytes = HostArray((nbytes,), "uint8"), nbytes
        self.lock: threading.Lock = before.lock if before else threading.Lock()
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
        graph=(
            loops_united,
            vocabulary_by_blocks,
            activations_again,
            selected_early,
            decomposed_but_images,
            channels_last,
            decomposed,
        ),
        steps=(updates_together,),
    )

    def __init__(self) -> None:
        self.arenas = Arenas(Arena)
        self._kept: weakref.WeakKeyDictionary[Program, KeptMemory] = weakref.WeakKeyDictionary()

    def allocate(self, array: np.ndarray) -> HostArray:
        """Memory that starts with an array's numbers."""
        memory = HostArray(array.shape, array.dtype.name)
        memory.array[...] = array
        return memory

    def read(self, memory: HostArray) -> np.ndarray:
        """A copy of what memory holds."""
        return memory.array.copy()

    def write(self, memory: HostArray, array: np.ndarray) -> None:
        """Overwrite memory, in place."""
        memory.array[...] = array

    def kept_of(self, program: Program) -> KeptMemory:
        """What the plans of a program keep from run to run."""
        return self._kept.setdefault(program, KeptMemory(lambda nbytes: HostArray((nbytes,), "uint8")))

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> CpuPlan:
        """Bind a program to sizes."""
        return CpuPlan(self, program, sizes, variables)

    def listing(self, program: Program, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """What a plan would run; no memory is taken and nothing is compiled."""
        return _unplaced(program, sizes).listing()

    def kept_nbytes(self, program: Program, sizes: Mapping[str, int]) -> int:
        """Bytes of packed and transformed weights that a plan would keep."""
        return _unplaced(program, sizes).kept.nbytes


def _unplaced(program: Program, sizes: Mapping[str, int]) -> CpuProgram:
    """The launches of a program, of buffers that have no memory."""
    return CpuProgram(program, sizes, lambda value, spec: CpuBuffer(spec.nbytes), CpuBuffer(0))


CPU = CpuDevice()
