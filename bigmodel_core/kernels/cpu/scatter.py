"""Numbers written to computed places of an array, on the CPU."""

from __future__ import annotations

import math

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.cpu.updates import copy_all
from bigmodel_core.kernels.extremes import larger, smaller
from bigmodel_core.kernels.status import PLACE_OUT_OF_RANGE


def scatter_lines(out, indices, updates, mode, start, stop, status):
    """out (blocks, rows, width), indices, updates (blocks, n, width): the lines along the middle axis that
    have the numbers from start to stop."""
    width = out.shape[2]
    if width == 1:
        for block in range(start, stop):
            for i in range(indices.shape[1]):
                scatter_number(out, indices, updates, mode, block, i, 0, status)
        return
    line = start
    while line < stop:
        block = line // width
        first = line - block * width
        last = min(width, first + stop - line)
        for i in range(indices.shape[1]):
            for k in range(first, last):
                scatter_number(out, indices, updates, mode, block, i, k, status)
        line += last - first


def scatter_number(out, indices, updates, mode, block, i, k, status):
    row = indices[block, i, k]
    if row < 0 or row >= out.shape[1]:
        place = (block * indices.shape[1] + i) * out.shape[2] + k
        report(status, PLACE_OUT_OF_RANGE, row, out.shape[1], place)
    elif mode == 0:
        out[block, row, k] = updates[block, i, k]
    elif mode == 1:
        out[block, row, k] += updates[block, i, k]
    elif mode == 2:
        out[block, row, k] = larger(out[block, row, k], updates[block, i, k])
    else:
        out[block, row, k] = smaller(out[block, row, k], updates[block, i, k])


@cpu_launches(in_place=0)
def scatter(call: Call) -> list[CpuLaunch]:
    """An array with updates written into it; of the array's own memory nothing else is touched."""
    x, indices, updates = (call.input(number) for number in range(3))
    count = math.prod(x.spec.sizes)
    if count == 0 and math.prod(indices.spec.sizes) == 0:
        return []
    launches: list[CpuLaunch] = []
    if count and call.output_buffers[0] is not x.buffer:
        launches += call.launch(kernel(copy_all), [call.output(0).reshape(count)], [x.reshape(count)])
    if math.prod(indices.spec.sizes):
        shape = views.along(x.spec, call.op.axis)
        changed = views.along(indices.spec, call.op.axis)
        lines = kernel(scatter_lines, cost=2.0, items=lambda op, i, o: shape[0] * shape[2])
        out, given = call.output(0).reshape(*shape), (indices.reshape(*changed), updates.reshape(*changed))
        launches += call.launch(lines, [out], given)
    return launches
