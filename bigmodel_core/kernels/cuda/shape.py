"""Axes in another order, on a CUDA device."""

from __future__ import annotations

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.strided import copied


@cuda_launches
def transpose(call: Call) -> list[CudaLaunch]:
    """The axes in another order."""
    strides = views.strides(call.inputs[0].sizes)
    return copied(call, 0, [strides[axis] for axis in call.op.permutation])
