"""Pools on a CUDA device: the largest number or the mean under windows, and their gradients.

A thread computes a number of the output. A pixel's gradient is the sum over the windows that it is under, in
their order.
"""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel
from bigmodel_core.kernels.cuda.places import voxel
from bigmodel_core.kernels.taps import inside

# All arrays are (planes, slices, rows, columns, together): `kernels/views.py` says of what.


def largest_under_windows(out, places, x, window, stride, before, thread, threads):
    """The first largest number under each window, or its last NaN, and the number of its pixel."""
    for element in range(thread, out.size, threads):
        n, h, i, j, k = voxel(element, out.shape)
        front, q0, q1 = inside(h, stride[0], window[0], before[0], x.shape[1])
        top, r0, r1 = inside(i, stride[1], window[1], before[1], x.shape[2])
        left, s0, s1 = inside(j, stride[2], window[2], before[2], x.shape[3])
        best = x[n, front + q0, top + r0, left + s0, k]
        place = (q0 * window[1] + r0) * window[2] + s0
        for q in range(q0, q1):
            for r in range(r0, r1):
                for s in range(s0, s1):
                    value = x[n, front + q, top + r, left + s, k]
                    if value > best or value != value:
                        best = value
                        place = (q * window[1] + r) * window[2] + s
        out[n, h, i, j, k] = best
        places[n, h, i, j, k] = place


def means_under_windows(out, x, window, stride, before, count_border, thread, threads):
    """The mean under each window."""
    for element in range(thread, out.size, threads):
        n, h, i, j, k = voxel(element, out.shape)
        front, q0, q1 = inside(h, stride[0], window[0], before[0], x.shape[1])
        top, r0, r1 = inside(i, stride[1], window[1], before[1], x.shape[2])
        left, s0, s1 = inside(j, stride[2], window[2], before[2], x.shape[3])
        total = out.dtype.type(0)
        for q in range(q0, q1):
            for r in range(r0, r1):
                for s in range(s0, s1):
                    total += x[n, front + q, top + r, left + s, k]
        count = window[0] * window[1] * window[2] if count_border else (q1 - q0) * (r1 - r0) * (s1 - s0)
        out[n, h, i, j, k] = total / out.dtype.type(count)


def gradient_at_places(out, dy, places, window, stride, before, thread, threads):
    """The gradient of each window goes to the pixel that its place names."""
    for element in range(thread, out.size, threads):
        n, h, i, j, k = voxel(element, out.shape)
        f0, f1 = above(h, stride[0], window[0], before[0], dy.shape[1])
        p0, p1 = above(i, stride[1], window[1], before[1], dy.shape[2])
        q0, q1 = above(j, stride[2], window[2], before[2], dy.shape[3])
        total = out.dtype.type(0)
        for f in range(f0, f1):
            of_slice = (h + before[0] - f * stride[0]) * window[1]
            for p in range(p0, p1):
                of_row = (of_slice + i + before[1] - p * stride[1]) * window[2]
                for q in range(q0, q1):
                    if places[n, f, p, q, k] == of_row + j + before[2] - q * stride[2]:
                        total += dy[n, f, p, q, k]
        out[n, h, i, j, k] = total


def shared_gradient(out, dy, window, stride, before, count_border, thread, threads):
    """The gradient of each window, in equal shares for its pixels."""
    for element in range(thread, out.size, threads):
        n, h, i, j, k = voxel(element, out.shape)
        f0, f1 = above(h, stride[0], window[0], before[0], dy.shape[1])
        p0, p1 = above(i, stride[1], window[1], before[1], dy.shape[2])
        q0, q1 = above(j, stride[2], window[2], before[2], dy.shape[3])
        total = out.dtype.type(0)
        for f in range(f0, f1):
            _, d0, d1 = inside(f, stride[0], window[0], before[0], out.shape[1])
            for p in range(p0, p1):
                _, r0, r1 = inside(p, stride[1], window[1], before[1], out.shape[2])
                for q in range(q0, q1):
                    _, s0, s1 = inside(q, stride[2], window[2], before[2], out.shape[3])
                    count = window[0] * window[1] * window[2]
                    if not count_border:
                        count = (d1 - d0) * (r1 - r0) * (s1 - s0)
                    total += dy[n, f, p, q, k] / out.dtype.type(count)
        out[n, h, i, j, k] = total


def above(place, step, window, padding, count):
    """The windows, from and to, that a pixel is under along an axis."""
    begin = max(0, place + padding - window + step) // step
    return begin, min(count, (place + padding) // step + 1)


def _volumes(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    made, given = ([views.volumes(op, spec) for spec in specs] for specs in (outputs, inputs))
    return made, given


def _windows(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> dict[str, tuple[int, ...]]:
    """Windows over images as those of volumes of one slice."""
    return {
        "window": views.in_volumes(op.window, 1),
        "stride": views.in_volumes(op.stride, 1),
        "before": views.in_volumes(op.border[: len(op.window)], 0),
    }


max_pool = cuda_kernel(largest_under_windows, views=_volumes, extras=_windows)
max_pool_gradient = cuda_kernel(gradient_at_places, views=_volumes, extras=_windows)
average_pool = cuda_kernel(means_under_windows, views=_volumes, extras=_windows)
average_pool_gradient = cuda_kernel(shared_gradient, views=_volumes, extras=_windows)
