"""Elements picked by computed numbers on a CUDA device, and the gradient that adds them back, in order."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, flat, over_items
from bigmodel_core.kernels.cuda.fill import zeros
from bigmodel_core.kernels.cuda.places import on_line
from bigmodel_core.kernels.cuda.status import report

WRONG = codes.INDEX_OUT_OF_RANGE


@cuda_launches
def gather(call: Call) -> list[CudaLaunch]:
    """The slices of a table that indices name."""
    table, indices = call.inputs
    (count,), (blocks, rows, width) = views.vector(indices), views.along(table, call.op.axis)
    if blocks * count * width == 0:
        return []
    arguments = [
        View(call.output_buffers[0], (blocks, count, width), table.dtype),
        View(call.input_buffers[0], (blocks, rows, width), table.dtype),
        View(call.input_buffers[1], (count,), indices.dtype),
        int(call.op.padded),
        call.status(View(call.input_buffers[1], (count,), indices.dtype)),
    ]
    return [over_items(wrapper(gather_rows, 4), arguments, blocks * count * width)]


def gather_rows(out, table, indices, padded, thread, threads, status):
    """out (blocks, n, width), table (blocks, rows, width), indices (n,): rows, zeros for a -1 of padding."""
    for element in range(thread, out.size, threads):
        block, i, j = on_line(element, out.shape)
        row = indices[i]
        if row < 0 or row >= table.shape[1]:
            out[block, i, j] = 0
            if j == 0 and block == 0 and (padded == 0 or row != -1):
                report(status, WRONG, table.shape[1], i)
        else:
            out[block, i, j] = table[block, row, j]


@cuda_launches
def gather_grad(call: Call) -> list[CudaLaunch]:
    """Each row of the table is the sum of the gradients of its copies, in the order they come."""
    _, indices = call.inputs
    (count,), (blocks, rows, width) = views.vector(indices), views.along(call.outputs[0], call.op.axis)
    if blocks * rows * width == 0:
        return []
    launches = [zeros(call.output_buffers[0], blocks * rows * width, call.dtype)]
    if count:
        arguments = [
            View(call.output_buffers[0], (blocks, rows, width), call.dtype),
            View(call.input_buffers[0], (blocks, count, width), call.dtype),
            View(call.input_buffers[1], (count,), indices.dtype),
        ]
        launches.append(over_items(wrapper(add_rows, 3), arguments, blocks * count * width))
    return launches


def add_rows(out, dy, indices, thread, threads):
    """out (blocks, rows, width): the thread with the first copy of a row sums all of them."""
    for element in range(thread, dy.size, threads):
        block, i, j = on_line(element, dy.shape)
        row = indices[i]
        if 0 <= row < out.shape[1] and is_first(indices, i):
            total = dy[block, i, j]
            for later in range(i + 1, dy.shape[1]):
                if indices[later] == row:
                    total += dy[block, later, j]
            out[block, row, j] = total


def is_first(indices, i):
    """Whether no earlier index names the same row."""
    at = 0
    while indices[at] != indices[i]:
        at += 1
    return at == i


@cuda_launches
def take_along(call: Call) -> list[CudaLaunch]:
    """At each place, the element of its line along an axis that the index there names."""
    x, indices = call.inputs
    shape = views.along(indices, call.op.axis)
    count = math.prod(shape)
    if count == 0:
        return []
    arguments = [
        View(call.output_buffers[0], shape, x.dtype),
        View(call.input_buffers[0], views.along(x, call.op.axis), x.dtype),
        View(call.input_buffers[1], shape, indices.dtype),
        call.status(flat(call.input_buffers[1], count, indices.dtype)),
    ]
    return [over_items(wrapper(take_along_lines, 3), arguments, count)]


def take_along_lines(out, x, indices, thread, threads, status):
    """out, indices (blocks, n, width), x (blocks, rows, width)."""
    for element in range(thread, out.size, threads):
        block, i, k = on_line(element, out.shape)
        row = indices[block, i, k]
        if row < 0 or row >= x.shape[1]:
            out[block, i, k] = 0
            report(status, codes.PLACE_OUT_OF_RANGE, x.shape[1], element)
        else:
            out[block, i, k] = x[block, row, k]


@cuda_launches
def gather_nd(call: Call) -> list[CudaLaunch]:
    """The parts of an array at coordinates along its first axes."""
    x, indices = call.inputs
    (parts,), (whole, given) = views.gathered_parts(x, indices)
    if math.prod(parts) == 0:
        return []
    places, coordinates = View(call.input_buffers[1], given, indices.dtype), views.coordinates(x, indices)
    status = call.status(flat(call.input_buffers[1], places.size, indices.dtype))
    launches = [
        over_items(wrapper(check_axis, 1), [places, np.int64(axis), np.int64(size), status], given[0])
        for axis, size in enumerate(coordinates["sizes"])
    ]
    arguments = [
        View(call.output_buffers[0], parts, x.dtype),
        View(call.input_buffers[0], whole, x.dtype),
        places,
        *(tuple(np.int64(n) for n in numbers) for numbers in coordinates.values()),
    ]
    return [*launches, over_items(wrapper(gather_parts, 3), arguments, math.prod(parts))]


def check_axis(indices, axis, size, thread, threads, status):
    """indices (n, axes): report what is out of range along one axis, if that of an earlier one was not."""
    for i in range(thread, indices.shape[0], threads):
        is_first = status[codes.CODE] == codes.OK or status[codes.LIMIT] == size
        if is_first and (indices[i, axis] < 0 or indices[i, axis] >= size):
            report(status, codes.PLACE_OUT_OF_RANGE, size, i * indices.shape[1] + axis)


def gather_parts(out, x, indices, sizes, steps, thread, threads):
    """out (n, width), x (places, width), indices (n, axes)."""
    width = out.shape[1]
    depth = indices.shape[1]
    for element in range(thread, out.shape[0] * width, threads):
        i = element // width
        j = element % width
        place = 0
        for axis in range(depth):
            at = indices[i, axis]
            if at < 0 or at >= sizes[axis]:
                place = -1
                break
            place += at * steps[axis]
        if place < 0:
            out[i, j] = 0
        else:
            out[i, j] = x[place, j]
