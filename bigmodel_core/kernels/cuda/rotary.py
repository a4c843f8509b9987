"""Rotary position embedding on a CUDA device: a thread for each pair."""

from __future__ import annotations

from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel
from bigmodel_core.kernels.views import matrix, turned_pairs


def rotary_pairs(out, x, cosine, sine, steps, each, inner, interleaved, thread, threads):
    """out, x (rows, width); cosine, sine (tables * steps, pairs), a table for `each` rows of samples,
    a step for `inner` of them."""
    pairs = cosine.shape[1]
    rest = x.shape[1] - 2 * pairs
    for item in range(thread, x.shape[0] * (pairs + rest), threads):
        i, j = item // (pairs + rest), item % (pairs + rest)
        if j >= pairs:
            out[i, j + pairs] = x[i, j + pairs]
        else:
            at = i // each * steps + i // inner % steps
            first = 2 * j if interleaved else j
            second = first + 1 if interleaved else j + pairs
            a, b = x[i, first], x[i, second]
            out[i, first] = a * cosine[at, j] - b * sine[at, j]
            out[i, second] = a * sine[at, j] + b * cosine[at, j]


rotary = cuda_kernel(
    rotary_pairs,
    views=lambda op, i, o: turned_pairs(op, i)[0],
    extras=lambda op, i, o: turned_pairs(op, i)[1],
    items=lambda op, i, o: matrix(i[0])[0] * (i[0].sizes[-1] - i[1].sizes[-1]),
)
