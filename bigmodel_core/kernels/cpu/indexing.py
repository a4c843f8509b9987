"""Rows picked from a table on the CPU, and the gradient that adds them back."""

from __future__ import annotations

import math

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.status import INDEX_OUT_OF_RANGE


def gather_rows(out, table, indices, start, stop, status):
    """out (n, width), table (rows, width), indices (n,)."""
    for i in range(start, stop):
        row = indices[i]
        if row < 0 or row >= table.shape[0]:
            report(status, INDEX_OUT_OF_RANGE, row, table.shape[0], i)
            for j in range(out.shape[1]):
                out[i, j] = 0
            continue
        for j in range(out.shape[1]):
            out[i, j] = table[row, j]


def add_rows(out, dy, indices, start, stop):
    """out (rows, width): row r is the sum of the rows of dy whose index is r, in the order they come."""
    for row in range(start, stop):
        for j in range(out.shape[1]):
            out[row, j] = 0
    for i in range(indices.shape[0]):
        row = indices[i]
        if start <= row < stop:
            for j in range(out.shape[1]):
                out[row, j] += dy[i, j]


def _picked(indices: Spec, table: Spec) -> tuple[int, int]:
    return math.prod(indices.sizes), math.prod(table.sizes[1:])


gather = kernel(
    gather_rows,
    views=lambda op, i, o: ([_picked(i[1], i[0])], [views.table(i[0]), views.vector(i[1])]),
)
gather_grad = kernel(
    add_rows,
    views=lambda op, i, o: ([views.table(o[0])], [_picked(i[1], o[0]), views.vector(i[1])]),
)
