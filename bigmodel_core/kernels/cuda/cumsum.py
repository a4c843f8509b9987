"""Sums of the numbers up to each along an axis, on a CUDA device: a thread for each row or column."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel
from bigmodel_core.kernels.views import split_axes


def cumsum_middle(out, x, reverse, exclusive, thread, threads):
    """out, x (outer, middle, inner): sums along the middle axis."""
    middle, inner = x.shape[1], x.shape[2]
    for item in range(thread, x.shape[0] * inner, threads):
        i = item // inner
        k = item % inner
        for step in range(middle):
            j = middle - 1 - step if reverse else step
            before = j + 1 if reverse else j - 1
            if step == 0:
                if exclusive:
                    out[i, j, k] = 0
                else:
                    out[i, j, k] = x[i, j, k]
            else:
                out[i, j, k] = out[i, before, k] + x[i, before if exclusive else j, k]


def _split(op: Any, x: Spec) -> tuple[int, int, int]:
    return split_axes(x.sizes, (op.axis,))


cumsum = cuda_kernel(
    cumsum_middle,
    views=lambda op, i, o: ([_split(op, o[0])], [_split(op, i[0])]),
    items=lambda op, i, o: _split(op, i[0])[0] * _split(op, i[0])[2],
)
