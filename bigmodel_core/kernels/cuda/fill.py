"""One value everywhere, on a CUDA device."""

from __future__ import annotations

import numpy as np

from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, flat, over_items


def zeros(buffer: CudaBuffer, count: int, dtype: str) -> CudaLaunch:
    """The launch that fills a buffer with zeros."""
    return over_items(wrapper(fill, 1), [flat(buffer, count, dtype), np.dtype(dtype).type(0)], count)


def fill(out, value, thread, threads):
    """out (all,): one value everywhere."""
    for element in range(thread, out.shape[0], threads):
        out[element] = value
