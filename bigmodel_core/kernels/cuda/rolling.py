"""Axes that are rolled, on a CUDA device: a thread for each number."""

from __future__ import annotations

import math

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel, cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch


def roll_rows(out, x, moved, thread, threads):
    """out, x (rows, wide): rows with so many of their last numbers in front."""
    wide = out.shape[1]
    for element in range(thread, out.shape[0] * wide, threads):
        place = element % wide - moved
        out[element // wide, element % wide] = x[element // wide, place if place >= 0 else place + wide]


@cuda_launches
def roll(call: Call) -> list[CudaLaunch]:
    """Numbers moved along an axis, those that leave at its end coming in in front."""
    call.op.infer(*call.inputs)  # a free dimension may turn out too small
    shape, axis = call.outputs[0].sizes, call.op.axis
    rows, wide = math.prod(shape[:axis]), math.prod(shape[axis:])
    moved = call.op.moved * math.prod(shape[axis + 1 :])
    function = cuda_kernel(roll_rows, items=lambda *_: rows * wide)
    out, x = call.output(0).reshape(rows, wide), call.input(0).reshape(rows, wide)
    return call.launch(function, [out], [x], moved=moved)
