"""Mathematical functions of one number type on a CUDA device: libdevice's, so that float32 stays float32."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.kernels.cuda.engine import runtime, simulator


@functools.cache
def functions(dtype: str) -> dict[str, Any]:
    """The functions of Python's `math` that kernels of a dtype may call, by name."""
    if runtime.simulated():
        return simulator.functions_of_math()
    runtime.numba_cuda()
    from numba.cuda import libdevice

    single = "f" if dtype == "float32" else ""
    return {name: getattr(libdevice, name + single) for name in simulator.functions_of_math()}
