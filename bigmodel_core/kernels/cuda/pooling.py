"""Pools on a CUDA device: the largest number or the mean under windows, and their gradients.

A thread computes a number of the output. A pixel's gradient is the sum over the windows that it is under, in
their order.
"""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel
from bigmodel_core.kernels.cuda.places import pixel

# All arrays are (planes, rows, columns, together): `kernels/views.py` says of what.


def largest_under_windows(out, places, x, window, stride, border, thread, threads):
    """The first largest number under each window, or its last NaN, and the number of its pixel."""
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        top, r0, r1 = inside(i, stride[0], window[0], border[0], x.shape[1])
        left, s0, s1 = inside(j, stride[1], window[1], border[1], x.shape[2])
        best = x[n, top + r0, left + s0, k]
        place = r0 * window[1] + s0
        for r in range(r0, r1):
            for s in range(s0, s1):
                value = x[n, top + r, left + s, k]
                if value > best or value != value:
                    best = value
                    place = r * window[1] + s
        out[n, i, j, k] = best
        places[n, i, j, k] = place


def means_under_windows(out, x, window, stride, border, count_border, thread, threads):
    """The mean under each window."""
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        top, r0, r1 = inside(i, stride[0], window[0], border[0], x.shape[1])
        left, s0, s1 = inside(j, stride[1], window[1], border[1], x.shape[2])
        total = out.dtype.type(0)
        for r in range(r0, r1):
            for s in range(s0, s1):
                total += x[n, top + r, left + s, k]
        count = window[0] * window[1] if count_border else (r1 - r0) * (s1 - s0)
        out[n, i, j, k] = total / out.dtype.type(count)


def gradient_at_places(out, dy, places, window, stride, border, thread, threads):
    """The gradient of each window goes to the pixel that its place names."""
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        p0, p1 = above(i, stride[0], window[0], border[0], dy.shape[1])
        q0, q1 = above(j, stride[1], window[1], border[1], dy.shape[2])
        total = out.dtype.type(0)
        for p in range(p0, p1):
            row = i + border[0] - p * stride[0]
            for q in range(q0, q1):
                if places[n, p, q, k] == row * window[1] + j + border[1] - q * stride[1]:
                    total += dy[n, p, q, k]
        out[n, i, j, k] = total


def shared_gradient(out, dy, window, stride, border, count_border, thread, threads):
    """The gradient of each window, in equal shares for its pixels."""
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        p0, p1 = above(i, stride[0], window[0], border[0], dy.shape[1])
        q0, q1 = above(j, stride[1], window[1], border[1], dy.shape[2])
        total = out.dtype.type(0)
        for p in range(p0, p1):
            _, r0, r1 = inside(p, stride[0], window[0], border[0], out.shape[1])
            for q in range(q0, q1):
                _, s0, s1 = inside(q, stride[1], window[1], border[1], out.shape[2])
                count = window[0] * window[1] if count_border else (r1 - r0) * (s1 - s0)
                total += dy[n, p, q, k] / out.dtype.type(count)
        out[n, i, j, k] = total


def inside(number, step, window, padding, length):
    """Where a window begins along an axis, and which of its pixels, from and to, are in the image."""
    begin = number * step - padding
    return begin, max(0, -begin), min(window, length - begin)


def above(place, step, window, padding, count):
    """The windows, from and to, that a pixel is under along an axis."""
    begin = max(0, place + padding - window + step) // step
    return begin, min(count, (place + padding) // step + 1)


def _planes(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    made, given = ([views.planes(op, spec) for spec in specs] for specs in (outputs, inputs))
    return made, given


max_pool = cuda_kernel(largest_under_windows, views=_planes)
max_pool_gradient = cuda_kernel(gradient_at_places, views=_planes)
average_pool = cuda_kernel(means_under_windows, views=_planes)
average_pool_gradient = cuda_kernel(shared_gradient, views=_planes)
