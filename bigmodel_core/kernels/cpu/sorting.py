"""Sorting on the CPU: numbers become integers in the same order, which are sorted digit by digit.

A radix sort moves each number once for each byte of it, whatever the order, and keeps equal ones in theirs
(Knuth, The Art of Computer Programming, volume 3, 5.2.5). Short lines are sorted by insertion; the first few
of a long one are kept in a heap, which most numbers never enter.
"""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.array import CHUNK_ELEMENTS
from bigmodel_core.kernels.cpu.engine.kernels import ArrayKernel, cpu_launches
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch

SHORT = 48
"""Lines of fewer numbers are sorted by insertion."""
FEW = 8
"""A heap pays where it holds at most one number of so many."""
COST = 32
"""The work of sorting one number, in additions."""
CHUNKS = 32
"""The most pieces that lines are cut into; each has scratch memory for one line."""
APART = 32
"""Scratch of two chunks is multiples of so many numbers apart: no two threads write to one cache line."""
DIGIT = 256
"""How many values a byte has."""


def key_of(bits, infinite, magnitude, descending):
    """An integer in the place of a number: of a float by its bits, where `infinite` are those of infinity."""
    key = bits + 0
    if infinite > 0:
        size = key & magnitude
        if size > infinite:  # NaN
            key = magnitude
        elif key < 0:
            key = -size
    return -1 - key if descending else key


def sort_lines(
    values, places, x, keys, orders, counts, infinite, magnitude, top, lines, descending, start, stop
):
    """values, places (blocks, k, width), x (blocks, n, width): the first k numbers of each line along the
    middle axis in order. keys, orders (chunks, 2, n) and counts (chunks, digits) are scratch."""
    chunk = start // lines
    size = x.shape[1]
    width = x.shape[2]
    digits = counts.shape[1] // 256
    for line in range(start, stop):
        block = line // width
        k = line - block * width
        for j in range(counts.shape[1]):
            counts[chunk, j] = 0
        for j in range(size):
            key = key_of(x[block, j, k], infinite, magnitude, descending)
            keys[chunk, 0, j] = key
            orders[chunk, 0, j] = j
            for digit in range(digits):
                flip = top if digit == digits - 1 else 0
                counts[chunk, digit * 256 + (((key >> 8 * digit) ^ flip) & 255)] += 1
        side = 0
        for digit in range(digits):
            flip = top if digit == digits - 1 else 0
            first = digit * 256
            here = first + (((keys[chunk, side, 0] >> 8 * digit) ^ flip) & 255)
            if counts[chunk, here] == size:
                continue  # the same digit everywhere
            total = 0
            for value in range(first, first + 256):
                count = counts[chunk, value]
                counts[chunk, value] = total
                total += count
            for j in range(size):
                key = keys[chunk, side, j]
                slot = first + (((key >> 8 * digit) ^ flip) & 255)
                at = counts[chunk, slot]
                counts[chunk, slot] = at + 1
                keys[chunk, 1 - side, at] = key
                orders[chunk, 1 - side, at] = orders[chunk, side, j]
            side = 1 - side
        for j in range(values.shape[1]):
            at = orders[chunk, side, j]
            values[block, j, k] = x[block, at, k]
            places[block, j, k] = at


def insert_lines(values, places, x, keys, orders, infinite, magnitude, lines, descending, start, stop):
    """As `sort_lines`, for lines of few numbers: each is inserted among those before it."""
    chunk = start // lines
    width = x.shape[2]
    for line in range(start, stop):
        block = line // width
        k = line - block * width
        for j in range(x.shape[1]):
            key = key_of(x[block, j, k], infinite, magnitude, descending)
            at = j
            while at > 0 and keys[chunk, at - 1] > key:
                keys[chunk, at] = keys[chunk, at - 1]
                orders[chunk, at] = orders[chunk, at - 1]
                at -= 1
            keys[chunk, at] = key
            orders[chunk, at] = j
        for j in range(values.shape[1]):
            at = orders[chunk, j]
            values[block, j, k] = x[block, at, k]
            places[block, j, k] = at


