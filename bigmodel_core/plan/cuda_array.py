"""Arrays on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.errors import OutOfMemoryError
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer
from bigmodel_core.plan.bound import SMALLER
from bigmodel_core.plan.capacity import gibibytes


class DeviceArray:
    """An array on the device.

    Args:
        shape: its shape.
        dtype: its number type.
        cuda: the module `numba.cuda`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, cuda: Any) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.count = int(np.prod(shape, dtype=np.int64))
        self.nbytes = self.count * self.dtype.itemsize
        try:
            self.array = cuda.device_array(max(self.count, 1), self.dtype)
        except Exception as error:  # the driver's errors have no class of their own without a device
            if not isinstance(error, MemoryError) and "OUT_OF_MEMORY" not in str(error):
                raise
            raise OutOfMemoryError(
                f"the device does not give {gibibytes(self.nbytes)} of memory.",
                fix=SMALLER,
            ) from None

    @property
    def buffer(self) -> CudaBuffer:
        """The memory as plans refer to it."""
        return CudaBuffer(self.nbytes, self.array)
