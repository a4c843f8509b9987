"""Products along neighbouring axes on the CPU, and for each number that of all others."""

from __future__ import annotations

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.cpu.reduce import WIDTH, by_columns, columns_by
from bigmodel_core.kernels.views import split_axes


@cpu_launches
def prod(call: Call) -> list[CpuLaunch]:
    """The product along neighbouring axes."""
    outer, middle, inner = split_axes(call.inputs[0].sizes, call.op.axes)
    if outer * inner == 0:
        return []
    y, x = call.output(0).reshape(outer, inner), call.input(0).reshape(outer, middle, inner)
    if inner == 1:
        return call.launch(kernel(prod_last if x.spec.is_float else prod_last_whole), [y], [x])
    if middle == 0:
        return call.launch(kernel(fill_with_one), [y], [])
    return by_columns(call, y, x, columns_by(multiplied))


def prod_last(out, x, start, stop):
    """out (outer, 1), x (outer, middle, 1): the product of each row, in float64."""
    for i in range(start, stop):
        total = 1.0
        for j in range(x.shape[1]):
            total *= x[i, j, 0]
        out[i, 0] = total


def prod_last_whole(out, x, start, stop):
    """out (outer, 1), x (outer, middle, 1): the product of each row of integers."""
    for i in range(start, stop):
        total = 1
        for j in range(x.shape[1]):
            total *= x[i, j, 0]
        out[i, 0] = total


def multiplied(a, b):
    return a * b


def fill_with_one(out, start, stop):
    """out (outer, inner): products of nothing."""
    for i in range(start, stop):
        for k in range(out.shape[1]):
            out[i, k] = 1


@cpu_launches
def other_products(call: Call) -> list[CpuLaunch]:
    """For each number along neighbouring axes the product of all others: those before times those behind."""
    outer, middle, inner = split_axes(call.inputs[0].sizes, call.op.axes)
    if outer * middle * inner == 0:
        return []
    out, x = call.output(0).reshape(outer, middle, inner), call.input(0).reshape(outer, middle, inner)
    if inner == 1:
        return call.launch(kernel(other_products_rows), [out], [x])
    blocks = -(-inner // WIDTH)
    totals = call.temporary((outer * blocks, min(inner, WIDTH)), x.spec.dtype)
    return call.launch(kernel(other_products_columns), [totals, out], [x], width=WIDTH)


def other_products_rows(out, x, start, stop):
    """out, x (outer, middle, 1): products from both ends, which meet in the middle and go on."""
    last = x.shape[1] - 1
    half = x.shape[1] // 2
    for i in range(start, stop):
        out[i, 0, 0] = 1
        before = out[i, 0, 0]
        behind = before
        for j in range(half):
            out[i, j, 0] = before
            out[i, unsigned(last - j), 0] = behind
            before *= x[i, j, 0]
            behind *= x[i, unsigned(last - j), 0]
        if x.shape[1] % 2:
            out[i, half, 0] = before * behind
            number = x[i, half, 0]
            before *= number
            behind *= number
        for j in range(last + 1 - half, last + 1):
            out[i, j, 0] *= before
            out[i, unsigned(last - j), 0] *= behind
            before *= x[i, j, 0]
            behind *= x[i, unsigned(last - j), 0]


def other_products_columns(totals, out, x, width, start, stop):
    """out, x (outer, middle, inner), totals (outer * blocks, width): some columns at a time, row by row."""
    middle, inner = x.shape[1], x.shape[2]
    blocks = (inner + width - 1) // width
    for item in range(start, stop):
        i = item // blocks
        first = item % blocks * width
        last = min(inner, first + width)
        total = totals[item]
        for k in range(last - first):
            total[k] = 1
        for j in range(middle):
            here, found = x[i, j, first:last], out[i, j, first:last]
            for k in range(last - first):
                found[k] = total[k]
                total[k] *= here[k]
        for k in range(last - first):
            total[k] = 1
        for step in range(middle):
            j = middle - 1 - step
            here, found = x[i, j, first:last], out[i, j, first:last]
            for k in range(last - first):
                found[k] *= total[k]
                total[k] *= here[k]
