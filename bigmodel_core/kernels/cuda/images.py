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
    strides = views.strides(call.inputs[0].sizes)
    order = (0, 2, 3, 1) if call.op.to_last else (0, 3, 1, 2)
    return copied(call, 0, [strides[axis] for axis in order])
