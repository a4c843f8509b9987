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
    """Images or volumes in memory; an image has one slice.

    Args:
        sizes: how many, and their channels, slices, rows and columns.
        steps: the distance of neighbours along each of these, in numbers.
        inner: how many numbers follow each other in memory before the next channel.
    """

    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    inner: int

    @property
    def count(self) -> int:
        """How many numbers."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Geometry:
    """A convolution of images or volumes x to y. Along three axes each:

    Args:
        taps: the taps of a filter.
        stride: pixels of x between neighbouring outputs.
        dilation: pixels of x between neighbouring taps.
        before: what counts as zeros before x.
        groups: channels and filters are split into this many independent groups.
    """

    x: Images
    y: Images
    taps: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    before: tuple[int, int, int]
    groups: int
    dtype: str

    @property
    def of_group(self) -> tuple[int, int]:
        """Channels and filters of a group."""
        return self.x.sizes[1] // self.groups, self.y.sizes[1] // self.groups

    @property
    def weights(self) -> int:
        """Numbers of all filters."""
        return self.y.sizes[1] * self.of_group[0] * math.prod(self.taps)

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
    sizes = (taps, 1), (op.stride, 1), (op.dilation, 1), (op.border[: len(op.stride)], 0)
    filters, stride, dilation, before = (views.in_volumes(*each) for each in sizes)
    return Geometry(_images(op, x), _images(op, y), filters, stride, dilation, before, op.groups, x.dtype)


def _images(op: Any, spec: Spec) -> Images:
    n, *steps = views.strides(spec.sizes)
    channels = steps.pop(-1 if op.layout == "NHWC" else 0)
    of_pixels = (0, *steps)[-3:]
    size, of_channels, *sizes = op.sizes(spec)
    return Images(
        (size, of_channels, *(1, *sizes)[-3:]), (n, channels, *of_pixels), views.channels(op, spec)[2]
    )


def number_at(element, sizes, inner):
    """Image, channel, slice, row and column of a number of images, in the order of memory."""
    channel = element // inner % sizes[1]
    pixel = element // inner // sizes[1] * inner + element % inner
    row = pixel // sizes[4]
    of_slice = row // sizes[3]
    return of_slice // sizes[2], channel, of_slice % sizes[2], row % sizes[3], pixel % sizes[4]
