"""Images between channels first and channels last, on a CUDA device."""

from __future__ import annotations

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.strided import copied


@cuda_launches
def swap_planes(call: Call) -> list[CudaLaunch]:
    """The axis of channels moved to the other side of the pixels."""
    first, *strides = views.strides(call.inputs[0].sizes)
    turned = (*strides[1:], strides[0]) if call.op.to_last else (strides[-1], *strides[:-1])
    return copied(call, 0, [first, *turned])
