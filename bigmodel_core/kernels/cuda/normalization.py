"""Layer normalisation on a CUDA device: a thread or a block for each row, forward and backward."""

from __future__ import annotations

import functools
from math import sqrt
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, lanes_for, over_rows
from bigmodel_core.kernels.cuda.groups import combined, row_of
from bigmodel_core.kernels.cuda.sums import sums


@cuda_launches
def layer_norm(call: Call) -> list[CudaLaunch]:
    """y, and the mean, 1 / standard deviation and the rest of the mean of each row."""
    x, dtype = call.inputs[0], call.dtype
    rows, n = views.matrix(x)
    matrix = (rows, n)
    shapes: list[tuple[int, ...]] = [matrix, (rows,), (rows,), (rows,), matrix, (n,), (n,)]
    return _launch(call, layer_norm_rows, shapes, [DTYPES[dtype].scalar(call.op.epsilon)])


@cuda_launches
def layer_norm_grad(call: Call) -> list[CudaLaunch]:
    """The gradients of x, scale and shift, from dy, x, what `layer_norm` found, and scale."""
    rows, n = views.matrix(call.inputs[1])
    dy, shift = call.input_buffers[0], call.output_buffers[2]
    return [*_gradients(call, layer_norm_grad_rows), *sums(call, call.dtype, dy, shift, 1, rows, n)]


def _gradients(call: Call, make: Any) -> list[CudaLaunch]:
    """The gradient of x, and the terms of that of scale, which are then added up."""
    rows, n = views.matrix(call.inputs[1])
    terms = call.temporary((rows, n)).buffer
    found: list[CudaLaunch] = []
    if rows * n:
        buffers = (call.output_buffers[0], terms, *call.input_buffers)
        shapes = ((rows, n),) * 4 + tuple(views.vector(spec) for spec in call.inputs[2:])
        arrays = [View(buffer, shape, call.dtype) for buffer, shape in zip(buffers, shapes, strict=True)]
        lanes = lanes_for(n)
        found = [over_rows(make(call.dtype, lanes), arrays, rows, lanes)]
    return [*found, *sums(call, call.dtype, terms, call.output_buffers[1], 1, rows, n)]


def _launch(call: Call, make: Any, shapes: list[tuple[int, ...]], numbers: list[Any]) -> list[CudaLaunch]:
    rows, n = shapes[0]
    if rows * n == 0:
        return []
    lanes = lanes_for(n)
    buffers = (*call.output_buffers, *call.input_buffers)
    arrays = [View(buffer, shape, call.dtype) for buffer, shape in zip(buffers, shapes, strict=True)]
    return [over_rows(make(call.dtype, lanes), [*arrays, *numbers], rows, lanes)]


@functools.cache
def layer_norm_rows(dtype: str, lanes: int) -> Any:
    """out, x (rows, n); mean, rate, rest (rows,); scale, shift (n,).

    Distances from a row's first number are added up, so that rows far from 0 keep precision.
    """
    number = DTYPES[dtype].scalar
    zero, one, here, total_of = number(0), number(1), row_of(lanes), combined("sum", dtype, lanes)

    def layer_norm_rows(out, mean, rate, rest, x, scale, shift, epsilon):
        first, step, lane = here()
        n = x.shape[1]
        for i in range(first, x.shape[0], step):
            begin = x[i, 0]
            total = zero
            for j in range(lane, n, lanes):
                total += x[i, j] - begin
            apart = total_of(total, lane) / number(n)
            center = begin + apart
            low = begin - center + apart
            spread = zero
            for j in range(lane, n, lanes):
                spread += (x[i, j] - center - low) * (x[i, j] - center - low)
            steep = one / sqrt(total_of(spread, lane) / number(n) + epsilon)
            for j in range(lane, n, lanes):
                out[i, j] = (x[i, j] - center - low) * steep * scale[j] + shift[j]
            if lane == 0:
                mean[i] = center
                rate[i] = steep
                rest[i] = low

    return layer_norm_rows


@functools.cache
def layer_norm_grad_rows(dtype: str, lanes: int) -> Any:
    """out, terms, dy, x (rows, n); mean, rate, rest (rows,); scale (n,). The sum of the terms is the gradient
    of the scale."""
    number = DTYPES[dtype].scalar
    zero, here, total_of = number(0), row_of(lanes), combined("sum", dtype, lanes)

    def layer_norm_grad_rows(out, terms, dy, x, mean, rate, rest, scale):
        first, step, lane = here()
        n = x.shape[1]
        for i in range(first, x.shape[0], step):
            m = mean[i]
            r = rate[i]
            low = rest[i]
            plain = zero
            weighted = zero
            for j in range(lane, n, lanes):
                g = dy[i, j] * scale[j]
                plain += g
                terms[i, j] = (x[i, j] - m - low) * r
                weighted += g * terms[i, j]
            a = total_of(plain, lane) / number(n)
            b = total_of(weighted, lane) / number(n)
            for j in range(lane, n, lanes):
                out[i, j] = r * (dy[i, j] * scale[j] - a - terms[i, j] * b)
                terms[i, j] *= dy[i, j]

    return layer_norm_grad_rows


# By the root mean square ------------------------------------------------------------------------------------


@cuda_launches
def rms_norm(call: Call) -> list[CudaLaunch]:
    """y, and 1 / root mean square of each row."""
    rows, n = views.matrix(call.inputs[0])
    shapes: list[tuple[int, ...]] = [(rows, n), (rows,), (rows, n), (n,)]
    return _launch(call, rms_norm_rows, shapes, [DTYPES[call.dtype].scalar(call.op.epsilon)])


@cuda_launches
def rms_norm_grad(call: Call) -> list[CudaLaunch]:
    """The gradients of x and scale, from dy, x, the rate that `rms_norm` found, and scale."""
    return _gradients(call, rms_norm_grad_rows)


@functools.cache
def rms_norm_rows(dtype: str, lanes: int) -> Any:
    """out, x (rows, n); rate (rows,); scale (n,)."""
    number = DTYPES[dtype].scalar
    zero, one, here, total_of = number(0), number(1), row_of(lanes), combined("sum", dtype, lanes)

    def rms_norm_rows(out, rate, x, scale, epsilon):
        first, step, lane = here()
        n = x.shape[1]
        for i in range(first, x.shape[0], step):
            total = zero
            for j in range(lane, n, lanes):
                total += x[i, j] * x[i, j]
            steep = one / sqrt(total_of(total, lane) / number(n) + epsilon)
            for j in range(lane, n, lanes):
                out[i, j] = x[i, j] * steep * scale[j]
            if lane == 0:
                rate[i] = steep

    return rms_norm_rows


@functools.cache
def rms_norm_grad_rows(dtype: str, lanes: int) -> Any:
    """out, terms, dy, x (rows, n); rate (rows,); scale (n,)."""
    number = DTYPES[dtype].scalar
    zero, here, total_of = number(0), row_of(lanes), combined("sum", dtype, lanes)

    def rms_norm_grad_rows(out, terms, dy, x, rate, scale):
        first, step, lane = here()
        n = x.shape[1]
        for i in range(first, x.shape[0], step):
            r = rate[i]
            weighted = zero
            for j in range(lane, n, lanes):
                terms[i, j] = x[i, j] * r
                weighted += dy[i, j] * scale[j] * terms[i, j]
            b = total_of(weighted, lane) / number(n)
            for j in range(lane, n, lanes):
                out[i, j] = r * (dy[i, j] * scale[j] - terms[i, j] * b)
                terms[i, j] *= dy[i, j]

    return rms_norm_grad_rows
