"""The sizes of a convolution as CUDA kernels take them, in either layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views


@dataclass(frozen=True)
class Images:
    """Images in memory.

    Args:
        sizes: how many, and their channels, rows and columns.
        steps: the distance of neighbours along each of these, in numbers.
        inner: how many numbers follow each other in memory before the next channel.
    """

    sizes: tuple[int, int, int, int]
    steps: tuple[int, int, int, int]
    inner: int

    @property
    def count(self) -> int:
        """How many numbers."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Geometry:
    """A convolution of images x to images y.

    Args:
        taps: rows and columns of a filter.
        stride: pixels of x between neighbouring outputs, down and across.
        dilation: pixels of x between neighbouring taps.
        before: rows above and columns left of x that count as zeros.
        groups: channels and filters are split into this many independent groups.
    """

    x: Images
    y: Images
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    groups: int
    dtype: str

    @property
    def of_group(self) -> tuple[int, int]:
        """Channels and filters of a group."""
        return self.x.sizes[1] // self.groups, self.y.sizes[1] // self.groups

    @property
    def weights(self) -> int:
        """Numbers of all filters."""
        return self.y.sizes[1] * self.of_group[0] * self.taps[0] * self.taps[1]

    def arguments(self) -> list[Any]:
        """What kernels take, as tuples: sizes and steps of x and of y, taps, stride, dilation, padding, and
        channels and filters of a group."""
        given = (
            *(self.x.sizes, self.x.steps, self.y.sizes, self.y.steps),
            *(self.taps, self.stride, self.dilation, self.before, self.of_group),
        )
        return [tuple(np.int64(number) for number in numbers) for numbers in given]


def geometry_of(op: Any, x: Spec, y: Spec, taps: Sequence[int]) -> Geometry:
    """The geometry of the convolution of x to y that an op means."""
    down, across = taps
    filters = op.stride, op.dilation, op.border[:2]
    return Geometry(_images(op, x), _images(op, y), (down, across), *filters, op.groups, x.dtype)


def _images(op: Any, spec: Spec) -> Images:
    a, b, c, d = views.strides(spec.sizes)
    steps = (a, d, b, c) if op.layout == "NHWC" else (a, b, c, d)
    return Images(op.sizes(spec), steps, views.channels(op, spec)[2])


def number_at(element, sizes, inner):
    """Image, channel, row and column of a number of images, in the order of memory."""
    channel = element // inner % sizes[1]
    pixel = element // inner // sizes[1] * inner + element % inner
    return pixel // sizes[3] // sizes[2], channel, pixel // sizes[3] % sizes[2], pixel % sizes[3]
