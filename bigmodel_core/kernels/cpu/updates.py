"""Blocks of arrays that begin where the run says, on the CPU: written, and read."""

from __future__ import annotations

import math

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import bound
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.cpu.strided import copy_strided, put_strided
from bigmodel_core.kernels.status import SLICE_OUT_OF_RANGE


def copy_all(out, x, start, stop):
    """out, x (all,)."""
    for i in range(bound(start), bound(stop)):
        out[i] = x[i]


def put_block(out, block, begin, limits, steps, sizes, strides, status):
    """out (all,), block (rows, last), begin (axes,): the block's numbers where they belong."""
    first = place_of(begin, limits, steps, status)
    if first >= 0:
        put_strided(out, block, first, sizes, strides)


def take_block(out, x, begin, limits, steps, sizes, strides, start, stop, status):
    """out (rows, last), x (all,), begin (axes,)."""
    first = place_of(begin, limits, steps, status)
    if first >= 0:
        copy_strided(out, x, first, sizes, strides, start, stop)


def place_of(begin, limits, steps, status):
    """The element at which a block begins; -1, and a report, if it does not fit there."""
    first = 0
    for axis in range(begin.shape[0]):
        if begin[axis] < 0 or begin[axis] > limits[axis]:
            report(status, SLICE_OUT_OF_RANGE, begin[axis], limits[axis], axis)
            return -1
        first += begin[axis] * steps[axis]
    return first


@cpu_launches(in_place=0)
def update_slice(call: Call) -> list[CpuLaunch]:
    """An array with a block replaced; of the array's own memory only the block is written."""
    array, block, begin = (call.input(number) for number in range(3))
    count = math.prod(array.spec.sizes)
    if count == 0:
        return []
    out = call.output(0).reshape(count)
    launches: list[CpuLaunch] = []
    if out.buffer is not array.buffer:
        launches += call.launch(kernel(copy_all), [out], [array.reshape(count)])
    if math.prod(block.spec.sizes):
        place = views.block(array.spec, block.spec, call.op.axes)
        rows = block.reshape(*views.matrix(block.spec))
        launches += call.launch(kernel(put_block), [out], [rows, begin], **place)
    return launches


@cpu_launches
def slice_at(call: Call) -> list[CpuLaunch]:
    """A block of an array."""
    array, begin = call.input(0), call.input(1)
    part: Spec = call.outputs[0]
    if math.prod(part.sizes) == 0:
        return []
    out = call.output(0).reshape(*views.matrix(part))
    x = array.reshape(math.prod(array.spec.sizes))
    place = views.block(array.spec, part, call.op.axes)
    return call.launch(kernel(take_block), [out], [x, begin], **place)
