"""Convolutions on a CUDA device as they are defined: a thread for each number of the output.

Sums of many products are made of sums of few, in an order that the shape alone gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.convolution.geometry import Geometry, Images, number_at
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, flat, over_items, sizes
from bigmodel_core.kernels.cuda.sums import sums
from bigmodel_core.kernels.taps import first_inside, meeting, period, steps_inside


def convolve(
    g: Geometry, x: CudaBuffer, weight: CudaBuffer, bias: CudaBuffer | None, y: CudaBuffer
) -> list[CudaLaunch]:
    """The launch that computes y from x."""
    return _images_from(g, under_filters, g.x, x, weight, bias, g.y, y)


def transposed(
    g: Geometry, y: CudaBuffer, weight: CudaBuffer, bias: CudaBuffer | None, x: CudaBuffer
) -> list[CudaLaunch]:
    """The launch that computes x from y."""
    return _images_from(g, spread_by_filters, g.y, y, weight, bias, g.x, x)


def _images_from(
    g: Geometry,
    function: Any,
    given: Images,
    source: CudaBuffer,
    weight: CudaBuffer,
    bias: CudaBuffer | None,
    made: Images,
    target: CudaBuffer,
) -> list[CudaLaunch]:
    if made.count == 0:
        return []
    out = flat(target, made.count, g.dtype)
    arguments = [
        *(out, flat(source, given.count, g.dtype), flat(weight, g.weights, g.dtype)),
        out if bias is None else flat(bias, made.sizes[1], g.dtype),
        *(bias is not None, np.int64(made.inner), *g.arguments()),
    ]
    periods = tuple(np.int64(period(*each)) for each in zip(g.stride, g.dilation, strict=True))
    return [over_items(wrapper(function, 4), [*arguments, periods], made.count)]


def weight_gradient(g: Geometry, x: CudaBuffer, dy: CudaBuffer, call: Call) -> list[CudaLaunch]:
    """The launches that compute the gradient of the filters: sums over parts of the images, then of these."""
    if g.weights == 0:
        return []
    images = g.x.sizes[0]
    each = -(-images // max(1, min(images, sizes().threads * sizes().blocks // g.weights)))
    parts = max(1, -(-images // max(each, 1)))
    out = call.output_buffers[0]
    target = out if parts == 1 else call.scratch(parts * g.weights * SIZES[g.dtype])
    arguments = [
        flat(target, parts * g.weights, g.dtype),
        *(flat(x, g.x.count, g.dtype), flat(dy, g.y.count, g.dtype)),
        *(np.int64(each), *g.arguments()),
    ]
    launch = over_items(wrapper(products_of_pixels, 3), arguments, parts * g.weights)
    return [launch] if parts == 1 else [launch, *sums(call, g.dtype, target, out, 1, parts, g.weights)]


def under_filters(
    out, x, weight, bias, has_bias, inner, x_size, x_step, y_size, y_step,
    taps, stride, dilation, before, of_group, periods, thread, threads,
):  # fmt: skip
    """out, x (all images,), weight (filters * channels of a group * taps,), bias (filters,)."""
    for element in range(thread, out.shape[0], threads):
        n, k, h, i, j = number_at(element, y_size, inner)
        front, q0, q1 = under(h, taps[0], stride[0], dilation[0], before[0], x_size[2])
        top, r0, r1 = under(i, taps[1], stride[1], dilation[1], before[1], x_size[3])
        left, s0, s1 = under(j, taps[2], stride[2], dilation[2], before[2], x_size[4])
        channel = k // of_group[1] * of_group[0]
        place = n * x_step[0] + channel * x_step[1] + front * x_step[2] + top * x_step[3] + left * x_step[4]
        deep = dilation[0] * x_step[2]
        down = dilation[1] * x_step[3]
        across = dilation[2] * x_step[4]
        tap = k * of_group[0] * taps[0] * taps[1] * taps[2]
        total = out.dtype.type(0)
        for _ in range(of_group[0]):
            part = out.dtype.type(0)
            for q in range(q0, q1):
                for r in range(r0, r1):
                    row = place + q * deep + r * down
                    of_row = tap + (q * taps[1] + r) * taps[2]
                    for s in range(s0, s1):
                        part += x[row + s * across] * weight[of_row + s]
            total += part
            place += x_step[1]
            tap += taps[0] * taps[1] * taps[2]
        out[element] = total + bias[k] if has_bias else total


def under(place, taps, step, gap, before, size):
    """Where a filter begins along an axis, and which of its taps, from and to, are on a pixel."""
    start = place * step - before
    return start, first_inside(start, gap), min(taps, steps_inside(start, gap, size))


def spread_by_filters(
    out, y, weight, bias, has_bias, inner, x_size, x_step, y_size, y_step,
    taps, stride, dilation, before, of_group, periods, thread, threads,
):  # fmt: skip
    """out, y (all images,), weight (filters * channels of a group * taps,), bias (channels,)."""
    for element in range(thread, out.shape[0], threads):
        n, c, h, i, j = number_at(element, x_size, inner)
        q0, deep, f0 = meeting(h + before[0], taps[0], stride[0], dilation[0], periods[0], y_size[2])
        r0, down, g0 = meeting(i + before[1], taps[1], stride[1], dilation[1], periods[1], y_size[3])
        s0, across, p0 = meeting(j + before[2], taps[2], stride[2], dilation[2], periods[2], y_size[4])
        out_of = periods[0] * dilation[0] // stride[0] * y_step[2]
        up = periods[1] * dilation[1] // stride[1] * y_step[3]
        back = periods[2] * dilation[2] // stride[2] * y_step[4]
        k = c // of_group[0] * of_group[1]
        place = n * y_step[0] + k * y_step[1] + f0 * y_step[2] + g0 * y_step[3] + p0 * y_step[4]
        tap = k * of_group[0] + c % of_group[0]
        tap = ((tap * taps[0] + q0) * taps[1] + r0) * taps[2] + s0
        total = out.dtype.type(0)
        for _ in range(of_group[1]):
            part = out.dtype.type(0)
            for q in range(deep):
                for r in range(down):
                    row = tap + (q * periods[0] * taps[1] + r * periods[1]) * taps[2]
                    source = place - q * out_of - r * up
                    for s in range(across):
                        part += y[source - s * back] * weight[row + s * periods[2]]
            total += part
            place += y_step[1]
            tap += of_group[0] * taps[0] * taps[1] * taps[2]
        out[element] = total + bias[c] if has_bias else total


def products_of_pixels(
    out, x, dy, each, x_size, x_step, y_size, y_step,
    taps, stride, dilation, before, of_group, thread, threads,
):  # fmt: skip
    """out (parts * filters * channels of a group * taps,), x, dy (all images,): a part are `each` images."""
    for element in range(thread, out.shape[0], threads):
        s = element % taps[2]
        r = element // taps[2] % taps[1]
        q = element // taps[2] // taps[1] % taps[0]
        rest = element // taps[2] // taps[1] // taps[0]
        c = rest % of_group[0]
        k = rest // of_group[0] % y_size[1]
        first = rest // of_group[0] // y_size[1] * each
        front, f0, f1 = on_tap(q, stride[0], dilation[0], before[0], x_size[2], y_size[2])
        top, g0, g1 = on_tap(r, stride[1], dilation[1], before[1], x_size[3], y_size[3])
        left, p0, p1 = on_tap(s, stride[2], dilation[2], before[2], x_size[4], y_size[4])
        channel = k // of_group[1] * of_group[0] + c
        source = channel * x_step[1] + front * x_step[2] + top * x_step[3] + left * x_step[4]
        across = stride[2] * x_step[4]
        total = out.dtype.type(0)
        for n in range(first, min(x_size[0], first + each)):
            of_image = out.dtype.type(0)
            for f in range(f0, f1):
                for g in range(g0, g1):
                    row = n * x_step[0] + source + f * stride[0] * x_step[2] + g * stride[1] * x_step[3]
                    upstream = n * y_step[0] + k * y_step[1] + f * y_step[2] + g * y_step[3]
                    part = out.dtype.type(0)
                    for p in range(p0, p1):
                        part += x[row + p * across] * dy[upstream + p * y_step[4]]
                    of_image += part
            total += of_image
        out[element] = total


def on_tap(tap, step, gap, before, size, count):
    """Where a tap is first along an axis, and in which outputs, from and to, it is on a pixel."""
    start = tap * gap - before
    return start, first_inside(start, step), min(count, steps_inside(start, step, size))
