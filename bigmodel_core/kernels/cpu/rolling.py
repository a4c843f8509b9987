"""Axes that are rolled, on the CPU: two runs of each row."""

from __future__ import annotations

import math

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.array import CHUNK_ELEMENTS
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.runs import copy_run


def roll_rows(out, x, moved, pieces, start, stop):
    """out, x (rows, wide): rows with so many of their last numbers in front; an item is a piece of a row."""
    wide = out.shape[1]
    width = (wide + pieces - 1) // pieces
    for item in range(start, stop):
        row = item // pieces
        first = item % pieces * width
        last = min(first + width, wide)
        middle = min(max(moved, first), last)
        copy_run(out, row * wide + first, x, row * wide + first + wide - moved, middle - first)
        copy_run(out, row * wide + middle, x, row * wide + middle - moved, last - middle)


@cpu_launches
def roll(call: Call) -> list[CpuLaunch]:
    """Numbers moved along an axis, those that leave at its end coming in in front."""
    call.op.infer(*call.inputs)  # a free dimension may turn out too small
    shape, axis = call.outputs[0].sizes, call.op.axis
    rows, wide = math.prod(shape[:axis]), math.prod(shape[axis:])
    moved = call.op.moved * math.prod(shape[axis + 1 :])
    pieces = max(-(-wide // CHUNK_ELEMENTS), 1)
    function = kernel(roll_rows, items=lambda *_: rows * pieces if wide else 0)
    out, x = call.output(0).reshape(rows, wide), call.input(0).reshape(rows, wide)
    return call.launch(function, [out], [x], moved=moved, pieces=pieces)
