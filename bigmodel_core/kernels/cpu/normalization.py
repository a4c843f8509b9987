"""Layer normalisation on the CPU, forward and backward in one pass over each row."""

from __future__ import annotations

from numpy import float64

from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.views import matrix, vector


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


def layer_norm_grad_rows(out, normal, dy, x, mean, rate, rest, scale, start, stop):
    """out, normal (rows, n): the gradient of x, and its normalised numbers, which that of the scale needs."""
    n = x.shape[1]
    for i in range(start, stop):
        center = float64(mean[i]) + rest[i]
        r = rate[i]
        plain = 0.0
        weighted = 0.0
        for j in range(n):
            g = dy[i, j] * scale[j]
            apart = (x[i, j] - center) * r  # in float64
            normal[i, j] = apart
            plain += g
            weighted += g * apart
        a = plain / n
        b = weighted / n
        for j in range(n):
            out[i, j] = r * (dy[i, j] * scale[j] - a - normal[i, j] * b)


layer_norm = kernel(
    layer_norm_rows,
    views=lambda op, i, o: (
        [matrix(o[0]), *(vector(s) for s in o[1:])],
        [matrix(i[0]), vector(i[1]), vector(i[2])],
    ),
    cost=4,
)
layer_norm_grad = kernel(
    layer_norm_grad_rows,
    views=lambda op, i, o: (
        [matrix(o[0]), matrix(o[1])],
        [matrix(i[0]), matrix(i[1]), *(vector(s) for s in i[2:])],
    ),
    cost=4,
)


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


def rms_norm_grad_rows(out, normal, dy, x, rate, scale, start, stop):
    """out, normal (rows, n): the gradient of x, and its normalised numbers, which that of the scale needs."""
    n = x.shape[1]
    for i in range(start, stop):
        r = rate[i]
        weighted = 0.0
        for j in range(n):
            apart = x[i, j] * r
            normal[i, j] = apart
            weighted += dy[i, j] * scale[j] * apart
        b = weighted / n
        for j in range(n):
            out[i, j] = r * (dy[i, j] * scale[j] - normal[i, j] * b)


rms_norm = kernel(
    rms_norm_rows,
    views=lambda op, i, o: ([matrix(o[0]), vector(o[1])], [matrix(i[0]), vector(i[1])]),
    cost=3,
)
rms_norm_grad = kernel(
    rms_norm_grad_rows,
    views=lambda op, i, o: (
        [matrix(o[0]), matrix(o[1])],
        [matrix(i[0]), matrix(i[1]), *(vector(s) for s in i[2:])],
    ),
    cost=4,
)
