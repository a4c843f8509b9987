"""Sums of the numbers up to each along an axis, on the CPU; float32 is added up in float64."""

from __future__ import annotations

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.reduce import WIDTH
from bigmodel_core.kernels.views import split_axes


@cpu_launches
def cumsum(call: Call) -> list[CpuLaunch]:
    """Sums along an axis: of rows, or of columns side by side."""
    outer, middle, inner = split_axes(call.inputs[0].sizes, (call.op.axis,))
    if outer * middle * inner == 0:
        return []
    x, y = call.input(0), call.output(0)
    is_float = x.spec.is_float
    if inner == 1:
        rows = kernel(cumsum_rows if is_float else cumsum_whole_rows)
        return call.launch(rows, [y.reshape(outer, middle)], [x.reshape(outer, middle)])
    blocks = -(-inner // WIDTH)
    totals = call.temporary((outer * blocks, min(inner, WIDTH)), "float64" if is_float else "int64")
    parts = [totals, y.reshape(outer, middle, inner)]
    return call.launch(kernel(cumsum_columns), parts, [x.reshape(outer, middle, inner)], width=WIDTH)


def cumsum_rows(out, x, reverse, exclusive, start, stop):
    """out, x (rows, columns): the sum of each row up to each number."""
    columns = x.shape[1]
    for i in range(start, stop):
        total = 0.0
        for step in range(columns):
            j = columns - 1 - step if reverse else step
            before = total
            total += x[i, j]
            out[i, j] = before if exclusive else total


def cumsum_whole_rows(out, x, reverse, exclusive, start, stop):
    """out, x (rows, columns) of integers: the sum of each row up to each number."""
    columns = x.shape[1]
    for i in range(start, stop):
        total = 0
        for step in range(columns):
            j = columns - 1 - step if reverse else step
            before = total
            total += x[i, j]
            out[i, j] = before if exclusive else total


def cumsum_columns(totals, out, x, width, reverse, exclusive, start, stop):
    """out, x (outer, middle, inner): sums along the middle axis, so many columns at a time, which are added
    up in totals (outer * blocks, width)."""
    middle, inner = x.shape[1], x.shape[2]
    blocks = (inner + width - 1) // width
    for row in range(start, stop):
        i = row // blocks
        first = row % blocks * width
        last = min(inner, first + width)
        total = totals[row]
        for k in range(last - first):
            total[k] = 0
        for step in range(middle):
            j = middle - 1 - step if reverse else step
            here, there = x[i, j, first:last], out[i, j, first:last]
            if exclusive:
                for k in range(last - first):
                    there[k] = total[k]
                    total[k] += here[k]
            else:
                for k in range(last - first):
                    total[k] += here[k]
                    there[k] = total[k]
