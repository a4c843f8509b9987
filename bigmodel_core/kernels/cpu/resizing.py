"""Resized images on the CPU: row by row, each row of the image stretched once for all that need it."""

from __future__ import annotations

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.array import CHUNK_ELEMENTS
from bigmodel_core.kernels.cpu.engine.kernels import ArrayKernel, cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.interpolation import Pass, find_parts, find_taps, parts_of, passes, weights_of

LEAST = 8
"""Rows that a piece of the work has at least, so that few rows of the image are stretched for two pieces."""


def taps_of_line(places, weights, size, base, step, apart, rate, shift, cubic):
    """places, weights (taps, count): what each number of a resized axis is made of."""
    for j in range(places.shape[1]):
        find_taps(places, weights, j, size, base, step, apart, rate, shift, cubic)


def parts_of_line(firsts, parts, places, weights):
    """firsts (size,), parts (fan, size): which numbers each of a resized axis has a part in."""
    for r in range(firsts.shape[0]):
        find_parts(firsts, parts, r, places, weights)


def pick_rows(out, x, down, along, height, together, rows_same, start, stop):
    """out (planes * count, columns), x (planes * height, columns): the nearest pixel; down, along (1, count)
    are the places. A row that is that of before is copied."""
    count = down.shape[1]
    plane = start // count
    i = start - plane * count
    before = -1
    for row in range(start, stop):
        source = plane * height + (i if rows_same else down[0, i])
        if source == before:
            for j in range(out.shape[1]):
                out[row, j] = out[row - 1, j]
        elif together == 1:
            for j in range(out.shape[1]):
                out[row, j] = x[source, unsigned(along[0, j])]
        else:
            for j in range(along.shape[1]):
                to = out[row, j * together : (j + 1) * together]
                a = x[source, along[0, j] * together : (along[0, j] + 1) * together]
                for k in range(together):
                    to[k] = a[k]
        before = source
        i += 1
        if i == count:
            i = 0
            plane += 1


def resize_rows(
    out, x, held, kept, down, down_weights, along, along_weights, height, together, rows_same, columns_same,
    mixed_first, lines, start, stop,
):  # fmt: skip
    """out (planes * count, columns), x (planes * height, columns): each row a mixture of stretched rows, or,
    where there are fewer rows than before, a stretched mixture.

    Scratch for each piece of the work: held (taps, columns), the rows that were stretched last, and kept
    (taps,), which they are; or the mixture, as wide as the rows of x.
    """
    taps, count = down.shape
    base = start // lines * taps
    for tap in range(taps):
        kept[base + tap] = -1
    plane = start // count
    i = start - plane * count
    for row in range(start, stop):
        first = plane * height
        if rows_same:
            stretch(out, row, x, first + i, along, along_weights, together)
        elif columns_same:
            mix(out, row, x, first, height, down, down_weights, i)
        elif mixed_first:
            mix(held, base, x, first, height, down, down_weights, i)
            stretch(out, row, held, base, along, along_weights, together)
        else:
            for tap in range(taps):
                source = first + down[tap, i]
                slot = base + down[tap, i] % taps  # neighbours have different ones
                if kept[slot] != source:
                    stretch(held, slot, x, source, along, along_weights, together)
                    kept[slot] = source
            mix(out, row, held, base, taps, down, down_weights, i)
        i += 1
        if i == count:
            i = 0
            plane += 1


def stretch(out, row, x, source, along, weights, together):
    """A row of the image, resized along itself."""
    taps, count = along.shape
    if together == 1:
        if taps == 2:
            for j in range(count):
                out[row, j] = (
                    weights[0, j] * x[source, unsigned(along[0, j])]
                    + weights[1, j] * x[source, unsigned(along[1, j])]
                )
        else:
            for j in range(count):
                out[row, j] = (
                    weights[0, j] * x[source, unsigned(along[0, j])]
                    + weights[1, j] * x[source, unsigned(along[1, j])]
                    + weights[2, j] * x[source, unsigned(along[2, j])]
                    + weights[3, j] * x[source, unsigned(along[3, j])]
                )
        return
    for j in range(count):
        to = out[row, j * together : (j + 1) * together]
        a = x[source, along[0, j] * together : (along[0, j] + 1) * together]
        b = x[source, along[1, j] * together : (along[1, j] + 1) * together]
        if taps == 2:
            u = weights[0, j]
            v = weights[1, j]
            for k in range(together):
                to[k] = u * a[k] + v * b[k]
        else:
            c = x[source, along[2, j] * together : (along[2, j] + 1) * together]
            d = x[source, along[3, j] * together : (along[3, j] + 1) * together]
            for k in range(together):
                to[k] = (
                    weights[0, j] * a[k] + weights[1, j] * b[k] + weights[2, j] * c[k] + weights[3, j] * d[k]
                )


def mix(out, row, x, first, rows, down, weights, i):
    """A row as a mixture of two or four: of those from `first` on, of which there are so many, in a ring."""
    to = out[row]
    a = x[first + down[0, i] % rows]
    b = x[first + down[1, i] % rows]
    if down.shape[0] == 2:
        u = weights[0, i]
        v = weights[1, i]
        for j in range(to.shape[0]):
            to[j] = u * a[j] + v * b[j]
    else:
        c = x[first + down[2, i] % rows]
        d = x[first + down[3, i] % rows]
        s = weights[0, i]
        t = weights[1, i]
        u = weights[2, i]
        v = weights[3, i]
        for j in range(to.shape[0]):
            to[j] = s * a[j] + t * b[j] + u * c[j] + v * d[j]


