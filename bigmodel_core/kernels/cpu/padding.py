"""Borders around arrays, on the CPU: row by row, each in one pass."""

from __future__ import annotations

from bigmodel_core.kernels.borders import CONSTANT, Bordered, bordered_by, copies, copy, source
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.array import CHUNK_ELEMENTS
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.cpu.engine.runs import copy_run, fill_run


def pad_rows(out, x, sizes, inside, before, units, count, left, unit, kind, fill, start, stop):
    """out (rows, units * unit), x (rows inside, count * unit): whole rows."""
    last = len(sizes) - 1
    rows, height, top = sizes[last], inside[last], before[last]
    wide, taken = out.shape[1], x.shape[1]
    low = min(max(left, 0), units)
    high = max(min(left + count, units), low)
    ahead, length, behind = low * unit, (high - low) * unit, (units - high) * unit
    skipped = (low - left) * unit
    is_filled = kind == CONSTANT and ahead + behind > 0
    at = start % rows
    base = outer_row(start // rows, sizes, inside, before, kind)
    gone = 0  # how much of the row before is still to be filled
    for row in range(start, stop):
        place = source(at - top, height, kind) if base >= 0 else -1
        if place < 0:
            fill_run(out, row * wide + ahead, length, fill)
        else:
            copy_run(out, row * wide + ahead, x, (base * height + place) * taken + skipped, length)
        if is_filled:  # what is behind the row before, and ahead in this one
            fill_run(out, row * wide - gone, gone + ahead, fill)
            gone = behind
        at += 1
        if at == rows:
            at = 0
            base = outer_row((row + 1) // rows, sizes, inside, before, kind)
    if is_filled:
        fill_run(out, stop * wide - gone, gone, fill)
    elif kind != CONSTANT:
        repeat_units(out, start, stop, units, count, left, unit, kind)


def pad_pieces(out, x, sizes, inside, before, units, count, left, unit, kind, fill, pieces, start, stop):
    """The same, where rows are long: an item is one of the pieces of a row."""
    last = len(sizes) - 1
    width = (units + pieces - 1) // pieces
    for item in range(start, stop):
        row = item // pieces
        first = min((item - row * pieces) * width, units)
        end = min(first + width, units)
        base = outer_row(row // sizes[last], sizes, inside, before, kind)
        place = source(row % sizes[last] - before[last], inside[last], kind) if base >= 0 else -1
        if place < 0:
            fill_run(out, row * out.shape[1] + first * unit, (end - first) * unit, fill)
        else:
            pad_row(out, x, row, base * inside[last] + place, first, end, count, left, unit, kind, fill)


def repeat_units(out, first, end, units, count, left, unit, kind):
    """The borders of whole rows, made of what is inside them: one unit of all rows after the other."""
    for number in range(units - count):
        at = number if number < left else number + count
        taken = left + source(at - left, count, kind)
        if unit == 1:
            for row in range(first, end):
                out[unsigned(row), unsigned(at)] = out[unsigned(row), unsigned(taken)]
        else:
            for row in range(first, end):
                begin = row * out.shape[1]
                copy_run(out, begin + at * unit, out, begin + taken * unit, unit)


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
    else:
        for number in range(first, low):
            copy_run(out, at + number * unit, x, begin + source(number - left, count, kind) * unit, unit)
        for number in range(high, end):
            copy_run(out, at + number * unit, x, begin + source(number - left, count, kind) * unit, unit)
    copy_run(out, at + low * unit, x, begin + (low - left) * unit, (high - low) * unit)


def fold_rows(dx, dy, sizes, inside, before, units, count, left, unit, kind, start, stop):
    """dx (rows inside, count * unit), dy (rows, units * unit): for each number the sum of its copies."""
    last = len(sizes) - 1
    after = sizes[last] - before[last] - inside[last]
    outer = start // inside[last]
    at = start - outer * inside[last]
    several = outer_copies(outer, sizes, inside, before, kind)
    base = outer_copy(0, outer, sizes, inside, before, kind)
    shift = left * unit
    for row in range(start, stop):
        begun = False
        for number in range(several):
            place = base if number == 0 else outer_copy(number, outer, sizes, inside, before, kind)
            for pick in range(copies(at, inside[last], before[last], after, kind)):
                taken = place * sizes[last] + copy(pick, at, inside[last], before[last], kind)
                if begun:
                    for j in range(dx.shape[1]):
                        dx[row, j] += dy[taken, unsigned(j + shift)]
                else:
                    for j in range(dx.shape[1]):
                        dx[row, j] = dy[taken, unsigned(j + shift)]
                begun = True
                add_units(dx, dy, row, taken, 0, left, count, left, unit, kind)
                add_units(dx, dy, row, taken, left + count, units, count, left, unit, kind)
        at += 1
        if at == inside[last]:
            at = 0
            outer += 1
            several = outer_copies(outer, sizes, inside, before, kind)
            base = outer_copy(0, outer, sizes, inside, before, kind)


def outer_copies(number, sizes, inside, before, kind):
    """How many places of the padded array are a number of what all axes but the last one count."""
    total = 1
    for axis in range(len(sizes) - 2, -1, -1):
        after = sizes[axis] - before[axis] - inside[axis]
        total *= copies(number % inside[axis], inside[axis], before[axis], after, kind)
        number = number // inside[axis]
    return total


def outer_copy(pick, number, sizes, inside, before, kind):
    """One of these places."""
    found = 0
    apart = 1
    for axis in range(len(sizes) - 2, -1, -1):
        place = number % inside[axis]
        number = number // inside[axis]
        after = sizes[axis] - before[axis] - inside[axis]
        several = copies(place, inside[axis], before[axis], after, kind)
        found += copy(pick % several, place, inside[axis], before[axis], kind) * apart
        pick = pick // several
        apart *= sizes[axis]
    return found


def add_units(dx, dy, row, taken, first, end, count, left, unit, kind):
    """Units of a border, added to those inside that they are copies of."""
    for number in range(first, end):
        place = source(number - left, count, kind) * unit
        for k in range(unit):
            dx[row, unsigned(place + k)] += dy[taken, unsigned(number * unit + k)]


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
    if pieces == 1:
        function = kernel(pad_rows, items=lambda *_: rows if wide else 0)
        return call.launch(function, [out], [x], **vars(found), kind=kind, fill=fill)
    function = kernel(pad_pieces, items=lambda *_: rows * pieces)
    return call.launch(function, [out], [x], **vars(found), kind=kind, fill=fill, pieces=pieces)
