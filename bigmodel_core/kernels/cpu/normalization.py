"""Layer normalisation on the CPU, forward and backward in one pass over each row."""

from __future__ import annotations

from typing import Any

from numpy import float64

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.sums import BLOCK, sums
from bigmodel_core.kernels.views import matrix, vector

BLOCK_NUMBERS = 8192
"""Numbers of a block of rows whose gradients are added up one after the other."""
LEAST_BLOCK = 8
"""Rows of a block, at least."""


def layer_norm_rows(out, mean, rate, rest, x, scale, shift, epsilon, start, stop):
    """out, x (rows, n); mean + rest, rate (rows,): mean, 1 / standard deviation; scale, shift (n,)."""
    n = x.shape[1]
    for i in range(start, stop):
        total = 0.0
        for j in range(n):
            total += x[i, j]
        center = total / n
        spread = 0.0
        for j in range(n):
            apart = x[i, j] - center  # in float64
            spread += apart * apart
            out[i, j] = apart
        steep = 1.0 / (spread / n + epsilon) ** 0.5
        mean[i] = center
        rate[i] = steep
        rest[i] = center - mean[i]
        r = rate[i]
        for j in range(n):
            out[i, j] = out[i, j] * r * scale[j] + shift[j]


def layer_norm_grad_blocks(
    out, of_scale, of_shift, means, dy, x, mean, rate, rest, scale, block, start, stop
):
    """out (rows, n): the gradient of x; of_scale, of_shift (blocks, n): the sums of a block of rows; means
    (blocks, 2): those of a row, as numbers of its type."""
    n = x.shape[1]
    for at in range(start, stop):
        for j in range(n):
            of_scale[at, j] = 0
            of_shift[at, j] = 0
        for i in range(at * block, min(x.shape[0], at * block + block)):
            center = float64(mean[i]) + rest[i]
            r = rate[i]
            plain = 0.0
            weighted = 0.0
            for j in range(n):
                g = dy[i, j] * scale[j]
                apart = (x[i, j] - center) * r  # in float64
                out[i, j] = apart
                plain += g
                weighted += g * apart
            means[at, 0] = plain / n
            means[at, 1] = weighted / n
            a = means[at, 0]
            b = means[at, 1]
            for j in range(n):
                slope, normal = dy[i, j], out[i, j]
                of_scale[at, j] += slope * normal
                of_shift[at, j] += slope
                out[i, j] = r * (slope * scale[j] - a - normal * b)


layer_norm = kernel(
    layer_norm_rows,
    views=lambda op, i, o: (
        [matrix(o[0]), *(vector(s) for s in o[1:])],
        [matrix(i[0]), vector(i[1]), vector(i[2])],
    ),
    cost=4,
)


@cpu_launches
def layer_norm_grad(call: Call) -> list[CpuLaunch]:
    """The gradients of x, scale and shift."""
    return _gradients(call, layer_norm_grad_blocks)


def _gradients(call: Call, function: Any) -> list[CpuLaunch]:
    """The gradient of x, and those of what is shared by rows: of blocks of rows, then of these."""
    rows, n = matrix(call.outputs[0])
    if n == 0:
        return []
    block = max(min(BLOCK, BLOCK_NUMBERS // n), LEAST_BLOCK)
    blocks = max(-(-rows // block), 1)
    shared = [call.output(number) for number in range(1, len(call.outputs))]
    parts = [call.temporary((blocks, n)) if blocks > 1 else y.reshape(1, n) for y in shared]
    dy, x, *moments = (call.input(number) for number in range(len(call.inputs)))
    made = [call.output(0).reshape(rows, n), *parts, call.temporary((blocks, 2))]
    given = [dy.reshape(rows, n), x.reshape(rows, n), *(each.reshape(*vector(each.spec)) for each in moments)]
    launches = call.launch(kernel(function, cost=4, items=lambda op, i, o: blocks), made, given, block=block)
    if blocks > 1:
        for y, part in zip(shared, parts, strict=True):
            launches += sums(call, y.reshape(1, n), part.reshape(1, blocks, n))
    return launches


# By the root mean square ------------------------------------------------------------------------------------


def rms_norm_rows(out, rate, x, scale, epsilon, start, stop):
    """out, x (rows, n); rate (rows,): 1 / root mean square; scale (n,)."""
    n = x.shape[1]
    for i in range(start, stop):
        total = 0.0
        for j in range(n):
            number = float64(x[i, j])
            total += number * number
        rate[i] = 1.0 / (total / n + epsilon) ** 0.5
        r = rate[i]
        for j in range(n):
            out[i, j] = x[i, j] * r * scale[j]


def rms_norm_grad_blocks(out, of_scale, means, dy, x, rate, scale, block, start, stop):
    """out (rows, n): the gradient of x; of_scale (blocks, n): the sums of a block of rows; means (blocks, 2):
    that of a row, as a number of its type."""
    n = x.shape[1]
    for at in range(start, stop):
        for j in range(n):
            of_scale[at, j] = 0
        for i in range(at * block, min(x.shape[0], at * block + block)):
            r = rate[i]
            weighted = 0.0
            for j in range(n):
                weighted += dy[i, j] * scale[j] * (x[i, j] * r)
            means[at, 0] = weighted / n
            b = means[at, 0]
            for j in range(n):
                slope, normal = dy[i, j], x[i, j] * r
                of_scale[at, j] += slope * normal
                out[i, j] = r * (slope * scale[j] - normal * b)


rms_norm = kernel(
    rms_norm_rows,
    views=lambda op, i, o: ([matrix(o[0]), vector(o[1])], [matrix(i[0]), vector(i[1])]),
    cost=3,
)


@cpu_launches
def rms_norm_grad(call: Call) -> list[CpuLaunch]:
    """The gradients of x and scale."""
    return _gradients(call, rms_norm_grad_blocks)
