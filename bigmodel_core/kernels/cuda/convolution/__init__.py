"""Convolutions of images on a CUDA device, their transposes and gradients."""

from __future__ import annotations

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.convolution import direct
from bigmodel_core.kernels.cuda.convolution.geometry import geometry_of
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.sums import sums


@cuda_launches
def conv2d(call: Call) -> list[CudaLaunch]:
    """Images under filters."""
    call.op.infer(*call.inputs)  # a free dimension may turn out too small for the filter
    g = geometry_of(call.op, call.inputs[0], call.outputs[0], call.inputs[1].sizes[2:])
    x, weight, *bias = call.input_buffers
    return direct.convolve(g, x, weight, bias[0] if bias else None, call.output_buffers[0])


@cuda_launches
def conv_transpose2d(call: Call) -> list[CudaLaunch]:
    """The transpose of a convolution, and its gradient for the images."""
    g = geometry_of(call.op, call.outputs[0], call.inputs[0], call.inputs[1].sizes[2:])
    y, weight, *bias = call.input_buffers
    return direct.transposed(g, y, weight, bias[0] if bias else None, call.output_buffers[0])


@cuda_launches
def conv2d_weight_gradient(call: Call) -> list[CudaLaunch]:
    """The gradient of a convolution for its filters."""
    x, dy = call.input_buffers
    g = geometry_of(call.op, call.inputs[0], call.inputs[1], call.op.taps)
    return direct.weight_gradient(g, x, dy, call)


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
