"""Transposed convolutions on the CPU, row by row: no products with the zeros that a stride puts in between.

A row of outputs depends on those rows of the input whose distance is a tap of the filter; there is one such
set of taps for each remainder of the row's number by the stride. With these taps each pixel of the input
gives what it sends to all columns under a filter, a run of (columns of a filter x channels) numbers: that is
a matrix product, whose rows are long also where channels are few. Each output then gathers its parts from
the runs of its neighbours.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.geometry import Geometry, chunk_rows
from bigmodel_core.kernels.cpu.convolution.tile import convolve_tile, tallest
from bigmodel_core.kernels.cpu.engine.instructions import (
    lane_mask,
    load_vector,
    outlined,
    phi,
    store_vector,
    vector_type,
)
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import Intrinsic, NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.cpu.gemm.packing import stack_memory

STACK = 256 * 1024
"""Bytes of the stack that hold what the pixels of a row send."""


def fits(g: Geometry) -> bool:
    """Whether the algorithm can compute the transpose of a convolution, with less work than with zeros."""
    if g.dilation != (1, 1) or g.groups != 1 or g.out_width * _pitch(g) > STACK:
        return False
    lanes = vector_unit().lanes(g.dtype)
    spread = g.width * g.taps[0] * g.taps[1] * -(-g.channels // lanes)
    sent = g.out_width * g.taps[0] / g.stride[0] * -(-g.taps[1] * g.channels // lanes)
    return 1.25 * sent < spread


def _pitch(g: Geometry) -> int:
    """Bytes that a pixel sends, in whole vectors."""
    lanes = vector_unit().lanes(g.dtype)
    return -(-g.taps[1] * g.channels // lanes) * lanes * SIZES[g.dtype]


def transposed(
    g: Geometry, y: CpuBuffer, weight: CpuBuffer, bias: CpuBuffer | None, x: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute x (n, height, width, channels) from y, for the convolution g of x to y.

    Args:
        weight: (filters, channels, taps), as the convolution has it.
        bias: a number to add for each channel of x, or None.
    """
    if g.n * g.height * g.width * g.channels == 0:
        return []
    size = SIZES[g.dtype]
    run = g.taps[1] * g.channels
    arranged = scratch(g.taps[0] * g.filters * run * size)
    order: list[Item] = [weight, arranged, g.filters, g.channels, *g.taps, g.stride[0]]
    as_outputs = Geometry(
        *(g.n, g.out_height, g.out_width, g.filters, g.height, g.width, g.channels),
        *(g.taps, (1, 1), (1, 1), (0, 0), g.stride, 1, g.dtype),
    )
    rows = chunk_rows(as_outputs)
    total = g.n * g.height
    context: list[Item] = [
        *(g.height, g.width, g.channels, g.out_height, g.out_width, g.filters, *g.taps, *g.stride),
        *(*g.padding, y, arranged, bias or 0, x, rows, total, _pitch(g)),
        convolve_tile(g.dtype),
    ]
    return [
        CpuLaunch(order_kernel(g.dtype), order, g.taps[0], makes=(arranged,)),
        CpuLaunch(
            transposed_kernel(g.dtype),
            context,
            -(-total // rows),
            (rows * g.width, g.channels),
            choice="row by row, each pixel's share gathered",
        ),
    ]


@functools.cache
def order_kernel(dtype: str) -> NativeFunction:
    """The kernel that orders rows of filters by their remainder, as (row, filter, column, channel)."""
    read, write = load(dtype), store(dtype)

    def order_taps(ctx, tap):
        weight, out, filters, channels = (
            load_int(ctx, 0),
            load_int(ctx, 1),
            load_int(ctx, 2),
            load_int(ctx, 3),
        )
        down, across, step = load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)
        place = tap // step
        for before in range(tap % step):
            place += (down - before + step - 1) // step
        at = place * filters * across * channels
        for k in range(filters):
            for s in range(across):
                for c in range(channels):
                    write(out, at, read(weight, ((k * channels + c) * down + tap) * across + s))
                    at += 1

    return NativeFunction(order_taps)


@functools.cache
def gather_runs(dtype: str) -> Intrinsic:
    """`gather_runs(dtype)(source, step, runs, bias, target, count)` sums `runs` runs of numbers.

    Runs begin `step` bytes apart; `bias` is one more, or 0. Reads go on to whole vectors.
    """
    return outlined(f"gather_runs_{dtype}", 6, lambda function: _gather_body(function, dtype))


