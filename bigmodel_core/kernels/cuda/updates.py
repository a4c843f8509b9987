"""Blocks of arrays that begin where the run says, on a CUDA device: written, and read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, flat, over_items
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.cuda.strided import place_of
from bigmodel_core.kernels.status import SLICE_OUT_OF_RANGE


@cuda_launches(in_place=0)
def update_slice(call: Call) -> list[CudaLaunch]:
    """An array with a block replaced; of the array's own memory only the block is written."""
    array, block, _ = call.inputs
    count, changed = math.prod(array.sizes), math.prod(block.sizes)
    if count == 0:
        return []
    out = flat(call.output_buffers[0], count, array.dtype)
    launches = []
    if call.output_buffers[0] is not call.input_buffers[0]:
        x = flat(call.input_buffers[0], count, array.dtype)
        launches.append(over_items(wrapper(copy_all, 2), [out, x], count))
    if changed:
        values = flat(call.input_buffers[1], changed, array.dtype)
        arguments = [out, values, *_place(call, array, block, 2)]
        launches.append(over_items(wrapper(put_block, 3), arguments, changed))
    return launches


@cuda_launches
def slice_at(call: Call) -> list[CudaLaunch]:
    """A block of an array."""
    array, part = call.inputs[0], call.outputs[0]
    count = math.prod(part.sizes)
    if count == 0:
        return []
    x = flat(call.input_buffers[0], math.prod(array.sizes), array.dtype)
    out = flat(call.output_buffers[0], count, array.dtype)
    return [over_items(wrapper(take_block, 3), [out, x, *_place(call, array, part, 1)], count)]


def _place(call: Call, array: Spec, block: Spec, position: int) -> list[Any]:
    """Where the block begins, and the arguments that locate its numbers."""
    begin = View(call.input_buffers[position], call.inputs[position].sizes, "int64")
    place = views.block(array, block, call.op.axes)
    tuples = [tuple(np.int64(item) for item in items) for items in place.values()]
    return [begin, *tuples, call.status(begin)]


def copy_all(out, x, thread, threads):
    """out, x (all,)."""
    for element in range(thread, out.shape[0], threads):
        out[element] = x[element]


def put_block(out, block, begin, limits, steps, sizes, strides, thread, threads, status):
    """out, block (all,), begin (axes,): the block's numbers where they belong."""
    first = first_of(begin, limits, steps, thread, status)
    if first >= 0:
        for element in range(thread, block.shape[0], threads):
            out[place_of(element, first, sizes, strides)] = block[element]


def take_block(out, x, begin, limits, steps, sizes, strides, thread, threads, status):
    """out, x (all,), begin (axes,)."""
    first = first_of(begin, limits, steps, thread, status)
    for element in range(thread, out.shape[0], threads):
        if first >= 0:
            out[element] = x[place_of(element, first, sizes, strides)]
        else:
            out[element] = 0


def first_of(begin, limits, steps, thread, status):
    """The element at which a block begins; -1, and a report, if it does not fit there."""
    first = 0
    for axis in range(begin.shape[0]):
        if begin[axis] < 0 or begin[axis] > limits[axis]:
            if thread == 0:
                report(status, SLICE_OUT_OF_RANGE, limits[axis], axis)
            return -1
        first += begin[axis] * steps[axis]
    return first
