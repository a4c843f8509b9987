"""Convolutions of images and volumes on a CUDA device, their transposes and gradients."""

from __future__ import annotations

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.convolution import direct
from bigmodel_core.kernels.cuda.convolution.geometry import geometry_of
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch


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


conv3d, conv_transpose3d, conv3d_weight_gradient = conv2d, conv_transpose2d, conv2d_weight_gradient
