"""Elements picked by computed numbers on the CPU, and the gradient that adds them back."""

from __future__ import annotations

import math
from typing import Any

from bigmodel_core.kernels import views
from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.cpu.engine.memory import bound, unsigned
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.status import INDEX_OUT_OF_RANGE, PLACE_OUT_OF_RANGE


def gather_rows(out, table, indices, padded, start, stop, status):
    """out (blocks * n, width), table (blocks, rows, width), indices (n,): rows, zeros for a -1 of padding."""
    block = start // indices.shape[0]
    at = start - block * indices.shape[0]
    if out.shape[1] == 1:
        gather_numbers(out, table, indices, padded, block, at, start, stop, status)
        return
    for i in range(start, stop):
        row = indices[at]
        if row < 0 or row >= table.shape[1]:
            if not padded or row != -1:
                report(status, INDEX_OUT_OF_RANGE, row, table.shape[1], at)
            for j in range(out.shape[1]):
                out[i, j] = 0
        else:
            for j in range(out.shape[1]):
                out[i, j] = table[block, row, j]
        at += 1
        if at == indices.shape[0]:
            block += 1
            at = 0


def gather_numbers(out, table, indices, padded, block, at, start, stop, status):
    """As `gather_rows`, of rows of one number, for which a loop would cost more than the number."""
    i = start
    while i < stop:
        line = table[block]
        count = min(stop - i, indices.shape[0] - at)
        for k in range(count):
            row = indices[unsigned(at + k)]
            if row < 0 or row >= line.shape[0]:
                if not padded or row != -1:
                    report(status, INDEX_OUT_OF_RANGE, row, line.shape[0], at + k)
                out[unsigned(i + k), 0] = 0
            else:
                out[unsigned(i + k), 0] = line[unsigned(row), 0]
        i += count
        block += 1
        at = 0


def add_rows(out, dy, indices, rows, start, stop):
    """out (blocks * rows, width), dy (blocks, n, width): row r of a block is the sum of the rows of dy whose
    index is r, in the order they come."""
    is_number = out.shape[1] == 1
    if is_number:
        for row in range(bound(start), bound(stop)):
            out[row, 0] = 0
    else:
        for row in range(start, stop):
            for j in range(out.shape[1]):
                out[row, j] = 0
    for block in range(start // rows, (stop - 1) // rows + 1):
        for i in range(indices.shape[0]):
            row = indices[i] + block * rows
            if start <= row < stop and indices[i] >= 0:  # a -1 of padding names no row of the block before
                if is_number:
                    out[row, 0] += dy[block, i, 0]
                else:
                    for j in range(out.shape[1]):
                        out[row, j] += dy[block, i, j]


def _gathered(op: Any, table: Any, indices: Any) -> tuple[tuple[int, int, int], int]:
    """The table as (blocks, rows, width), and how many indices there are."""
    return views.along(table, op.axis), math.prod(indices.sizes)


def _gather_views(op: Any, inputs: Any, outputs: Any) -> Any:
    (blocks, rows, width), count = _gathered(op, *inputs)
    return [(blocks * count, width)], [(blocks, rows, width), (count,)]


def _gather_grad_views(op: Any, inputs: Any, outputs: Any) -> Any:
    (blocks, rows, width), count = _gathered(op, outputs[0], inputs[1])
    return [(blocks * rows, width)], [(blocks, count, width), (count,)]


gather = kernel(gather_rows, views=_gather_views)
gather_grad = kernel(
    add_rows, views=_gather_grad_views, extras=lambda op, i, o: {"rows": o[0].sizes[op.axis]}
)


def take_along_lines(out, x, indices, start, stop, status):
    """out, indices (blocks * n, width), x (blocks, rows, width): the element of its column of x that each
    index names."""
    count = out.shape[0] // max(x.shape[0], 1)
    width = out.shape[1]
    block = start // count
    i = start
    while i < stop:
        last = min(stop, (block + 1) * count)
        if width == 1:
            for line in range(bound(i), bound(last)):
                take_number(out, x, indices, block, line, 0, status)
        else:
            for line in range(i, last):
                for k in range(width):
                    take_number(out, x, indices, block, line, k, status)
        i = last
        block += 1


def take_number(out, x, indices, block, i, k, status):
    row = indices[i, k]
    if row < 0 or row >= x.shape[1]:
        report(status, PLACE_OUT_OF_RANGE, row, x.shape[1], i * out.shape[1] + k)
        out[i, k] = 0
    else:
        out[i, k] = x[block, unsigned(row), k]


def _along_views(op: Any, inputs: Any, outputs: Any) -> Any:
    blocks, count, width = views.along(outputs[0], op.axis)
    return [(blocks * count, width)], [views.along(inputs[0], op.axis), (blocks * count, width)]


take_along = kernel(take_along_lines, views=_along_views, cost=2.0)


def gather_parts(out, x, indices, sizes, steps, start, stop, status):
    """out (n, width), x (places, width), indices (n, axes): the parts at coordinates along the first axes."""
    for i in range(start, stop):
        place = 0
        for axis in range(indices.shape[1]):
            at = indices[i, axis]
            if at < 0 or at >= sizes[axis]:
                report(status, PLACE_OUT_OF_RANGE, at, sizes[axis], i * indices.shape[1] + axis)
                place = -1
                break
            place += at * steps[axis]
        if place < 0:
            for j in range(out.shape[1]):
                out[i, j] = 0
        else:
            for j in range(out.shape[1]):
                out[i, j] = x[place, j]


gather_nd = kernel(
    gather_parts,
    views=lambda op, i, o: views.gathered_parts(i[0], i[1]),
    extras=lambda op, i, o: views.coordinates(i[0], i[1]),
)
