"""Images between channels first and channels last, on the CPU."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine.kernels import kernel


def transpose_planes(out, x, start, stop):
    """out (n * b, a), x (n, a, b): each matrix transposed."""
    wide = x.shape[2]
    for row in range(start, stop):
        i = row // wide
        j = row - i * wide
        for k in range(out.shape[1]):
            out[row, k] = x[i, k, j]


def _views(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    n, *sizes = inputs[0].sizes
    channels = sizes.pop(0 if op.to_last else -1)
    pixels = math.prod(sizes)
    rows, columns = (channels, pixels) if op.to_last else (pixels, channels)
    return [(n * columns, rows)], [(n, rows, columns)]


swap_planes = kernel(transpose_planes, views=_views)
