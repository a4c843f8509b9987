"""Sums of channels on a CUDA device."""

from __future__ import annotations

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.sums import sums


@cuda_launches
def channel_sum(call: Call) -> list[CudaLaunch]:
    """The sum of each channel: of each plane first, if there are planes."""
    (x,), (y,), dtype = call.input_buffers, call.output_buffers, call.dtype
    outer, channels, inner = views.channels(call.op, call.inputs[0])
    if inner == 1:
        return sums(call, dtype, x, y, 1, outer, channels)
    planes = call.scratch(outer * channels * SIZES[dtype])
    return [
        *sums(call, dtype, x, planes, outer * channels, inner, 1),
        *sums(call, dtype, planes, y, 1, outer, channels),
    ]