def select_lines(values, places, x, keys, orders, infinite, magnitude, lines, descending, start, stop):
    """As `sort_lines`, for the first few of many: a heap of them, the last one at its top."""
    chunk = start // lines
    kept = values.shape[1]
    width = x.shape[2]
    for line in range(start, stop):
        block = line // width
        k = line - block * width
        for j in range(kept):
            keys[chunk, j] = key_of(x[block, j, k], infinite, magnitude, descending)
            orders[chunk, j] = j
        for at in range(kept // 2 - 1, -1, -1):
            sink(keys, orders, chunk, at, kept)
        for j in range(kept, x.shape[1]):
            key = key_of(x[block, j, k], infinite, magnitude, descending)
            if key < keys[chunk, 0]:
                keys[chunk, 0] = key
                orders[chunk, 0] = j
                sink(keys, orders, chunk, 0, kept)
        for last in range(kept - 1, 0, -1):
            key = keys[chunk, 0]
            order = orders[chunk, 0]
            keys[chunk, 0] = keys[chunk, last]
            orders[chunk, 0] = orders[chunk, last]
            keys[chunk, last] = key
            orders[chunk, last] = order
            sink(keys, orders, chunk, 0, last)
        for j in range(kept):
            at = orders[chunk, j]
            values[block, j, k] = x[block, at, k]
            places[block, j, k] = at


def sink(keys, orders, chunk, at, size):
    """Move an entry of a heap down to where none below it comes after it."""
    key = keys[chunk, at]
    order = orders[chunk, at]
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size:
            left, first = keys[chunk, below], orders[chunk, below]
            below += comes_after(keys, orders, chunk, below + 1, left, first)
        if not comes_after(keys, orders, chunk, below, key, order):
            break
        keys[chunk, at] = keys[chunk, below]
        orders[chunk, at] = orders[chunk, below]
        at = below
    keys[chunk, at] = key
    orders[chunk, at] = order


def comes_after(keys, orders, chunk, at, key, order):
    """Whether an entry comes after a key, or after an equal one that was there before."""
    return keys[chunk, at] > key or (keys[chunk, at] == key and orders[chunk, at] > order)


def _bits(spec: Spec) -> str:
    """The integers that numbers of a type are, bit by bit."""
    kind = spec.number_type
    return "uint8" if kind.nbytes == 1 else kind.bits


@cpu_launches
def top_k(call: Call) -> list[CpuLaunch]:
    """The first numbers along an axis in order, and where they came from."""
    call.op.infer(*call.inputs)  # a free axis may turn out too short
    (x,), (found, _) = call.inputs, call.outputs
    blocks, size, width = views.along(x, call.op.axis)
    count, lines = found.sizes[call.op.axis], blocks * width
    if lines * count == 0:
        return []
    bits, kind = _bits(x), x.number_type
    each = max(CHUNK_ELEMENTS // (COST * size), -(-lines // CHUNKS), 1)
    chunks = -(-lines // each)

    def seen(operand: Operand, *shape: int) -> Operand:
        return Operand(Spec(shape, bits), operand.buffer)

    keys = "int64" if kind.nbytes == 8 else "int32"
    numbers = {"infinite": kind.infinite if kind.is_float else 0, "magnitude": kind.magnitude, "lines": each}
    values, places = seen(call.output(0), blocks, count, width), call.output(1).reshape(blocks, count, width)
    function: Any
    if size < SHORT or count * FEW <= size:
        function, held = (insert_lines, size) if size < SHORT else (select_lines, count)
        held = -(-held // APART) * APART
        scratch = [call.temporary((chunks, held), keys), call.temporary((chunks, held), "int32")]
    else:
        function, digits = sort_lines, kind.nbytes
        scratch = [call.temporary((chunks, 2, size), keys), call.temporary((chunks, 2, size), "int32")]
        scratch.append(call.temporary((chunks, DIGIT * digits), "int64"))
        numbers["top"] = 0 if kind.nbytes == 1 else DIGIT // 2  # the sign of an integer is in its highest bit
    kernel = ArrayKernel(function, rows=each, items=lambda op, i, o: lines)
    return call.launch(
        kernel, [values, places], [seen(call.input(0), blocks, size, width), *scratch], **numbers
    )