def gather_rows(
    dx, dy, held, down, down_parts, along, along_parts, count, together, rows_same, columns_same, lines,
    start, stop,
):  # fmt: skip
    """dx (planes * height, columns), dy (planes * count, columns): the rows that one has a part in, in their
    order, then along it. Scratch: held (pieces, columns of dy)."""
    fan, height = down_parts.shape
    piece = start // lines
    for row in range(start, stop):
        plane = row // height
        r = row - plane * height
        first = plane * count
        if rows_same:
            narrow(dx, row, dy, first + r, along, along_parts, together)
            continue
        begun = False
        for k in range(fan):
            part = down_parts[k, r]
            if part != 0:
                source = first + down[r] + k
                if columns_same:
                    add_row(dx, row, dy, source, part, begun)
                else:
                    add_row(held, piece, dy, source, part, begun)
                begun = True
        if not begun:
            for j in range(dx.shape[1]):
                dx[row, j] = 0
        elif not columns_same:
            narrow(dx, row, held, piece, along, along_parts, together)


def add_row(out, row, x, source, part, begun):
    """A row times a number, added to what there is if that has begun."""
    if begun:
        for j in range(out.shape[1]):
            out[row, j] += part * x[source, j]
    else:
        for j in range(out.shape[1]):
            out[row, j] = part * x[source, j]


def narrow(dx, row, dy, source, along, parts, together):
    """The gradient of a row of the image along itself."""
    fan, size = parts.shape
    if together == 1:
        for c in range(size):
            dx[row, c] = parts[0, c] * dy[source, unsigned(along[c])]
        for k in range(1, fan):
            for c in range(size):
                dx[row, c] += parts[k, c] * dy[source, unsigned(along[c] + k)]
        return
    for c in range(size):
        to = dx[row, c * together : (c + 1) * together]
        begun = False
        for k in range(fan):
            part = parts[k, c]
            if part != 0:
                given = dy[source, (along[c] + k) * together : (along[c] + k + 1) * together]
                if begun:
                    for n in range(together):
                        to[n] += part * given[n]
                else:
                    for n in range(together):
                        to[n] = part * given[n]
                begun = True
        if not begun:
            for n in range(together):
                to[n] = 0


@cpu_launches
def resize(call: Call) -> list[CpuLaunch]:
    """An array with its spatial axes resized."""
    launches: list[CpuLaunch] = []
    found = passes(call.op, call.inputs[0].sizes)
    x = call.input(0)
    for step in found:
        out = call.output(0) if step is found[-1] else call.temporary(step.made, call.inputs[0].dtype)
        launches += _resized(call, step, out.reshape(*step.made), x.reshape(*step.given))
        x = out
    return launches


def _resized(call: Call, step: Pass, out: Operand, x: Operand) -> list[CpuLaunch]:
    rows, wide = step.made
    if rows * wide == 0:
        return []
    launches, tables = weights_of(call, step, kernel(taps_of_line))
    shape = {"height": step.rows.size, "together": step.together, "rows_same": step.rows.same}
    if step.rows.taps == 1:
        return launches + call.launch(kernel(pick_rows), [out], [x, *tables[::2]], **shape)
    lines = _lines(rows, wide * (2 + step.rows.taps))
    pieces = -(-rows // lines)
    mixed_first = step.rows.size > step.rows.count
    held = call.temporary((pieces * step.rows.taps, step.given[1] if mixed_first else wide))
    kept = call.temporary((pieces * step.rows.taps,), "int64")
    function = ArrayKernel(resize_rows, rows=lines)
    given = [x, held, kept, *tables]
    more = {"columns_same": step.columns.same, "mixed_first": mixed_first, "lines": lines}
    return launches + call.launch(function, [out], given, **shape, **more)


@cpu_launches
def resize_grad(call: Call) -> list[CpuLaunch]:
    """The gradient of an array that was resized: for each number, those that it has a part in."""
    launches: list[CpuLaunch] = []
    found = passes(call.op, call.outputs[0].sizes)
    dy = call.input(0)
    for step in reversed(found):
        dx = call.output(0) if step is found[0] else call.temporary(step.given)
        launches += _gathered(call, step, dx.reshape(*step.given), dy.reshape(*step.made))
        dy = dx
    return launches


def _gathered(call: Call, step: Pass, dx: Operand, dy: Operand) -> list[CpuLaunch]:
    rows, wide = step.made
    if rows * wide == 0:
        return []
    launches, tables = parts_of(call, step, kernel(taps_of_line), kernel(parts_of_line))
    lines = _lines(step.given[0], step.given[1] * (2 + step.rows.taps))
    held = call.temporary((-(-step.given[0] // lines), wide))
    function = ArrayKernel(gather_rows, rows=lines)
    shape = {"count": step.rows.count, "together": step.together}
    same = {"rows_same": step.rows.same, "columns_same": step.columns.same}
    return launches + call.launch(function, [dx], [dy, held, *tables], **shape, **same, lines=lines)


def _lines(rows: int, work: int) -> int:
    """How many rows a piece of the work has."""
    return min(max(CHUNK_ELEMENTS // max(work, 1), LEAST), max(rows, 1))
