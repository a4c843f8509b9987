"""Compiling kernels without a device: the PTX that Numba makes of a launch, to see what it holds.

This uses what Numba's CUDA target keeps private, for one version of it (the extra `cuda` pins it).
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from bigmodel_core.kernels.cuda.engine import runtime
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View


def ptx(launch: CudaLaunch, compute_capability: tuple[int, int] = (9, 0)) -> str:
    """The PTX of a launch's kernel, for its types of arguments; no driver and no device is needed.

    Raises:
        DeviceError: the extra `cuda` is not installed.
    """
    cuda = runtime.numba_cuda()
    with _pretended_device(compute_capability):
        text, _ = cuda.compile(
            launch.kernel.prepared,
            signature(launch),
            cc=compute_capability,
            output="ptx",
            device=False,
            abi="numba",
        )
    return text.decode() if isinstance(text, bytes) else str(text)


def signature(launch: CudaLaunch) -> tuple[Any, ...]:
    """Numba's types of a launch's arguments."""
    from numba import typeof
    from numba import types as numba_types
    from numba.np.numpy_support import from_dtype

    def type_of(argument: Any) -> Any:
        if isinstance(argument, View):
            return numba_types.Array(from_dtype(np.dtype(argument.dtype)), max(len(argument.shape), 1), "C")
        return typeof(argument)

    return tuple(type_of(argument) for argument in launch.arguments)


@contextlib.contextmanager
def _pretended_device(compute_capability: tuple[int, int]) -> Iterator[None]:
    """Let Numba compile device functions for a device that is not there."""
    from numba.cuda import dispatcher

    before = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=compute_capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = before
