"""Slices and concatenations on a CUDA device."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, flat, over_items
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


@cuda_launches
def concatenate(call: Call) -> list[CudaLaunch]:
    """Several arrays one after the other along an axis: each is copied to its columns."""
    axis, y = call.op.axis, call.outputs[0]
    shape = y.sizes
    rows, wide = math.prod(shape[:axis]), math.prod(shape[axis:])
    launches, offset = [], 0
    for spec, buffer in zip(call.inputs, call.input_buffers, strict=True):
        narrow = math.prod(spec.sizes[axis:])
        if rows * narrow:
            arguments = [
                View(call.output_buffers[0], (rows, wide), y.dtype),
                View(buffer, (rows, narrow), y.dtype),
                np.int64(offset),
            ]
            launches.append(over_items(wrapper(copy_columns, 2), arguments, rows * narrow))
        offset += narrow
    return launches


def copy_columns(out, x, offset, thread, threads):
    """out (rows, wide), x (rows, narrow): the columns of x from `offset` on."""
    narrow = x.shape[1]
    for element in range(thread, x.shape[0] * narrow, threads):
        out[element // narrow, offset + element % narrow] = x[element // narrow, element % narrow]
