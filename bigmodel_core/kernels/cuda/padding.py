"""Zeros around images, on a CUDA device."""

from __future__ import annotations

from bigmodel_core.kernels import views
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel
from bigmodel_core.kernels.cuda.places import pixel


def pad_planes(out, x, before, thread, threads):
    """out (planes, rows, columns, together), x with fewer rows and columns: x with zeros around it."""
    height, width = x.shape[1], x.shape[2]
    for element in range(thread, out.size, threads):
        n, i, j, k = pixel(element, out.shape)
        row = i - before[0]
        column = j - before[1]
        if 0 <= row < height and 0 <= column < width:
            out[n, i, j, k] = x[n, row, column, k]
        else:
            out[n, i, j, k] = 0


pad2d = cuda_kernel(
    pad_planes,
    views=lambda op, i, o: ([views.planes(op, o[0])], [views.planes(op, i[0])]),
    extras=lambda op, i, o: {"before": op.border[:2]},
)
