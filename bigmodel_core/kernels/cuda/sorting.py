"""Sorting on a CUDA device: a thread for each number counts how many come before it."""

from __future__ import annotations

import math

from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, over_items
from bigmodel_core.kernels.cuda.places import on_line


@cuda_launches
def top_k(call: Call) -> list[CudaLaunch]:
    """The first numbers along an axis in order, and where they came from."""
    call.op.infer(*call.inputs)  # a free axis may turn out too short
    (x,), (found, places) = call.inputs, call.outputs
    if math.prod(found.sizes) == 0:
        return []
    shape, kept = views.along(x, call.op.axis), views.along(found, call.op.axis)
    arguments = [
        View(call.output_buffers[0], kept, x.dtype),
        View(call.output_buffers[1], kept, places.dtype),
        View(call.input_buffers[0], shape, x.dtype),
        call.op.descending,
    ]
    return [over_items(wrapper(rank_numbers, 3), arguments, math.prod(shape))]


def rank_numbers(values, places, x, descending, thread, threads):
    """values, places (blocks, k, width), x (blocks, n, width)."""
    for element in range(thread, x.size, threads):
        block, i, k = on_line(element, x.shape)
        number = x[block, i, k]
        rank = 0
        for j in range(x.shape[1]):
            other = x[block, j, k]
            before = is_less(number, other) if descending else is_less(other, number)
            after = is_less(other, number) if descending else is_less(number, other)
            if before or (j < i and not after):
                rank += 1
        if rank < values.shape[1]:
            values[block, rank, k] = number
            places[block, rank, k] = i


def is_less(a, b):
    """Whether a is less than b; NaN is the largest number."""
    return a < b or (b != b and a == a)
