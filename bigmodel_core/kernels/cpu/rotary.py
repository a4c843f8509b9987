"""Rotary position embedding on the CPU: a row at a time."""

from __future__ import annotations

from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.views import turned_pairs


def rotary_rows(out, x, cosine, sine, steps, each, inner, interleaved, start, stop):
    """out, x (rows, width); cosine, sine (tables * steps, pairs), a table for `each` rows of samples,
    a step for `inner` of them."""
    pairs = cosine.shape[1]
    for i in range(start, stop):
        at = i // each * steps + i // inner % steps
        if interleaved:
            for j in range(pairs):
                a, b = x[i, 2 * j], x[i, 2 * j + 1]
                out[i, 2 * j] = a * cosine[at, j] - b * sine[at, j]
                out[i, 2 * j + 1] = a * sine[at, j] + b * cosine[at, j]
        else:
            for j in range(pairs):
                a, b = x[i, j], x[i, j + pairs]
                out[i, j] = a * cosine[at, j] - b * sine[at, j]
                out[i, j + pairs] = a * sine[at, j] + b * cosine[at, j]
        for j in range(2 * pairs, x.shape[1]):
            out[i, j] = x[i, j]


rotary = kernel(
    rotary_rows,
    views=lambda op, i, o: turned_pairs(op, i)[0],
    extras=lambda op, i, o: turned_pairs(op, i)[1],
    cost=2,
)
