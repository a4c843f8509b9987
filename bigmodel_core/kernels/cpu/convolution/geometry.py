"""The sizes of a convolution, as all algorithms take them, and how its rows are split into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.views import require_channels_last

CHUNK_WORK = 600_000
"""Multiply-adds that make a chunk worth handing to a thread."""
SPLIT_WORK = 400_000
"""Multiply-adds from which two chunks beat one, though each is small."""
MAX_CHUNKS = 24
"""More chunks are not asked for."""
FEW_OUTPUTS = 224
"""Up to this many pixels of outputs, chunks share the filters out, not rows: each filter is read once."""
SMALL_OUTPUT = 64
"""So they do in each of several images of up to this many pixels, where the filters are large."""
LARGE_FILTERS = 1024 * 1024
"""Bytes of filters that the second-level cache does not hold."""


@dataclass(frozen=True)
class Geometry:
    """A convolution of x (n, height, width, channels) to y (n, out_height, out_width, filters).

    Args:
        taps: rows and columns of a filter.
        stride: pixels of x between neighbouring outputs, down and across.
        dilation: pixels of x between neighbouring taps.
        padding: rows above and columns left of x that count as zeros; may be negative.
        spread: x's pixels are taken so far apart, with zeros between.
        groups: channels and filters are split into this many independent groups.
    """

    n: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    filters: int
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    spread: tuple[int, int]
    groups: int
    dtype: str

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns under a filter."""
        return (self.taps[0] - 1) * self.dilation[0] + 1, (self.taps[1] - 1) * self.dilation[1] + 1

    @property
    def work(self) -> int:
        """Multiply-adds of the whole."""
        outputs = self.n * self.out_height * self.out_width * self.filters
        return outputs * self.taps[0] * self.taps[1] * (self.channels // self.groups)

    @property
    def in_place(self) -> bool:
        """Whether every tap of every output falls on a pixel, so that x need not be padded."""
        fits = all(
            (out - 1) * step + span <= size
            for out, step, span, size in zip(
                (self.out_height, self.out_width),
                self.stride,
                self.span,
                (self.height, self.width),
                strict=True,
            )
        )
        return fits and self.padding == (0, 0) and self.spread == (1, 1)

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product over all pixels."""
        plain = self.taps == self.stride == self.spread == (1, 1) and self.groups == 1
        same = (self.out_height, self.out_width) == (self.height, self.width)
        return plain and same and self.padding == (0, 0)

    @property
    def turned(self) -> Geometry:
        """Its transpose as a convolution, of pixels spread by the stride, under filters that are turned."""
        return replace(
            self,
            height=self.out_height,
            width=self.out_width,
            channels=self.filters,
            out_height=self.height,
            out_width=self.width,
            filters=self.channels,
            stride=(1, 1),
            padding=(self.span[0] - 1 - self.padding[0], self.span[1] - 1 - self.padding[1]),
            spread=self.stride,
        )

    def buffer_bytes(self, rows: int) -> int:
        """Bytes of the padded rows that a number of rows of outputs needs."""
        down = (rows - 1) * self.stride[0] + self.span[0]
        across = (self.out_width - 1) * self.stride[1] + self.span[1]
        return down * across * self.channels * SIZES[self.dtype]

    def context(self) -> list[int]:
        """What both kernels read first: 17 numbers."""
        return [
            *(self.height, self.width, self.channels, self.out_height, self.out_width, self.filters),
            *(*self.taps, *self.stride, *self.dilation, *self.padding, *self.spread, self.groups),
        ]


def geometry_of(op: Any, x: Spec, y: Spec, taps: Sequence[int]) -> Geometry:
    """The geometry of the convolution that an op means, from images x to y, both channels last.

    Raises:
        ShapeError: the op computes with channels first.
    """
    require_channels_last(op)
    n, height, width, channels = x.sizes
    _, out_height, out_width, filters = y.sizes
    down, across = taps
    return Geometry(
        *(n, height, width, channels, out_height, out_width, filters, (down, across)),
        *(op.stride, op.dilation, op.border[:2], (1, 1), op.groups, x.dtype),
    )


def _wanted(g: Geometry) -> int:
    """How many chunks are worth having."""
    return max(2 if g.work >= SPLIT_WORK else 1, min(MAX_CHUNKS, g.work // CHUNK_WORK))


def chunk_rows(g: Geometry, even: bool = False) -> int:
    """Rows of outputs in a chunk: whole images, or an equal part of one, of even rows if asked for."""
    wanted = _wanted(g)
    if g.n >= wanted:
        images = -(-g.n // wanted)

        def longest(each: int) -> int:  # images that the busier of two threads gets
            return -(-g.n // each // 2) * each

        return min(images, max(images - 1, 1), key=longest) * g.out_height
    parts = -(-wanted // g.n)
    fitting = [r for r in range(1, g.out_height + 1) if g.out_height % r == 0 and not (even and r % 2)]
    found = next((rows for rows in reversed(fitting) if g.out_height // rows >= parts), None)
    return found or (fitting[0] if fitting else g.out_height)


def filter_chunks(g: Geometry, width: int) -> tuple[int, int]:
    """How many filters a chunk gets, in panels of a width, where chunks share them out, and how many rows of
    outputs, all of some images; no filters where chunks are rows of outputs."""
    panels, pixels, wanted = -(-g.filters // width), g.out_height * g.out_width, _wanted(g)
    rows = g.n * g.out_height
    if g.n * pixels > FEW_OUTPUTS:
        nbytes = g.taps[0] * g.taps[1] * g.channels * g.filters * SIZES[g.dtype]
        if pixels > SMALL_OUTPUT or nbytes <= LARGE_FILTERS:
            return 0, 0
        rows, wanted = g.out_height, -(-wanted // g.n)
    wanted = min(wanted, panels)
    if g.groups > 1 or wanted < 2:
        return 0, 0
    return -(-panels // wanted) * width, rows
