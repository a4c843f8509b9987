"""Sizes as numbers, on a CUDA device."""

from __future__ import annotations

import numpy as np

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, flat, over_items
from bigmodel_core.kernels.cuda.fill import fill


@cuda_launches
def size_of(call: Call) -> list[CudaLaunch]:
    """How many elements are along some axes, or the size of a dimension, as a number."""
    size = call.op.count(call.inputs[0])
    out = call.outputs[0].dtype
    return [over_items(wrapper(fill, 1), [flat(call.output_buffers[0], 1, out), np.dtype(out).type(size)], 1)]
