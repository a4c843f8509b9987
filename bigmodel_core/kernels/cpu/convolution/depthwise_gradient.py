"""The gradient of a depthwise convolution for its weight, on the CPU: sums over the pixels of each image.

Neighbouring taps of a row are summed together where a pixel meets them all. Chunks are chosen by shapes
alone.
"""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.cpu.convolution.depthwise import CHOICE, filter_sizes, load_filter, load_sizes
from bigmodel_core.kernels.cpu.convolution.direct_gradient import sum_pieces_kernel
from bigmodel_core.kernels.cpu.convolution.geometry import CHUNK_WORK, MAX_CHUNKS, Geometry
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Scratch
from bigmodel_core.kernels.cpu.engine.memory import load_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.gemm.grid_products import grid_products
from bigmodel_core.kernels.taps import first_inside, steps_inside

PIXELS = 256
"""Pixels of a gradient that are summed at a time; the partial sums are then added."""
TOGETHER = 3
"""Taps of a row whose gradients are made together: each pixel of dy is read once for all of them."""


def weight_gradient(
    g: Geometry, x: CpuBuffer, dy: CpuBuffer, dw: CpuBuffer, scratch: Scratch
) -> list[CpuLaunch]:
    """The launches that compute the gradient (channels, 1, taps) of a weight."""
    taps, size = g.taps[0] * g.taps[1], SIZES[g.dtype]
    if taps * g.channels == 0:
        return []
    pieces = max(1, min(g.n, MAX_CHUNKS, g.work // CHUNK_WORK))
    each = max(1, -(-g.n // pieces))
    pieces = max(1, -(-g.n // each))
    partial = scratch(pieces * taps * g.channels * size)
    context = [*filter_sizes(g), x, dy, partial, g.n, each]
    step = min(64, g.channels)
    return [
        CpuLaunch(weight_gradient_kernel(g.dtype), context, pieces, choice=CHOICE),
        CpuLaunch(
            sum_pieces_kernel(g.dtype),
            [partial, dw, pieces, taps, 1, g.channels, step],
            -(-g.channels // step),
        ),
    ]


@functools.cache
def weight_gradient_kernel(dtype: str) -> NativeFunction:
    """The kernel for the sum over some images, stored as (taps, channels)."""
    size, of_one, of_several = SIZES[dtype], pixel_sums(dtype, 1), pixel_sums(dtype, TOGETHER)

    def depthwise_weight_gradient(ctx, chunk):
        height, width, out_height, out_width, channels = load_sizes(ctx)
        taps_down, taps_across, step_down, step_across, gap_down, gap_across, top, left = load_filter(ctx)
        x, dy, partial = load_int(ctx, 13), load_int(ctx, 14), load_int(ctx, 15)
        n, each = load_int(ctx, 16), load_int(ctx, 17)
        pixel = channels * size
        x_row, x_column, dy_row = step_down * width * pixel, step_across * pixel, out_width * pixel
        sums = partial + chunk * taps_down * taps_across * pixel
        for image in range(chunk * each, max(chunk * each + 1, min(n, chunk * each + each))):
            fresh = image == chunk * each
            for r in range(taps_down):
                i = r * gap_down - top
                first = first_inside(i, step_down)
                rows = min(out_height, steps_inside(i, step_down, height)) - first if image < n else 0
                source = x + (image * height + i + first * step_down) * width * pixel
                given = dy + (image * out_height + first) * dy_row
                s = 0
                while s < taps_across:
                    several = TOGETHER if s + TOGETHER <= taps_across else 1
                    j = s * gap_across - left
                    ahead = j + (several - 1) * gap_across
                    low = first_inside(j, step_across)  # from here to `high` dy meets all these taps
                    high = max(low, min(out_width, steps_inside(ahead, step_across, width)))
                    place, target = source + j * pixel, sums + (r * taps_across + s) * pixel
                    if several == 1:
                        of_one(
                            place + low * x_column, x_row, x_column, given + low * pixel, dy_row, pixel,
                            rows, high - low, fresh, target, channels, 0,
                        )  # fmt: skip
                    else:
                        of_several(
                            place + low * x_column, x_row, x_column, given + low * pixel, dy_row, pixel,
                            rows, high - low, fresh, target, channels, gap_across * pixel,
                        )  # fmt: skip
                        for k in range(several):
                            begin = first_inside(j + k * gap_across, step_across)
                            end = min(out_width, steps_inside(j + k * gap_across, step_across, width))
                            shifted = place + k * gap_across * pixel
                            of_one(
                                shifted + begin * x_column, x_row, x_column, given + begin * pixel, dy_row,
                                pixel, rows, min(low, end) - begin, False, target + k * pixel, channels, 0,
                            )  # fmt: skip
                            begin = max(begin, high)
                            of_one(
                                shifted + begin * x_column, x_row, x_column, given + begin * pixel, dy_row,
                                pixel, rows, end - begin, False, target + k * pixel, channels, 0,
                            )  # fmt: skip
                    s += several

    return NativeFunction(depthwise_weight_gradient)


@functools.cache
def pixel_sums(dtype: str, taps: int) -> Any:
    """A function for kernels that adds sums over a grid of pixels to the gradients of neighbouring taps."""
    products = grid_products(dtype, taps)

    def add_pixels(
        x, x_row, x_column, dy, dy_row, pixel, rows, columns, fresh, target, channels, apart
    ):  # fmt: skip
        """If `fresh`, target is written even where there is no pixel."""
        wide = min(PIXELS, columns)
        high = PIXELS // max(wide, 1)
        row = 0
        column = 0
        while fresh or (row < rows and columns > 0):
            products(
                x + row * x_row + column * x_column,
                x_row,
                x_column,
                dy + row * dy_row + column * pixel,
                dy_row,
                pixel,
                max(0, min(high, rows - row)),
                max(0, min(wide, columns - column)),
                0 if fresh else target,
                target,
                channels,
                apart,
                pixel,
                pixel,
            )
            fresh = False
            column += PIXELS
            if column >= columns:
                row += high
                column = 0

    return add_pixels
