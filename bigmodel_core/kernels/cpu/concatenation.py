"""Concatenation on the CPU: each array is copied to its columns."""

from __future__ import annotations

import math

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.runs import copy_run


def copy_columns(out, x, offset, start, stop):
    """out (rows, wide), x (rows, narrow): the columns of x from `offset` on."""
    for i in range(start, stop):
        copy_run(out, i * out.shape[1] + offset, x, i * x.shape[1], x.shape[1])


@cpu_launches
def concatenate(call: Call) -> list[CpuLaunch]:
    """Arrays joined along an axis."""
    axis, shape = call.op.axis, call.outputs[0].sizes
    rows, wide = math.prod(shape[:axis]), math.prod(shape[axis:])
    out = call.output(0).reshape(rows, wide)
    launches: list[CpuLaunch] = []
    offset = 0
    for number, spec in enumerate(call.inputs):
        narrow = math.prod(spec.sizes[axis:])
        if rows * narrow:
            x = call.input(number).reshape(rows, narrow)
            launches += call.launch(kernel(copy_columns), [out], [x], offset=offset)
        offset += narrow
    return launches
