"""Pools on the CPU, channels last: the largest number or the mean under windows, and their gradients.

All work in vectors of channels, window by window (`window_tile.py`). Behind a convolution a pool runs on each
of its chunks, while that is in the cache.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import CpuLaunches, cpu_launches
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, Item
from bigmodel_core.kernels.cpu.engine.memory import load_int, store
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.pooling.window_tile import (
    LARGEST,
    MEAN,
    MOST,
    gather_window,
    lanes_for,
    spread_window,
)

CHUNK_WORK = 8192
"""Vectors of pixels that a chunk goes through: some microseconds."""

Tile = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows over images x (n, height, width, channels), which give y (n, rows, columns, channels).

    Args:
        window: rows and columns of a window.
        stride: pixels of x between neighbouring windows, down and across.
        padding: rows above and columns left of x that are outside.
        count_padding: whether a mean counts what is outside.
        kind: `LARGEST` or `MEAN`.
    """

    n: int
    height: int
    width: int
    channels: int
    rows: int
    columns: int
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    count_padding: bool
    kind: str
    dtype: str

    @property
    def lanes(self) -> int:
        """Lanes of the vectors that channels are taken in."""
        return lanes_for(self.channels, self.dtype)

    @property
    def apart(self) -> bool:
        """Whether no pixel is under two windows."""
        return self.window[0] <= self.stride[0] and self.window[1] <= self.stride[1]

    @property
    def tiled(self) -> bool:
        """Whether each pixel is under exactly one window."""
        covered = (self.rows * self.stride[0], self.columns * self.stride[1]) == (self.height, self.width)
        return covered and self.window == self.stride and self.padding == (0, 0)

    def chunk_rows(self) -> int:
        """Rows of windows that are worth a chunk: of whole images, or a part of one."""
        vectors = -(-self.channels // self.lanes)
        wanted = max(1, CHUNK_WORK // max(self.columns * self.window[0] * self.window[1] * vectors, 1))
        return min(wanted // self.rows, max(self.n, 1)) * self.rows if wanted > self.rows else wanted

    def rows_of_pixels(self, pixels: int) -> int | None:
        """The rows of windows over a number of consecutive pixels of x; None if some overlap."""
        image = self.height * self.width
        if pixels % image == 0:
            return pixels // image * self.rows
        down = pixels // self.width
        parts = down * self.width == pixels and self.height % down == 0 and down % self.stride[0] == 0
        return down // self.stride[0] if parts and self.tiled else None

    def rows_of_windows(self, windows: int) -> int | None:
        """The rows of a number of windows; None if they share pixels with others."""
        image = self.rows * self.columns
        if windows % image == 0:
            return windows // image * self.rows
        down = windows // self.columns
        return down if self.tiled and down * self.columns == windows and self.rows % down == 0 else None


def pool(
    w: Windows, x: CpuBuffer, y: CpuBuffer, places: CpuBuffer | None, tile: Tile | None = None
) -> list[CpuLaunch] | None:
    """The launch that computes y, and for the largest number the places (int32) it comes from.

    Args:
        tile: (pixels, channels) of x in each chunk of the launch that this one follows, or None.

    Returns:
        None if windows reach over chunks.
    """
    each = w.chunk_rows() if tile is None else w.rows_of_pixels(tile[0]) if tile[1] >= w.channels else None
    if each is None:
        return None
    written = (each * w.columns, w.channels)
    return _launches(w, False, x, y, places, each, written)


def pool_gradient(
    w: Windows, dy: CpuBuffer, places: CpuBuffer | None, dx: CpuBuffer, tile: Tile | None = None
) -> list[CpuLaunch] | None:
    """The launch that computes dx from dy.

    Args:
        tile: (windows, channels) of dy in each chunk of the launch that this one follows, or None.

    Returns:
        None if windows of several chunks share pixels.
    """
    if tile is None:
        each: int | None = w.chunk_rows() if w.tiled else max(w.chunk_rows(), w.rows)
    else:
        each = w.rows_of_windows(tile[0]) if tile[1] >= w.channels else None
    if each is None:
        return None
    pixels = each // w.rows * w.height * w.width if each % w.rows == 0 else each * w.stride[0] * w.width
    return _launches(w, True, dx, dy, places, each, (pixels, w.channels))


def _launches(
    w: Windows, back: bool, x: CpuBuffer, y: CpuBuffer, places: CpuBuffer | None, each: int, tile: Tile
) -> list[CpuLaunch]:
    """The launch that does `each` rows of windows in a chunk, and writes such a tile."""
    total = w.n * w.rows
    if total * w.columns * w.channels == 0:
        return []
    context: list[Item] = [
        *(w.height, w.width, w.channels, w.rows, w.columns, *w.window, *w.stride, *w.padding),
        *(int(w.count_padding), x, y, places or 0, each, total, int(w.apart), int(w.tiled)),
    ]
    kernel = windows_kernel(w.dtype, w.kind, w.lanes, back)
    return [CpuLaunch(kernel, context, -(-total // each), tile)]


# The kernels of ops ---------------------------------------------------------------------------------------


def _windows(op: Any, x: Spec, y: Spec, kind: str, count_padding: bool = True) -> Windows:
    """The windows of a pool from images x to y, channels last."""
    n, height, width, channels = x.sizes
    _, rows, columns, _ = y.sizes
    return Windows(
        *(n, height, width, channels, rows, columns, op.window, op.stride, op.border[:2]),
        *(count_padding, kind, x.dtype),
    )


def _max_pool(call: Call, tile: Tile | None = None) -> list[CpuLaunch] | None:
    w = _windows(call.op, call.inputs[0], call.outputs[0], LARGEST)
    y, places = call.output_buffers
    return pool(w, call.input_buffers[0], y, places, tile)


def _max_pool_gradient(call: Call, tile: Tile | None = None) -> list[CpuLaunch] | None:
    w = _windows(call.op, call.outputs[0], call.inputs[0], LARGEST)
    dy, places = call.input_buffers
    return pool_gradient(w, dy, places, call.output_buffers[0], tile)


def _average_pool(call: Call, tile: Tile | None = None) -> list[CpuLaunch] | None:
    w = _windows(call.op, call.inputs[0], call.outputs[0], MEAN, call.op.count_border)
    return pool(w, call.input_buffers[0], call.output_buffers[0], None, tile)


def _average_pool_gradient(call: Call, tile: Tile | None = None) -> list[CpuLaunch] | None:
    w = _windows(call.op, call.outputs[0], call.inputs[0], MEAN, call.op.count_border)
    return pool_gradient(w, call.input_buffers[0], None, call.output_buffers[0], tile)


def _on_tiles(choose: Any) -> CpuLaunches:
    """A kernel that writes images, and may be the epilogue of one that writes those it reads."""
    return cpu_launches(writes_tiles=True, epilogue=choose, follows=0)(choose)


max_pool = _on_tiles(_max_pool)
max_pool_gradient = _on_tiles(_max_pool_gradient)
average_pool = _on_tiles(_average_pool)
average_pool_gradient = _on_tiles(_average_pool_gradient)


# The native kernel -----------------------------------------------------------------------------------------


def load_sizes(ctx):
    """From a context: height, width and channels of x, rows and columns of y."""
    x = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2)
    return *x, load_int(ctx, 3), load_int(ctx, 4)


def load_windows(ctx):
    """From a context: window and stride down and across, padding above and left, whether that counts."""
    window, stride = (load_int(ctx, 5), load_int(ctx, 6)), (load_int(ctx, 7), load_int(ctx, 8))
    return *window, *stride, load_int(ctx, 9), load_int(ctx, 10), load_int(ctx, 11)


@functools.cache
def windows_kernel(dtype: str, kind: str, lanes: int, back: bool) -> NativeFunction:
    """The kernel for rows of windows: from pixels to windows, or back from their gradients.

    On the backward pass a chunk's rows are those of whole images, unless each pixel has one window.
    """
    size, write = SIZES[dtype], store(dtype)
    do_windows = (spread_window if back else gather_window)(dtype, kind, lanes)

    def pool_windows(ctx, chunk):
        height, width, channels, rows, columns = load_sizes(ctx)
        window_down, window_across, step_down, step_across, top, left, count_padding = load_windows(ctx)
        x, y, places = load_int(ctx, 12), load_int(ctx, 13), load_int(ctx, 14)
        each, total, apart, tiled = load_int(ctx, 15), load_int(ctx, 16), load_int(ctx, 17), load_int(ctx, 18)
        pixel = channels * size
        for row in range(chunk * each, min(total, chunk * each + each)):
            image = x + row // rows * height * width * pixel
            if back and tiled == 0 and row % rows == 0:
                for k in range(height * width * channels):
                    write(image, k, 0)
            i, i0, i1 = inside(row % rows, step_down, window_down, top, height)
            column = 0
            while column < columns:
                j, j0, j1 = inside(column, step_across, window_across, left, width)
                alike = 1  # windows from here on that are as whole as this one
                if j0 == 0 and j1 == window_across:
                    alike = min(columns - column, (width - window_across - j) // step_across + 1)
                count = window_down * window_across if count_padding != 0 else (i1 - i0) * (j1 - j0)
                at = (row * columns + column) * channels
                for r in range(i0, i1, MOST):
                    for s in range(j0, j1, MOST):
                        onward, share = 1 - apart, count
                        if not back:
                            onward = int(r > i0 or s > j0)
                            share = count if r + MOST >= i1 and s + MOST >= j1 else 1
                        do_windows(
                            image + ((i + r) * width + j + s) * pixel,
                            width * pixel,
                            pixel,
                            r * window_across + s,
                            window_across,
                            y + at * size,
                            places + at * 4,
                            channels,
                            alike,
                            step_across * pixel,
                            onward,
                            share,
                            min(MOST, i1 - r),
                            min(MOST, j1 - s),
                        )
                column += alike

    return NativeFunction(pool_windows)


def inside(number, step, window, padding, length):
    """Where a window begins along an axis, and which of its pixels, from and to, are in the image."""
    begin = number * step - padding
    return begin, max(0, -begin), min(window, length - begin)