def _gather_body(function: Any, dtype: str) -> None:
    from llvmlite import ir

    integer, vector, size = ir.IntType(64), vector_type(dtype), SIZES[dtype]
    source, step, runs, bias, target, count = function.args
    entry, across, down, write, end = (
        function.append_basic_block(label) for label in ("entry", "across", "down", "write", "end")
    )
    builder = ir.IRBuilder(entry)
    nothing = ir.Constant(vector, [0.0] * vector.count)
    has_bias = builder.icmp_signed("!=", bias, integer(0))
    start = builder.select(has_bias, bias, target)  # any address that can be read
    builder.branch(across)

    builder = ir.IRBuilder(across)  # entered once for each vector
    offset = phi(builder, integer, integer(0), entry)
    begin = load_vector(builder, builder.add(start, offset), vector, size)
    begin = builder.select(has_bias, begin, nothing)
    builder.cbranch(builder.icmp_signed(">", runs, integer(0)), down, write)

    builder = ir.IRBuilder(down)
    left = phi(builder, integer, runs, across)
    at = phi(builder, integer, source, across)
    total = phi(builder, vector, begin, across)
    more = builder.fadd(total, load_vector(builder, builder.add(at, offset), vector, size))
    total.add_incoming(more, down)
    at.add_incoming(builder.add(at, step), down)
    fewer = builder.sub(left, integer(1))
    left.add_incoming(fewer, down)
    builder.cbranch(builder.icmp_signed(">", fewer, integer(0)), down, write)

    builder = ir.IRBuilder(write)
    found = builder.phi(vector)
    found.add_incoming(begin, across)
    found.add_incoming(more, down)
    place = builder.add(target, offset)
    written = builder.sdiv(offset, integer(size))
    mask = lane_mask(builder, builder.sub(count, written), vector.count)
    store_vector(builder, found, place, size, mask)
    further = builder.add(offset, integer(vector.count * size))
    offset.add_incoming(further, write)
    builder.cbranch(builder.icmp_signed("<", further, builder.mul(count, integer(size))), across, end)
    ir.IRBuilder(end).ret_void()


@functools.cache
def transposed_kernel(dtype: str) -> NativeFunction:
    """The kernel for rows of x; `transposed` lists its context."""
    size, wide = SIZES[dtype], tile_columns(dtype)
    most_rows = tallest()
    tile, gather, memory = convolve_tile(dtype).call, gather_runs(dtype), stack_memory(STACK + 256)

    def transposed_convolution(ctx, chunk):
        height, width, channels = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
        from_height, from_width, filters = load_int(ctx, 3), load_int(ctx, 4), load_int(ctx, 5)
        taps_down, taps_across = load_int(ctx, 6), load_int(ctx, 7)
        step_down, step_across = load_int(ctx, 8), load_int(ctx, 9)
        top, left = load_int(ctx, 10), load_int(ctx, 11)
        y, weight, bias, x = load_int(ctx, 12), load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15)
        each, total, pitch = load_int(ctx, 16), load_int(ctx, 17), load_int(ctx, 18)
        tiles_of = load_int(ctx, 19)
        run = taps_across * channels
        from_row = from_width * filters * size
        tiles = (from_width + most_rows - 1) // most_rows
        even = (from_width + tiles - 1) // tiles
        sent = memory()
        for row in range(chunk * each, min(total, chunk * each + each)):
            nearest, rest = (row % height + top) // step_down, (row % height + top) % step_down
            taps = (taps_down - rest + step_down - 1) // step_down  # those of this remainder
            first, last = max(0, nearest - from_height + 1), min(taps - 1, nearest)
            if first <= last:  # tap m meets row `nearest` - m
                place = first
                for before in range(rest):
                    place += (taps_down - before + step_down - 1) // step_down
                source = y + (row // height * from_height + nearest - first) * from_row
                filter_row = weight + place * filters * run * size
                for j in range(0, run, wide):
                    w = min(wide, run - j)
                    p = 0
                    while p < from_width:
                        h = min(even, from_width - p)
                        tile(
                            tiles_of,
                            last - first + 1,
                            filters,
                            source + p * filters * size,
                            filters * size,
                            size,
                            -from_row - filters * size,
                            filter_row + j * size,
                            run * size,
                            sent + p * pitch + j * size,
                            pitch,
                            0,
                            0,
                            h,
                            w,
                        )
                        p += h
            target = x + row * width * channels * size
            for column in range(width):
                near, over = (column + left) // step_across, (column + left) % step_across
                m0 = max(0, near - from_width + 1)
                m1 = min((taps_across - over + step_across - 1) // step_across - 1, near)
                gather(
                    sent + (near - m0) * pitch + (over + m0 * step_across) * channels * size,
                    step_across * channels * size - pitch,
                    m1 - m0 + 1 if first <= last else 0,
                    bias,
                    target + column * channels * size,
                    channels,
                )

    return NativeFunction(transposed_convolution)
