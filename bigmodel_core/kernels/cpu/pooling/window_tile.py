"""Windows over images in vectors of channels: the largest number or the sum under one, and the backward pass.

A window is gone through in blocks of up to `MOST` x `MOST` pixels, for each of which there is straight code.
All strides are in bytes; no number outside what is named is read or written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.engine.instructions import (
    at,
    dispatched,
    lane_mask,
    load_vector,
    phi,
    splat,
    store_vector,
)
from bigmodel_core.kernels.cpu.engine.memory import ir_type
from bigmodel_core.kernels.cpu.engine.native import Intrinsic
from bigmodel_core.kernels.cpu.engine.target import vector_unit

MOST = 3
"""Rows and columns of a block."""

LARGEST, LARGEST_ALONE, MEAN = "largest", "largest_alone", "mean"

ARGUMENTS = (
    *("pixels", "pitch", "pixel", "place", "place_row", "window", "places"),
    *("channels", "windows", "apart", "onward", "count", "rows", "columns"),
)


def lanes_for(channels: int, dtype: str) -> int:
    """Lanes of the vectors for a number of channels: those of the host, or fewer if few are filled."""
    lanes = vector_unit().lanes(dtype)
    while lanes // 2 >= max(channels, 4):
        lanes //= 2
    return lanes


@functools.cache
def gather_window(dtype: str, kind: str, lanes: int) -> Intrinsic:
    """`gather_window(dtype, kind, lanes)(*ARGUMENTS)`: what the numbers of windows become from a block.

    Pixels begin at `pixels`, rows `pitch` and columns `pixel` apart; the window's `channels` numbers are at
    `window`. `LARGEST`: the largest number, or NaN if there is one, and at `places` (int32) the number of
    its pixel, which is `place` for the block's first and grows by 1 across and by `place_row` down.
    `LARGEST_ALONE`: the number without its place. `MEAN`: the sum, divided by `count`. With `onward`, what is
    at `window` and `places` belongs to it; otherwise they are only written. So it goes for a number of
    `windows` in a row: the pixels of the next one are `apart` bytes further on, its numbers and places right
    behind.
    """
    body = {LARGEST: _largest, LARGEST_ALONE: _largest_alone, MEAN: _sum}[kind]
    return _tile("gather", dtype, kind, lanes, body)


@functools.cache
def spread_window(dtype: str, kind: str, lanes: int) -> Intrinsic:
    """`spread_window(dtype, kind, lanes)(*ARGUMENTS)`: the gradient of a block's pixels from that of windows.

    `LARGEST`: all of it to the pixel that `places` names. `MEAN`: to each pixel, divided by `count`. With
    `onward`, it is added to what is at the pixels.
    """
    return _tile("spread", dtype, kind, lanes, functools.partial(_spread, kind=kind))


class _Block:
    """What the body of a tile works with, at one vector of channels."""

    def __init__(
        self, dtype: str, lanes: int, builder: Any, given: dict[str, Any], rows: int, columns: int
    ) -> None:
        from llvmlite import ir

        self.builder, self.given, self.size = builder, given, SIZES[dtype]
        self.taps = [(i, j) for i in range(rows) for j in range(columns)]
        self.lanes = lanes
        self.vector = ir.VectorType(ir_type(dtype), lanes)
        self.whole_numbers = ir.VectorType(ir.IntType(32), lanes)
        self.mask: Any = None
        self.offset: Any = None

    def pixel(self, tap: tuple[int, int]) -> Any:
        """The address of a pixel's numbers."""
        row = at(self.builder, self.given["pixels"], self.given["pitch"], tap[0], 0)
        return self.builder.add(at(self.builder, row, self.given["pixel"], tap[1], 0), self.offset)

    def window(self) -> Any:
        """The address of the window's numbers."""
        return self.builder.add(self.given["window"], self.offset)

    def places(self) -> Any:
        """The address of the places of the window's numbers."""
        numbers = self.builder.sdiv(self.offset, self.offset.type(self.size))
        return self.builder.add(self.given["places"], self.builder.mul(numbers, self.offset.type(4)))

    def place(self, tap: tuple[int, int]) -> Any:
        """A vector of a pixel's number in its window."""
        from llvmlite import ir

        number = at(self.builder, self.given["place"], self.given["place_row"], tap[0], tap[1])
        return splat(self.builder, self.builder.trunc(number, ir.IntType(32)), self.whole_numbers)

    def load(self, address: Any, vector: Any = None) -> Any:
        """The numbers at an address, zeros in lanes beyond the last channel."""
        kind = vector or self.vector
        return load_vector(self.builder, address, kind, 4 if vector else self.size, self.mask)

    def store(self, value: Any, address: Any) -> None:
        """Write the lanes that are channels."""
        alignment = 4 if value.type == self.whole_numbers else self.size
        store_vector(self.builder, value, address, alignment, self.mask)

    def quotient(self, value: Any) -> Any:
        """A vector divided by the count."""
        count = self.builder.sitofp(self.given["count"], self.vector.element)
        return self.builder.fdiv(value, splat(self.builder, count, self.vector))

    def onward(self) -> Any:
        """Whether there is something to continue from."""
        return self.builder.icmp_signed("!=", self.given["onward"], self.offset.type(0))


