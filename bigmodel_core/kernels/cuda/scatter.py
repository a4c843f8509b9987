"""Numbers written to computed places of an array, on a CUDA device: a thread for each line along the axis."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, flat, over_items
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.cuda.updates import copy_all
from bigmodel_core.kernels.status import PLACE_OUT_OF_RANGE


@cuda_launches(in_place=0)
def scatter(call: Call) -> list[CudaLaunch]:
    """An array with updates written into it; of the array's own memory nothing else is touched."""
    x, indices, _ = call.inputs
    count, changed = math.prod(x.sizes), math.prod(indices.sizes)
    launches = []
    if count and call.output_buffers[0] is not call.input_buffers[0]:
        both = [flat(buffer, count, x.dtype) for buffer in (call.output_buffers[0], call.input_buffers[0])]
        launches.append(over_items(wrapper(copy_all, 2), both, count))
    if changed:
        shape, lines = views.along(x, call.op.axis), views.along(indices, call.op.axis)
        arguments = [
            View(call.output_buffers[0], shape, x.dtype),
            View(call.input_buffers[1], lines, indices.dtype),
            View(call.input_buffers[2], lines, x.dtype),
            np.int64(call.op.mode),
            call.status(flat(call.input_buffers[1], changed, indices.dtype)),
        ]
        launches.append(over_items(wrapper(scatter_lines, 3), arguments, lines[0] * lines[2]))
    return launches


def scatter_lines(out, indices, updates, mode, thread, threads, status):
    """out (blocks, rows, width), indices, updates (blocks, n, width)."""
    width = out.shape[2]
    for line in range(thread, indices.shape[0] * width, threads):
        block = line // width
        k = line % width
        for i in range(indices.shape[1]):
            row = indices[block, i, k]
            if row < 0 or row >= out.shape[1]:
                report(status, PLACE_OUT_OF_RANGE, out.shape[1], (block * indices.shape[1] + i) * width + k)
            else:
                here = out[block, row, k]
                new = updates[block, i, k]
                if mode == 1:
                    new = here + new
                elif mode == 2:
                    new = here if here > new or here != here else new
                elif mode == 3:
                    new = here if here < new or here != here else new
                out[block, row, k] = new
