"""Borders around arrays, on the CPU: row by row, each in one pass."""

from __future__ import annotations

from bigmodel_core.kernels.borders import CONSTANT, EDGE, Bordered, bordered_by, copies, copy, source
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.array import CHUNK_ELEMENTS
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.cpu.engine.runs import copy_run, fill_run


def pad_rows(out, x, sizes, inside, before, units, count, left, unit, kind, fill, pieces, start, stop):
    """out (rows, units * unit), x (rows inside, count * unit); an item is one of the pieces of a row."""
    last = len(sizes) - 1
    wide = out.shape[1]
    width = (units + pieces - 1) // pieces
    row = start // pieces
    is_filled = kind == CONSTANT and pieces == 1 and wide <= NARROW
    if is_filled:  # all rows at once, and what is inside over it
        fill_run(out, start * wide, (stop - start) * wide, fill)
    piece = start - row * pieces
    at = row % sizes[last]
    base = outer_row(row // sizes[last], sizes, inside, before, kind)
    for _ in range(start, stop):
        place = source(at - before[last], inside[last], kind) if base >= 0 else -1
        first = min(piece * width, units)
        end = min(first + width, units)
        if place < 0:
            if not is_filled:
                fill_run(out, row * wide + first * unit, (end - first) * unit, fill)
        elif is_filled:
            source_row = (base * inside[last] + place) * x.shape[1]
            copy_inside(out, x, row * wide, source_row, 0, units, count, left, unit)
        else:
            pad_row(out, x, row, base * inside[last] + place, first, end, count, left, unit, kind, fill)
        piece += 1
        if piece == pieces:
            piece = 0
            row += 1
            at += 1
            if at == sizes[last]:
                at = 0
                base = outer_row(row // sizes[last], sizes, inside, before, kind)


def outer_row(number, sizes, inside, before, kind):
    """The number inside of what all axes but the last one count; -1 if it is on a border without one."""
    found = 0
    apart = 1
    for axis in range(len(sizes) - 2, -1, -1):
        place = source(number % sizes[axis] - before[axis], inside[axis], kind)
        if place < 0:
            return -1
        number = number // sizes[axis]
        found += place * apart
        apart *= inside[axis]
    return found


def pad_row(out, x, row, taken, first, end, count, left, unit, kind, fill):
    """The units of a row from `first` to `end`: a row of the array with borders."""
    low = min(max(left, first), end)
    high = max(min(left + count, end), low)
    at = row * out.shape[1]
    begin = taken * x.shape[1]
    if kind == CONSTANT:
        fill_run(out, at + first * unit, (low - first) * unit, fill)
        fill_run(out, at + high * unit, (end - high) * unit, fill)
    elif unit == 1 and kind == EDGE:
        fill_run(out, at + first, low - first, x[taken, 0])
        fill_run(out, at + high, end - high, x[taken, unsigned(count - 1)])
    elif unit == 1:
        for number in range(first, low):
            out[row, unsigned(number)] = x[taken, unsigned(left - number)]
        for number in range(high, end):
            out[row, unsigned(number)] = x[taken, unsigned(2 * (count - 1) + left - number)]
    else:
        for number in range(first, low):
            copy_run(out, at + number * unit, x, begin + source(number - left, count, kind) * unit, unit)
        for number in range(high, end):
            copy_run(out, at + number * unit, x, begin + source(number - left, count, kind) * unit, unit)
    copy_inside(out, x, at, begin, first, end, count, left, unit)


def copy_inside(out, x, at, begin, first, end, count, left, unit):
    """The units of a row from `first` to `end` that are inside, copied."""
    low = min(max(left, first), end)
    high = max(min(left + count, end), low)
    copy_run(out, at + low * unit, x, begin + (low - left) * unit, (high - low) * unit)


def fold_rows(dx, dy, sizes, inside, before, units, count, left, unit, kind, start, stop):
    """dx (rows inside, count * unit), dy (rows, units * unit): for each number the sum of its copies."""
    axes = len(sizes)
    for row in range(start, stop):
        total = 1
        rest = row
        for axis in range(axes - 1, -1, -1):
            place = rest % inside[axis]
            rest = rest // inside[axis]
            after = sizes[axis] - before[axis] - inside[axis]
            total *= copies(place, inside[axis], before[axis], after, kind)
        for number in range(total):
            taken = 0
            apart = 1
            rest = row
            pick = number
            for axis in range(axes - 1, -1, -1):
                place = rest % inside[axis]
                rest = rest // inside[axis]
                after = sizes[axis] - before[axis] - inside[axis]
                several = copies(place, inside[axis], before[axis], after, kind)
                taken += copy(pick % several, place, inside[axis], before[axis], kind) * apart
                pick = pick // several
                apart *= sizes[axis]
            shift = left * unit
            if number == 0:
                for j in range(dx.shape[1]):
                    dx[row, j] = dy[taken, unsigned(j + shift)]
            else:
                for j in range(dx.shape[1]):
                    dx[row, j] += dy[taken, unsigned(j + shift)]
            add_units(dx, dy, row, taken, 0, left, count, left, unit, kind)
            add_units(dx, dy, row, taken, left + count, units, count, left, unit, kind)


def add_units(dx, dy, row, taken, first, end, count, left, unit, kind):
    """Units of a border, added to those inside that they are copies of."""
    for number in range(first, end):
        place = source(number - left, count, kind) * unit
        for k in range(unit):
            dx[row, unsigned(place + k)] += dy[taken, unsigned(number * unit + k)]


NARROW = 256
"""Numbers of a row whose border is filled together with those of other rows."""


@cpu_launches
def pad(call: Call) -> list[CpuLaunch]:
    """An array with borders."""
    return padded(call, *bordered_by(call.op, call.inputs[0]), call.op.fill(call.dtype))


@cpu_launches
def pad_grad(call: Call) -> list[CpuLaunch]:
    """The gradient inside, with that of the borders added to what they are copies of."""
    found, kind = bordered_by(call.op.forward(), call.outputs[0])
    if kind == CONSTANT:
        return padded(call, found.reversed())
    dx, dy = call.output(0).reshape(*found.plain), call.input(0).reshape(*found.padded)
    return call.launch(kernel(fold_rows), [dx], [dy], **vars(found), kind=kind)


def padded(
    call: Call, found: Bordered, kind: int = CONSTANT, fill: float | int | bool = 0
) -> list[CpuLaunch]:
    """The launch that makes an array with borders, whose long rows are cut."""
    rows, wide = found.padded
    pieces = min(max(-(-wide // CHUNK_ELEMENTS), 1), max(found.units, 1))
    out, x = call.output(0).reshape(rows, wide), call.input(0).reshape(*found.plain)
    function = kernel(pad_rows, items=lambda *_: rows * pieces if wide else 0)
    return call.launch(function, [out], [x], **vars(found), kind=kind, fill=fill, pieces=pieces)
