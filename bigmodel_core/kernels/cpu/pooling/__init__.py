"""Pools on the CPU, channels last: the largest number or the mean under windows, and their gradients.

All work in vectors of channels, window by window (`window_tile.py`). Behind a convolution a pool runs on each
of its chunks, while that is in the cache.
"""

from __future__ import annotations

import functools
import math
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
    LARGEST_ALONE,
    MEAN,
    MOST,
    gather_window,
    lanes_for,
    spread_window,
)
from bigmodel_core.kernels.taps import inside
from bigmodel_core.kernels.views import in_volumes, require_channels_last, volumes

CHUNK_WORK = 8192
"""Vectors of pixels that a chunk goes through: some microseconds."""

PLACES = 1
"""The output of `MaxPool` that its gradient alone needs."""

Tile = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Windows over volumes x (n, depth, height, width, channels), which give y (n, slices, rows, columns,
    channels); images are volumes of one slice.

    Args:
        window: its slices, rows and columns.
        stride: pixels of x between neighbouring windows along each axis.
        padding: slices before, rows above and columns left of x that are outside.
        count_padding: whether a mean counts what is outside.
        kind: `LARGEST` or `MEAN`.
    """

    n: int
    depth: int
    height: int
    width: int
    channels: int
    slices: int
    rows: int
    columns: int
    window: tuple[int, int, int]
    stride: tuple[int, int, int]
    padding: tuple[int, int, int]
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
        return all(size <= step for size, step in zip(self.window, self.stride, strict=True))

    @property
    def tiled(self) -> bool:
        """Whether each pixel is under exactly one window."""
        counts = self.slices, self.rows, self.columns
        covered = [count * step for count, step in zip(counts, self.stride, strict=True)]
        whole = covered == [self.depth, self.height, self.width]
        return whole and self.window == self.stride and self.padding == (0, 0, 0)

    @property
    def of_one(self) -> int:
        """Rows of windows over one image or volume."""
        return self.slices * self.rows

    def chunk_rows(self) -> int:
        """Rows of windows that are worth a chunk: of whole images, or a part of one."""
        vectors = -(-self.channels // self.lanes)
        wanted = max(1, CHUNK_WORK // max(self.columns * math.prod(self.window) * vectors, 1))
        return min(wanted // self.of_one, max(self.n, 1)) * self.of_one if wanted > self.of_one else wanted

    def rows_of_pixels(self, pixels: int) -> int | None:
        """The rows of windows over a number of consecutive pixels of x; None if some overlap."""
        image = self.depth * self.height * self.width
        if pixels % image == 0:
            return pixels // image * self.of_one
        down = pixels // self.width
        parts = down * self.width == pixels and self.height % down == 0 and down % self.stride[1] == 0
        return down // self.stride[1] if parts and self.tiled and self.window[0] == 1 else None

    def rows_of_windows(self, windows: int) -> int | None:
        """The rows of a number of windows; None if they share pixels with others."""
        image = self.of_one * self.columns
        if windows % image == 0:
            return windows // image * self.of_one
        down = windows // self.columns
        return down if self.tiled and down * self.columns == windows and self.rows % down == 0 else None


def pool(
    w: Windows, x: CpuBuffer, y: CpuBuffer, places: CpuBuffer | None, tile: Tile | None = None
) -> list[CpuLaunch] | None:
    """The launch that computes y, and for the largest number the places (int32) it comes from, if asked for.

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
        each: int | None = w.chunk_rows() if w.tiled else max(w.chunk_rows(), w.of_one)
    else:
        each = w.rows_of_windows(tile[0]) if tile[1] >= w.channels else None
    if each is None:
        return None
    if each % w.of_one == 0:
        written: Tile | None = (each // w.of_one * w.depth * w.height * w.width, w.channels)
    else:  # rows of a part of one, which lie apart if windows have several slices
        written = (each * w.stride[1] * w.width, w.channels) if w.window[0] == 1 else None
    return _launches(w, True, dx, dy, places, each, written)


def _launches(
    w: Windows, back: bool, x: CpuBuffer, y: CpuBuffer, places: CpuBuffer | None, each: int, tile: Tile | None
) -> list[CpuLaunch]:
    """The launch that does `each` rows of windows in a chunk, and writes such a tile."""
    total = w.n * w.of_one
    if total * w.columns * w.channels == 0:
        return []
    context: list[Item] = [
        *(w.depth, w.height, w.width, w.channels, w.slices, w.rows, w.columns),
        *(*w.window, *w.stride, *w.padding),
        *(int(w.count_padding), x, y, places or 0, each, total, int(w.apart), int(w.tiled)),
    ]
    kind = LARGEST_ALONE if w.kind == LARGEST and places is None else w.kind
    kernel = windows_kernel(w.dtype, kind, w.lanes, back)
    return [CpuLaunch(kernel, context, -(-total // each), tile)]


# The kernels of ops ---------------------------------------------------------------------------------------


def _windows(op: Any, x: Spec, y: Spec, kind: str, count_padding: bool = True) -> Windows:
    """The windows of a pool from x to y, channels last; over images they are as over volumes of one slice."""
    require_channels_last(op)
    _, depth, height, width, channels = volumes(op, x)
    n, slices, rows, columns, _ = volumes(op, y)
    return Windows(
        *(n, depth, height, width, channels, slices, rows, columns),
        *(in_volumes(op.window, 1), in_volumes(op.stride, 1), in_volumes(op.border[: len(op.window)], 0)),
        *(count_padding, kind, x.dtype),
    )


def _max_pool(call: Call, tile: Tile | None = None) -> list[CpuLaunch] | None:
    w = _windows(call.op, call.inputs[0], call.outputs[0], LARGEST)
    y, places = call.output_buffers
    return pool(w, call.input_buffers[0], y, None if PLACES in call.unread else places, tile)


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
    """From a context: depth, height, width and channels of x; slices, rows and columns of y."""
    x = load_int(ctx, 0), load_int(ctx, 1), load_int(ctx, 2), load_int(ctx, 3)
    return *x, load_int(ctx, 4), load_int(ctx, 5), load_int(ctx, 6)


def load_windows(ctx, axis):
    """From a context: window, stride and padding along an axis."""
    return load_int(ctx, 7 + axis), load_int(ctx, 10 + axis), load_int(ctx, 13 + axis)


@functools.cache
def windows_kernel(dtype: str, kind: str, lanes: int, back: bool) -> NativeFunction:
    """The kernel for rows of windows: from pixels to windows, or back from their gradients.

    On the backward pass a chunk's rows are those of whole images, unless each pixel has one window.
    """
    size, write = SIZES[dtype], store(dtype)
    do_windows = (spread_window if back else gather_window)(dtype, kind, lanes)

    def pool_windows(ctx, chunk):
        depth, height, width, channels, slices, rows, columns = load_sizes(ctx)
        window_deep, step_deep, front = load_windows(ctx, 0)
        window_down, step_down, top = load_windows(ctx, 1)
        window_across, step_across, left = load_windows(ctx, 2)
        count_padding, x = load_int(ctx, 16), load_int(ctx, 17)
        y, places = load_int(ctx, 18), load_int(ctx, 19)
        each, total, apart, tiled = load_int(ctx, 20), load_int(ctx, 21), load_int(ctx, 22), load_int(ctx, 23)
        pixel = channels * size
        of_one = slices * rows
        for row in range(chunk * each, min(total, chunk * each + each)):
            image = x + row // of_one * depth * height * width * pixel
            if back and tiled == 0 and row % of_one == 0:
                for k in range(depth * height * width * channels):
                    write(image, k, 0)
            h, h0, h1 = inside(row % of_one // rows, step_deep, window_deep, front, depth)
            i, i0, i1 = inside(row % rows, step_down, window_down, top, height)
            column = 0
            while column < columns:
                j, j0, j1 = inside(column, step_across, window_across, left, width)
                alike = 1  # windows from here on that are as whole as this one
                if j0 == 0 and j1 == window_across:
                    alike = min(columns - column, (width - window_across - j) // step_across + 1)
                count = (h1 - h0) * (i1 - i0) * (j1 - j0)
                if count_padding != 0:
                    count = window_deep * window_down * window_across
                at = (row * columns + column) * channels
                for q in range(h0, h1):
                    for r in range(i0, i1, MOST):
                        for s in range(j0, j1, MOST):
                            onward, share = 1 - apart, count
                            if not back:
                                onward = int(q > h0 or r > i0 or s > j0)
                                share = count if q + 1 == h1 and r + MOST >= i1 and s + MOST >= j1 else 1
                            do_windows(
                                image + (((h + q) * height + i + r) * width + j + s) * pixel,
                                width * pixel,
                                pixel,
                                (q * window_down + r) * window_across + s,
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