def _largest(block: _Block) -> None:
    """The first largest number of a block, row by row, or its last NaN; then that of the blocks so far.

    Blocks beside each other have rows in common: among equals the place decides, not the block.
    """
    builder = block.builder
    first, *others = block.taps
    best, places = block.load(block.pixel(first)), block.place(first)
    for tap in others:
        value = block.load(block.pixel(tap))
        above = builder.fcmp_ordered(">", value, best)
        more = builder.or_(above, builder.fcmp_unordered("uno", value, value))
        best = builder.select(more, value, best)
        places = builder.select(more, block.place(tap), places)
    before, places_before = block.load(block.window()), block.load(block.places(), block.whole_numbers)
    earlier = builder.icmp_signed("<", places, places_before)
    first_of_equals = builder.and_(builder.fcmp_ordered("==", best, before), earlier)
    a_number = builder.fcmp_ordered("ord", before, before)
    last_nan = builder.and_(
        builder.fcmp_unordered("uno", best, best), builder.or_(a_number, builder.not_(earlier))
    )
    more = builder.or_(builder.fcmp_ordered(">", best, before), builder.or_(first_of_equals, last_nan))
    onward = block.onward()
    best = builder.select(onward, builder.select(more, best, before), best)
    places = builder.select(onward, builder.select(more, places, places_before), places)
    block.store(best, block.window())
    block.store(places, block.places())


def _largest_alone(block: _Block) -> None:
    builder = block.builder

    def larger(value: Any, best: Any) -> Any:
        above = builder.fcmp_ordered(">", value, best)
        return builder.select(builder.or_(above, builder.fcmp_unordered("uno", value, value)), value, best)

    first, *others = block.taps
    best = block.load(block.pixel(first))
    for tap in others:
        best = larger(block.load(block.pixel(tap)), best)
    before = block.load(block.window())
    block.store(builder.select(block.onward(), larger(before, best), best), block.window())


def _sum(block: _Block) -> None:
    from llvmlite import ir

    builder = block.builder
    nothing = ir.Constant(block.vector, [0.0] * block.lanes)
    total = builder.select(block.onward(), block.load(block.window()), nothing)
    for tap in block.taps:
        total = builder.fadd(total, block.load(block.pixel(tap)))
    block.store(block.quotient(total), block.window())


def _spread(block: _Block, kind: str) -> None:
    from llvmlite import ir

    builder = block.builder
    nothing = ir.Constant(block.vector, [0.0] * block.lanes)
    gradient = block.load(block.window())
    onward = block.onward()
    if kind == LARGEST:
        places = block.load(block.places(), block.whole_numbers)
    else:
        gradient = block.quotient(gradient)
    for tap in block.taps:
        share = gradient
        if kind == LARGEST:
            here = builder.icmp_signed("==", places, block.place(tap))
            share = builder.select(here, gradient, nothing)
        before = builder.select(onward, block.load(block.pixel(tap)), nothing)
        block.store(builder.fadd(before, share), block.pixel(tap))


def _tile(name: str, dtype: str, kind: str, lanes: int, body: Callable[[_Block], None]) -> Intrinsic:
    """An intrinsic for blocks of all sizes: loops over windows and vectors of channels around `body`."""

    def loop(function: Any, rows: int, columns: int) -> None:
        from llvmlite import ir

        integer = ir.IntType(64)
        given = dict(zip(ARGUMENTS, function.args, strict=True))
        entry, turn, begin, following, end = (
            function.append_basic_block(label) for label in ("entry", "turn", "begin", "following", "end")
        )
        ir.IRBuilder(entry).branch(turn)
        builder = ir.IRBuilder(turn)  # once for each window
        left = phi(builder, integer, given["windows"], entry)
        moving = {name: phi(builder, integer, given[name], entry) for name in ("pixels", "window", "places")}
        builder.branch(begin)

        builder = ir.IRBuilder(begin)  # once for each vector of channels
        block = _Block(dtype, lanes, builder, given | moving, rows, columns)
        done = phi(builder, integer, integer(0), turn)
        block.offset = builder.mul(done, integer(block.size))
        block.mask = lane_mask(builder, builder.sub(given["channels"], done), block.lanes)
        body(block)
        further = builder.add(done, integer(block.lanes))
        done.add_incoming(further, begin)
        builder.cbranch(builder.icmp_signed("<", further, given["channels"]), begin, following)

        builder = ir.IRBuilder(following)
        steps = {
            "pixels": given["apart"],
            "window": builder.mul(given["channels"], integer(block.size)),
            "places": builder.mul(given["channels"], integer(4)),
        }
        for name, value in moving.items():
            value.add_incoming(builder.add(value, steps[name]), following)
        fewer = builder.sub(left, integer(1))
        left.add_incoming(fewer, following)
        builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), turn, end)
        ir.IRBuilder(end).ret_void()

    shapes = [(rows, columns) for rows in range(1, MOST + 1) for columns in range(1, MOST + 1)]
    return dispatched(f"{name}_{kind}_{dtype}_{lanes}", len(ARGUMENTS), 1, shapes, loop)
