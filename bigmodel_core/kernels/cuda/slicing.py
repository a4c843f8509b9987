"""Slices on a CUDA device."""

from __future__ import annotations

import math

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, flat, over_items
from bigmodel_core.kernels.cuda.fill import zeros
from bigmodel_core.kernels.cuda.strided import copied, place, put_strided


@cuda_launches
def slice_(call: Call) -> list[CudaLaunch]:
    """Every so-many-th element along one axis."""
    return copied(call, *views.sliced(call.op, call.inputs[0]))


@cuda_launches
def slice_grad(call: Call) -> list[CudaLaunch]:
    """Zeros, but where the slice was taken: there its gradient."""
    shape = call.inputs[0].sizes
    whole, count, dtype = math.prod(call.outputs[0].sizes), math.prod(shape), call.dtype
    if whole == 0:
        return []
    first, strides = views.sliced(call.op.forward(), call.outputs[0])
    out = flat(call.output_buffers[0], whole, dtype)
    launches = [zeros(call.output_buffers[0], whole, dtype)]
    if count:
        arguments = [out, flat(call.input_buffers[0], count, dtype), *place(first, shape, strides)]
        launches.append(over_items(wrapper(put_strided, 2), arguments, count))
    return launches
