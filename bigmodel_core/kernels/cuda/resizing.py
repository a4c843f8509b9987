"""Resized images on a CUDA device: a thread for each number."""

from __future__ import annotations

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel, cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.places import pixel
from bigmodel_core.kernels.interpolation import Pass, find_parts, find_taps, parts_of, passes, weights_of


def taps_of_line(places, weights, size, base, step, apart, rate, shift, cubic, thread, threads):
    """places, weights (taps, count): what each number of a resized axis is made of."""
    for j in range(thread, places.shape[1], threads):
        find_taps(places, weights, j, size, base, step, apart, rate, shift, cubic)


def parts_of_line(firsts, parts, places, weights, thread, threads):
    """firsts (size,), parts (fan, size): which numbers each of a resized axis has a part in."""
    for r in range(thread, firsts.shape[0], threads):
        find_parts(firsts, parts, r, places, weights)


def pick_pixels(out, x, down, along, thread, threads):
    """out, x (planes, rows, columns, together): the nearest pixel; down, along (1, count) are the places."""
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        out[n, i, j, k] = x[n, down[0, i], along[0, j], k]


def resize_pixels(out, x, down, down_weights, along, along_weights, thread, threads):
    """out, x (planes, rows, columns, together): each pixel a mixture of those around its place."""
    taps = down.shape[0]
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        total = out.dtype.type(0)
        for a in range(taps):
            mixed = out.dtype.type(0)
            for b in range(taps):
                mixed += along_weights[b, j] * x[n, down[a, i], along[b, j], k]
            total += down_weights[a, i] * mixed
        out[n, i, j, k] = total


def gather_pixels(dx, dy, down, down_parts, along, along_parts, thread, threads):
    """dx, dy (planes, rows, columns, together): of each pixel those that it has a part in."""
    for element in range(thread, dx.size, threads):
        n, r, c, k = pixel(element, dx.shape)
        total = dx.dtype.type(0)
        for a in range(down_parts.shape[0]):
            part = down_parts[a, r]
            if part != 0:
                mixed = dx.dtype.type(0)
                for b in range(along_parts.shape[0]):
                    if along_parts[b, c] != 0:
                        mixed += along_parts[b, c] * dy[n, down[r] + a, along[c] + b, k]
                total += part * mixed
        dx[n, r, c, k] = total


@cuda_launches
def resize(call: Call) -> list[CudaLaunch]:
    """An array with its spatial axes resized."""
    launches: list[CudaLaunch] = []
    found = passes(call.op, call.inputs[0].sizes)
    x = call.input(0)
    for step in found:
        out = call.output(0) if step is found[-1] else call.temporary(step.made, call.inputs[0].dtype)
        more, tables = weights_of(call, step, cuda_kernel(taps_of_line))
        given, made = _seen(step, False, x), _seen(step, True, out)
        if step.rows.taps == 1:
            more += call.launch(cuda_kernel(pick_pixels), [made], [given, *tables[::2]])
        else:
            more += call.launch(cuda_kernel(resize_pixels), [made], [given, *tables])
        launches += more
        x = out
    return launches


@cuda_launches
def resize_grad(call: Call) -> list[CudaLaunch]:
    """The gradient of an array that was resized: for each number, those that it has a part in."""
    launches: list[CudaLaunch] = []
    found = passes(call.op, call.outputs[0].sizes)
    dy = call.input(0)
    for step in reversed(found):
        dx = call.output(0) if step is found[0] else call.temporary(step.given)
        more, tables = parts_of(call, step, cuda_kernel(taps_of_line), cuda_kernel(parts_of_line))
        given, made = [_seen(step, True, dy), *tables], _seen(step, False, dx)
        launches += more + call.launch(cuda_kernel(gather_pixels), [made], given)
        dy = dx
    return launches


def _seen(step: Pass, is_made: bool, array: Operand) -> Operand:
    """An array before or after a pass, as the kernels see it."""
    rows, columns = ((line.count if is_made else line.size) for line in (step.rows, step.columns))
    return array.reshape(step.planes, rows, columns, step.together)
