"""Convolutions with fewer filters than a vector has lanes, on the CPU: several neighbouring pixels at once.

With channels last, the outputs of p neighbouring pixels are contiguous. They are the outputs of one pixel
under p times as many filters, each wide enough to reach from the first pixel's taps to the last one's, with
zeros if a pixel has no tap. So this is the direct convolution with other numbers: more taps,
but fuller vectors. Zero times NaN or infinity is NaN: where a block of x has such numbers, it goes pixel by
pixel instead, so that none reaches an output that does not see it.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution import direct, direct_gradient
from bigmodel_core.kernels.cpu.convolution.geometry import Geometry
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load, load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.target import vector_unit

MOST_PIXELS = 16
"""Pixels at once, at most."""
GAIN = 1.25
"""Where fewer multiplications than this are saved, filters are not widened."""


def fits(g: Geometry) -> bool:
    """Whether the algorithm can compute a convolution, and with less work."""
    return pixels_at_once(g) > 1


def pixels_at_once(g: Geometry) -> int:
    """How many neighbouring pixels are best computed at once; 1 where that does not pay."""
    if g.groups != 1 or g.dilation[1] != 1 or g.spread != (1, 1) or g.out_width < 2 or g.filters == 0:
        return 1
    lanes = vector_unit().lanes(g.dtype)

    def cost(pixels: int) -> float:
        taps = g.taps[1] + (pixels - 1) * g.stride[1]
        return taps * -(-pixels * g.filters // lanes) / pixels

    possible = [p for p in range(1, MOST_PIXELS + 1) if g.out_width % p == 0]
    best = min(possible, key=cost)
    return best if cost(1) >= GAIN * cost(best) else 1


def widened(g: Geometry) -> Geometry:
    """The same convolution with several pixels as one."""
    pixels = pixels_at_once(g)
    return replace(
        g,
        out_width=g.out_width // pixels,
        filters=g.filters * pixels,
        taps=(g.taps[0], g.taps[1] + (pixels - 1) * g.stride[1]),
        stride=(g.stride[0], g.stride[1] * pixels),
    )


def convolve(
    g: Geometry, x: CpuBuffer, weight: CpuBuffer, bias: CpuBuffer | None, y: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute y from x and a weight (filters, channels, taps)."""
    wide, size, pixels = widened(g), SIZES[g.dtype], pixels_at_once(g)
    filters = scratch(wide.taps[0] * wide.taps[1] * g.channels * wide.filters * size)
    single = scratch(g.taps[0] * g.taps[1] * g.channels * g.filters * size)
    biases = scratch(wide.filters * size) if bias is not None else None
    context = [*_sizes(g), weight, filters, bias or 0, biases or 0, single]
    found = direct.convolve(wide, x, filters, biases, y, scratch, single=(single, pixels))
    for launch in found:
        assert launch.tile is not None
        launch.tile = launch.tile[0] * pixels, g.filters
        launch.choice = f"{launch.choice}, {pixels} pixels at once"
    made = (filters, single, *((biases,) if biases is not None else ()))
    return [CpuLaunch(widen_kernel(g.dtype), context, makes=made), *found] if found else []


def weight_gradient(
    g: Geometry, x: CpuBuffer, dy: CpuBuffer, dw: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute the gradient (filters, channels, taps) of a weight."""
    wide, size, pixels = widened(g), SIZES[g.dtype], pixels_at_once(g)
    sums = scratch(wide.taps[0] * wide.taps[1] * g.channels * wide.filters * size)
    found = direct_gradient.weight_gradient(wide, x, dy, sums, scratch)
    for launch in found:
        launch.choice = f"{launch.choice}, {pixels} pixels at once" if launch.choice else ""
    return [*found, CpuLaunch(fold_kernel(g.dtype), [*_sizes(g), sums, dw])]


def _sizes(g: Geometry) -> list[int]:
    """What both kernels read first: 6 numbers."""
    return [g.filters, g.channels, *g.taps, g.stride[1], pixels_at_once(g)]


def load_sizes(ctx):
    """From a context: filters, channels, taps down and across, stride across, pixels at once."""
    weight = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
    return *weight, load_int(ctx, 4), load_int(ctx, 5)


@functools.cache
def widen_kernel(dtype: str) -> NativeFunction:
    """The kernel that turns (filters, channels, taps) into (wide taps, channels, pixels, filters), and into
    (taps, channels, filters)."""
    nothing, read, write = np.zeros(1, dtype)[0], load(dtype), store(dtype)

    def widen_filters(ctx, chunk):
        filters, channels, down, across, step, pixels = load_sizes(ctx)
        weight, out = load_int(ctx, 6), load_int(ctx, 7)
        bias, biases, single = load_int(ctx, 8), load_int(ctx, 9), load_int(ctx, 10)
        wide = across + (pixels - 1) * step
        at = 0
        for r in range(down):
            for s in range(across):
                for c in range(channels):
                    for k in range(filters):
                        write(single, at, read(weight, ((k * channels + c) * down + r) * across + s))
                        at += 1
        at = 0
        for r in range(down):
            for s in range(wide):
                for c in range(channels):
                    for pixel in range(pixels):
                        tap = s - pixel * step
                        for k in range(filters):
                            value = nothing
                            if 0 <= tap < across:
                                value = read(weight, ((k * channels + c) * down + r) * across + tap)
                            write(out, at, value)
                            at += 1
        if bias != 0:
            for pixel in range(pixels):
                for k in range(filters):
                    write(biases, pixel * filters + k, read(bias, k))

    return NativeFunction(widen_filters)


@functools.cache
def fold_kernel(dtype: str) -> NativeFunction:
    """The kernel that adds up (pixels, filters, channels, wide taps) to (filters, channels, taps)."""
    read, write = load(dtype), store(dtype)

    def fold_filters(ctx, chunk):
        filters, channels, down, across, step, pixels = load_sizes(ctx)
        sums, out = load_int(ctx, 6), load_int(ctx, 7)
        wide = across + (pixels - 1) * step
        for k in range(filters):
            for row in range(channels * down):
                for s in range(across):
                    total = read(sums, (k * channels * down + row) * wide + s)
                    for pixel in range(1, pixels):
                        other = (pixel * filters + k) * channels * down + row
                        total += read(sums, other * wide + s + pixel * step)
                    write(out, (k * channels * down + row) * across + s, total)

    return NativeFunction(fold_filters)
