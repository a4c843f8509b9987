"""Rows picked from a table on a CUDA device, and the gradient that adds them back in a fixed order."""

from __future__ import annotations

from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, over_items
from bigmodel_core.kernels.cuda.fill import zeros
from bigmodel_core.kernels.cuda.status import report

WRONG = codes.INDEX_OUT_OF_RANGE


@cuda_launches
def gather(call: Call) -> list[CudaLaunch]:
    """table[indices]."""
    table, indices = call.inputs
    (count,), (rows, width) = views.vector(indices), views.table(table)
    if count * width == 0:
        return []
    arguments = [
        View(call.output_buffers[0], (count, width), table.dtype),
        View(call.input_buffers[0], (rows, width), table.dtype),
        View(call.input_buffers[1], (count,), indices.dtype),
        call.status(View(call.input_buffers[1], (count,), indices.dtype)),
    ]
    return [over_items(wrapper(gather_rows, 3), arguments, count * width)]


def gather_rows(out, table, indices, thread, threads, status):
    """out (n, width), table (rows, width), indices (n,)."""
    width = out.shape[1]
    for element in range(thread, out.shape[0] * width, threads):
        i = element // width
        j = element % width
        row = indices[i]
        if row < 0 or row >= table.shape[0]:
            out[i, j] = 0
            if j == 0:
                report(status, WRONG, table.shape[0], i)
        else:
            out[i, j] = table[row, j]


@cuda_launches
def gather_grad(call: Call) -> list[CudaLaunch]:
    """Each row of the table is the sum of the gradients of its copies, in the order they come."""
    _, indices = call.inputs
    (count,), (rows, width) = views.vector(indices), views.table(call.outputs[0])
    if rows * width == 0:
        return []
    launches = [zeros(call.output_buffers[0], rows * width, call.dtype)]
    if count:
        arguments = [
            View(call.output_buffers[0], (rows, width), call.dtype),
            View(call.input_buffers[0], (count, width), call.dtype),
            View(call.input_buffers[1], (count,), indices.dtype),
        ]
        launches.append(over_items(wrapper(add_rows, 3), arguments, count * width))
    return launches


def add_rows(out, dy, indices, thread, threads):
    """out (rows, width): the thread with the first copy of a row sums all of them."""
    width = dy.shape[1]
    for element in range(thread, dy.shape[0] * width, threads):
        i = element // width
        j = element % width
        row = indices[i]
        if 0 <= row < out.shape[0] and is_first(indices, i):
            total = dy[i, j]
            for later in range(i + 1, dy.shape[0]):
                if indices[later] == row:
                    total += dy[later, j]
            out[row, j] = total


def is_first(indices, i):
    """Whether no earlier index names the same row."""
    at = 0
    while indices[at] != indices[i]:
        at += 1
    return at == i
