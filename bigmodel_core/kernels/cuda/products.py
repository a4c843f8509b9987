"""Products along neighbouring axes on a CUDA device, and for each number that of all others."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel
from bigmodel_core.kernels.views import split_axes


def prod_middle(out, x, thread, threads):
    """out (outer, inner), x (outer, middle, inner): the product along the middle axis."""
    inner = x.shape[2]
    for item in range(thread, x.shape[0] * inner, threads):
        i = item // inner
        k = item % inner
        out[i, k] = 1
        for j in range(x.shape[1]):
            out[i, k] *= x[i, j, k]


def other_products_middle(out, x, thread, threads):
    """out, x (outer, middle, inner): the product of all others along the middle axis: of those before, then
    of those behind."""
    middle, inner = x.shape[1], x.shape[2]
    for item in range(thread, x.shape[0] * inner, threads):
        i = item // inner
        k = item % inner
        out[i, 0, k] = 1
        for j in range(1, middle):
            out[i, j, k] = out[i, j - 1, k] * x[i, j - 1, k]
        behind = x[i, middle - 1, k]
        for j in range(middle - 2, -1, -1):
            out[i, j, k] *= behind
            behind *= x[i, j, k]


def _split(op: Any, x: Spec) -> tuple[int, int, int]:
    return split_axes(x.sizes, op.axes)


def _items(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> int:
    outer, _, inner = _split(op, inputs[0])
    return outer * inner if math.prod(outputs[0].sizes) else 0


prod = cuda_kernel(
    prod_middle,
    views=lambda op, i, o: ([(_split(op, i[0])[0], _split(op, i[0])[2])], [_split(op, i[0])]),
    items=_items,
)
other_products = cuda_kernel(
    other_products_middle,
    views=lambda op, i, o: ([_split(op, o[0])], [_split(op, i[0])]),
    items=_items,
)
