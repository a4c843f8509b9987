"""Borders around arrays, on a CUDA device: a thread for each number."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.kernels.borders import CONSTANT, Bordered, bordered_by, copies, copy, source
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel, cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch


def pad_numbers(out, x, sizes, inside, before, unit, kind, fill, thread, threads):
    """out, x (all,): each number of the padded array, of which `unit` lie next to each other."""
    for element in range(thread, out.shape[0], threads):
        rest = element // unit
        taken = element % unit
        apart = unit
        for axis in range(len(sizes) - 1, -1, -1):
            place = source(rest % sizes[axis] - before[axis], inside[axis], kind)
            rest = rest // sizes[axis]
            if place < 0 or taken < 0:
                taken = -1
            else:
                taken += place * apart
            apart *= inside[axis]
        if taken < 0:
            out[element] = fill
        else:
            out[element] = x[taken]


def fold_numbers(dx, dy, sizes, inside, before, unit, kind, thread, threads):
    """dx, dy (all,): for each number the sum of its copies."""
    for element in range(thread, dx.shape[0], threads):
        total = 1
        rest = element // unit
        for axis in range(len(sizes) - 1, -1, -1):
            after = sizes[axis] - before[axis] - inside[axis]
            total *= copies(rest % inside[axis], inside[axis], before[axis], after, kind)
            rest = rest // inside[axis]
        for number in range(total):
            taken = element % unit
            apart = unit
            pick = number
            rest = element // unit
            for axis in range(len(sizes) - 1, -1, -1):
                place = rest % inside[axis]
                rest = rest // inside[axis]
                after = sizes[axis] - before[axis] - inside[axis]
                several = copies(place, inside[axis], before[axis], after, kind)
                taken += copy(pick % several, place, inside[axis], before[axis], kind) * apart
                pick = pick // several
                apart *= sizes[axis]
            if number == 0:
                dx[element] = dy[taken]
            else:
                dx[element] += dy[taken]


@cuda_launches
def pad(call: Call) -> list[CudaLaunch]:
    """An array with borders."""
    return padded(call, *bordered_by(call.op, call.inputs[0]))


@cuda_launches
def pad_grad(call: Call) -> list[CudaLaunch]:
    """The gradient inside, with that of the borders added to what they are copies of."""
    found, kind = bordered_by(call.op.forward(), call.outputs[0])
    if kind == CONSTANT:
        return padded(call, found.reversed(), CONSTANT)
    dx = call.output(0).reshape(math.prod(found.plain))
    dy = call.input(0).reshape(math.prod(found.padded))
    return call.launch(cuda_kernel(fold_numbers), [dx], [dy], **shape_of(found), kind=kind)


def padded(call: Call, found: Bordered, kind: int) -> list[CudaLaunch]:
    """The launch that makes an array with borders."""
    out = call.output(0).reshape(math.prod(found.padded))
    x = call.input(0).reshape(math.prod(found.plain))
    return call.launch(
        cuda_kernel(pad_numbers), [out], [x], **shape_of(found), kind=kind, fill=call.op.fill(call.dtype)
    )


def shape_of(found: Bordered) -> dict[str, Any]:
    """What kernels are told of an array with borders, by name: its rows are one more axis."""
    return {
        "sizes": (*found.sizes, found.units),
        "inside": (*found.inside, found.count),
        "before": (*found.before, found.left),
        "unit": found.unit,
    }
