"""Concatenation on a CUDA device: each array is copied to its columns."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, over_items


@cuda_launches
def concatenate(call: Call) -> list[CudaLaunch]:
    """Arrays joined along an axis."""
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
