"""Zeros around images, on the CPU."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.cpu.engine.kernels import kernel


def pad_planes(out, x, before, start, stop):
    """out (planes, rows, columns): x (planes, fewer rows, fewer columns) with zeros around it."""
    top, left = before
    height, width = x.shape[1], x.shape[2]
    for n in range(start, stop):
        for i in range(out.shape[1]):
            row = i - top
            for j in range(out.shape[2]):
                inside = 0 <= row < height and 0 <= j - left < width
                out[n, i, j] = x[n, row, j - left] if inside else 0


def _planes(op: Any, spec: Spec) -> tuple[int, int, int]:
    planes, rows, columns, together = views.planes(op, spec)
    return planes, rows, columns * together


pad2d = kernel(
    pad_planes,
    views=lambda op, i, o: ([_planes(op, o[0])], [_planes(op, i[0])]),
    extras=lambda op, i, o: {"before": (op.border[0], op.border[1] * views.planes(op, i[0])[3])},
)
