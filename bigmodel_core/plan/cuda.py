"""The CUDA device: its arrays, its stream, and memory that plans use in turns."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.errors import DeviceError
from bigmodel_core.graph.dtypes import COMPUTED
from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.plan.activations import activations_again
from bigmodel_core.plan.arenas import Arenas
from bigmodel_core.plan.cuda_array import DeviceArray
from bigmodel_core.plan.cuda_plan import CudaPlan
from bigmodel_core.plan.device import Device
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.loops import loops_united
from bigmodel_core.plan.passes import Passes, decomposed
from bigmodel_core.plan.variables import Variables

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


class CudaDevice(Device):
    """The current CUDA device, or Numba's simulator of one.

    Raises:
        DeviceError: the extra `cuda` is not installed, or there is no device.
    """

    name = "cuda"
    dtypes = COMPUTED
    passes = Passes(graph=(loops_united, activations_again, decomposed))

    def __init__(self) -> None:
        runtime.require_device()
        self.cuda = runtime.numba_cuda()
        self.stream = self.cuda.stream()
        self.lock = threading.RLock()
        self.arenas = Arenas(self._block)

    def _block(self, nbytes: int, before: DeviceArray | None) -> DeviceArray:
        return DeviceArray((nbytes,), "uint8", self.cuda)

    def allocate(self, array: np.ndarray) -> DeviceArray:
        """Memory that starts with an array's numbers."""
        memory = DeviceArray(array.shape, array.dtype.name, self.cuda)
        self.write(memory, array)
        return memory

    def read(self, memory: DeviceArray) -> np.ndarray:
        """A copy of what memory holds."""
        with self.lock:
            found = memory.array.copy_to_host(stream=self.stream)
            self.stream.synchronize()
        return np.array(found[: memory.count].reshape(memory.shape))

    def write(self, memory: DeviceArray, array: np.ndarray) -> None:
        """Overwrite memory, in place."""
        host = np.empty(memory.shape, memory.dtype)
        host[...] = array
        if memory.count:
            with self.lock:
                memory.array.copy_to_device(host.reshape(-1), stream=self.stream)
                self.stream.synchronize()

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> CudaPlan:
        """Bind a program to sizes."""
        return CudaPlan(self, program, sizes, variables)

    def listing(self, program: Program, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """Raise: kernel listings exist for the CPU only.

        Raises:
            DeviceError: always.
        """
        raise DeviceError("kernels are listed for the CPU only.", fix="build the model with device='cpu'.")


@functools.cache
def cuda_device() -> CudaDevice:
    """The CUDA device.

    Raises:
        DeviceError: the extra `cuda` is not installed, or there is no device.
    """
    return CudaDevice()
