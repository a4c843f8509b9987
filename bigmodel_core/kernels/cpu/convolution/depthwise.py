"""Depthwise convolutions on the CPU: each channel has its own filter, and vectors run over channels.

The convolution and its gradient for the input are sums over the taps of products of two vectors, and the
gradient for the weight is one over pixels (`depthwise_gradient.py`). Padding only makes the grids smaller.
Chunks are chosen by shapes alone.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.geometry import Geometry, chunk_rows
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.gemm.grid_products import grid_products
from bigmodel_core.kernels.taps import first_inside, meeting, period, steps_inside

CHOICE = "vectors of channels"
NEIGHBOURS = 4
"""Pixels of a row that are made together: each tap is read once for all of them."""
ALONE = 0, 0, 0
"""How far apart the sums lie where there is one."""


def fits(g: Geometry) -> bool:
    """Whether each channel has its own filter."""
    return g.groups == g.channels == g.filters and g.groups > 1


def convolve(
    g: Geometry, x: CpuBuffer, weight: CpuBuffer, bias: CpuBuffer | None, y: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute y from x and a weight (channels, 1, taps)."""
    if g.n * g.out_height * g.out_width == 0:
        return []
    order, taps = _ordered_taps(g, weight, scratch)
    rows, total = chunk_rows(g), g.n * g.out_height
    context = [*filter_sizes(g), x, taps, bias or 0, y, rows, total]
    tile = (rows * g.out_width, g.filters)
    return [order, CpuLaunch(convolution_kernel(g.dtype), context, -(-total // rows), tile, choice=CHOICE)]


def transposed(
    g: Geometry, y: CpuBuffer, weight: CpuBuffer, bias: CpuBuffer | None, x: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute x from y, for the convolution g of x to y."""
    if g.n * g.height * g.width == 0:
        return []
    order, taps = _ordered_taps(g, weight, scratch)
    whole = chunk_rows(g)
    rows = max(1, whole // g.out_height) * g.height if whole >= g.out_height else g.height
    total = g.n * g.height
    context = [*filter_sizes(g), y, taps, bias or 0, x, rows, total, *map(period, g.stride, g.dilation)]
    tile = (rows * g.width, g.channels)
    return [order, CpuLaunch(transposed_kernel(g.dtype), context, -(-total // rows), tile, choice=CHOICE)]


def filter_sizes(g: Geometry) -> list[Any]:
    """What all kernels read first: 13 numbers."""
    return [
        *(g.height, g.width, g.out_height, g.out_width, g.channels),
        *(*g.taps, *g.stride, *g.dilation, *g.padding),
    ]


def load_sizes(ctx):
    """From a context: height and width of x, of y, channels."""
    x = load_int(ctx, 0), load_int(ctx, 1)
    return *x, load_int(ctx, 2), load_int(ctx, 3), load_int(ctx, 4)


def load_filter(ctx):
    """From a context: taps, stride, dilation and padding, each down (above) and across (left)."""
    taps, stride = (load_int(ctx, 5), load_int(ctx, 6)), (load_int(ctx, 7), load_int(ctx, 8))
    return *taps, *stride, load_int(ctx, 9), load_int(ctx, 10), load_int(ctx, 11), load_int(ctx, 12)


def _ordered_taps(g: Geometry, weight: CpuBuffer, scratch: Scratch) -> tuple[CpuLaunch, CpuBuffer]:
    taps = g.taps[0] * g.taps[1]
    ordered = scratch(taps * g.channels * SIZES[g.dtype])
    context: list[Item] = [weight, ordered, taps, g.channels]
    return CpuLaunch(order_kernel(g.dtype), context, makes=(ordered,)), ordered


@functools.cache
def order_kernel(dtype: str) -> NativeFunction:
    """The kernel that turns (channels, taps) into (taps, channels)."""
    read, write = load(dtype), store(dtype)

    def order_depthwise(ctx, chunk):
        weight, out, taps, channels = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
        for tap in range(taps):
            for c in range(channels):
                write(out, tap * channels + c, read(weight, c * taps + tap))

    return NativeFunction(order_depthwise)


@functools.cache
def convolution_kernel(dtype: str) -> NativeFunction:
    """The kernel for rows of outputs; `convolve` lists its context."""
    size, products, of_neighbours = SIZES[dtype], grid_products(dtype), grid_products(dtype, NEIGHBOURS)

    def depthwise_convolution(ctx, chunk):
        height, width, out_height, out_width, channels = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across, top, left = load_filter(ctx)
        x, taps, bias, y = load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15), load_int(ctx, 16)
        each, total = load_int(ctx, 17), load_int(ctx, 18)
        pixel = channels * size
        pitch = width * pixel
        for row in range(chunk * each, min(total, chunk * each + each)):
            i = row % out_height * step_down - top
            r0 = first_inside(i, gap_down)
            r1 = min(taps_down, steps_inside(i, gap_down, height))
            source = x + (row // out_height * height + i + r0 * gap_down) * pitch
            target = y + row * out_width * pixel
            column = 0
            while column < out_width:
                j = column * step_across - left
                ahead = j + (NEIGHBOURS - 1) * step_across + (taps_across - 1) * gap_across
                if j >= 0 and ahead < width and column + NEIGHBOURS <= out_width:
                    of_neighbours(
                        source + j * pixel,
                        gap_down * pitch,
                        gap_across * pixel,
                        taps + r0 * taps_across * pixel,
                        taps_across * pixel,
                        pixel,
                        max(0, r1 - r0),
                        taps_across,
                        bias,
                        target,
                        channels,
                        step_across * pixel,
                        0,
                        pixel,
                    )
                    target += NEIGHBOURS * pixel
                    column += NEIGHBOURS
                    continue
                s0 = first_inside(j, gap_across)
                s1 = min(taps_across, steps_inside(j, gap_across, width))
                products(
                    source + (j + s0 * gap_across) * pixel,
                    gap_down * pitch,
                    gap_across * pixel,
                    taps + (r0 * taps_across + s0) * pixel,
                    taps_across * pixel,
                    pixel,
                    max(0, r1 - r0),
                    max(0, s1 - s0),
                    bias,
                    target,
                    channels,
                    *ALONE,
                )
                target += pixel
                column += 1

    return NativeFunction(depthwise_convolution)


@functools.cache
def transposed_kernel(dtype: str) -> NativeFunction:
    """The kernel for rows of x; `transposed` lists its context."""
    size, products, of_neighbours = SIZES[dtype], grid_products(dtype), grid_products(dtype, NEIGHBOURS)

    def depthwise_transposed(ctx, chunk):
        height, width, out_height, out_width, channels = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across, top, left = load_filter(ctx)
        y, taps, bias, x = load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15), load_int(ctx, 16)
        each, total = load_int(ctx, 17), load_int(ctx, 18)
        period_down, period_across = load_int(ctx, 19), load_int(ctx, 20)
        pixel = channels * size
        pitch = out_width * pixel
        for row in range(chunk * each, min(total, chunk * each + each)):
            r, rows, i = meeting(row % height + top, taps_down, step_down, gap_down, period_down, out_height)
            source = y + (row // height * out_height + i) * pitch
            target = x + row * width * pixel
            column = 0
            while column < width:
                s, columns, j = meeting(
                    column + left, taps_across, step_across, gap_across, period_across, out_width
                )
                # Without a stride, neighbours that all taps meet meet neighbours.
                last = column + left + NEIGHBOURS - 1
                if (
                    step_across == 1
                    and columns == taps_across
                    and last < out_width
                    and column + NEIGHBOURS <= width
                ):
                    of_neighbours(
                        source + j * pixel,
                        -(period_down * gap_down // step_down) * pitch,
                        -gap_across * pixel,
                        taps + r * taps_across * pixel,
                        period_down * taps_across * pixel,
                        pixel,
                        rows,
                        columns,
                        bias,
                        target,
                        channels,
                        pixel,
                        0,
                        pixel,
                    )
                    target += NEIGHBOURS * pixel
                    column += NEIGHBOURS
                    continue
                products(
                    source + j * pixel,
                    -(period_down * gap_down // step_down) * pitch,
                    -(period_across * gap_across // step_across) * pixel,
                    taps + (r * taps_across + s) * pixel,
                    period_down * taps_across * pixel,
                    period_across * pixel,
                    rows,
                    columns,
                    bias,
                    target,
                    channels,
                    *ALONE,
                )
                target += pixel
                column += 1

    return NativeFunction(depthwise_transposed)
