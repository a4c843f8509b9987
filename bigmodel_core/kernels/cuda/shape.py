"""Axes in another order, and how many numbers there are, on a CUDA device."""

from __future__ import annotations

import numpy as np

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, flat, over_items
from bigmodel_core.kernels.cuda.fill import fill
from bigmodel_core.kernels.cuda.strided import copied


@cuda_launches
def transpose(call: Call) -> list[CudaLaunch]:
    """The axes in another order."""
    strides = views.strides(call.inputs[0].sizes)
    return copied(call, 0, [strides[axis] for axis in call.op.permutation])


@cuda_launches
def size_of(call: Call) -> list[CudaLaunch]:
    """How many elements are along some axes, or the size of a dimension, as a number."""
    size = call.op.count(call.inputs[0])
    out = call.outputs[0].dtype
    return [over_items(wrapper(fill, 1), [flat(call.output_buffers[0], 1, out), np.dtype(out).type(size)], 1)]
