"""Products along neighbouring axes on the CPU, and for each number that of all others."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.views import split_axes


@cpu_launches
def prod(call: Call) -> list[CpuLaunch]:
    """The product along neighbouring axes."""
    outer, middle, inner = split_axes(call.inputs[0].sizes, call.op.axes)
    if outer * inner == 0:
        return []
    y, x = call.output(0).reshape(outer, inner), call.input(0).reshape(outer, middle, inner)
    rows = prod_last if x.spec.is_float else prod_last_whole
    return call.launch(kernel(prod_middle if inner > 1 else rows), [y], [x])


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


def prod_middle(out, x, start, stop):
    """out (outer, inner), x (outer, middle, inner): the products of columns, row by row."""
    for i in range(start, stop):
        total = out[i]
        for k in range(total.shape[0]):
            total[k] = 1
        for j in range(x.shape[1]):
            row = x[i, j]
            for k in range(total.shape[0]):
                total[k] *= row[k]


def other_products_middle(out, x, start, stop):
    """out, x (outer, middle, inner): the product of all others along the middle axis: of those before, then
    of those behind."""
    middle = x.shape[1]
    for i in range(start, stop if middle else start):
        for k in range(x.shape[2]):
            out[i, 0, k] = 1
            for j in range(1, middle):
                out[i, j, k] = out[i, j - 1, k] * x[i, j - 1, k]
            behind = x[i, middle - 1, k]
            for j in range(middle - 2, -1, -1):
                out[i, j, k] *= behind
                behind *= x[i, j, k]


def _middle(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    return [split_axes(outputs[0].sizes, op.axes)], [split_axes(inputs[0].sizes, op.axes)]


other_products = kernel(other_products_middle, views=_middle)
