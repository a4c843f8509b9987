"""How numbers between those of an array are found along its spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import Dim, Shape, dim_add, dim_max, dim_multiply, dim_subtract, format_shape
from bigmodel_core.ops.comparison import cast
from bigmodel_core.ops.creation import counted
from bigmodel_core.ops.images import CHANNELS_FIRST
from bigmodel_core.ops.sizes import size_of_dimension

COORDINATES = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
"""What are the same places before and after: the outer edges of the outermost pixels, their centers, or their
first corners. ONNX's names; the last one is the first, but a single pixel comes from place 0."""


@dataclass(frozen=True)
class Interpolation(Op):
    """What resizing and its gradient have in common.

    Args:
        sizes: of the spatial axes, after resizing.
        scales: how many times larger each axis was asked to be, where that says more than its size; or None.
        method: "nearest", "nearest-exact", "bilinear" or "bicubic".
        coordinates: one of `COORDINATES`; the nearest pixels come from places of their own.
        cubic: the parameter of bicubic weights.
        layout: whether channels come first ("NCHW", of however many spatial axes) or last ("NHWC").
    """

    sizes: Shape
    scales: tuple[float | None, ...]
    method: str = "nearest"
    coordinates: str = "half_pixel"
    cubic: float = -0.75
    layout: str = CHANNELS_FIRST

    @property
    def first(self) -> int:
        """The first spatial axis."""
        return 2 if self.layout == CHANNELS_FIRST else 1

    def spatial(self, shape: Shape) -> Shape:
        """The sizes of the spatial axes.

        Raises:
            ShapeError: one is 0, or there are not as many.
        """
        found = shape[self.first : self.first + len(self.sizes)]
        if len(shape) != len(self.sizes) + 2 or 0 in found or 0 in self.sizes:
            raise ShapeError(
                f"resize cannot make {format_shape(self.sizes)} pixels of {format_shape(shape)}.",
                fix="pass sequences (N, C, T), images (N, C, H, W) or volumes (N, C, D, H, W) that are not"
                " empty, and sizes of 1 or more.",
            )
        return found

    def resized(self, shape: Shape, sizes: Shape) -> Shape:
        """A shape with other sizes of the spatial axes."""
        return (*shape[: self.first], *sizes, *shape[self.first + len(sizes) :])

    def places(self, axis: int, size: Dim) -> tuple[Dim, Dim, Dim]:
        """Where numbers come from along a spatial axis: j from the place (base + j * step) / apart."""
        count, scale = self.sizes[axis], self.scales[axis]
        if self.coordinates == "align_corners":
            return 0, dim_add(size, -1), dim_max(dim_add(count, -1), 1)
        if self.coordinates == "pytorch_half_pixel" and count == 1:
            return 0, 0, 1
        step, apart = size, count
        if scale is not None:
            ratio = Fraction(scale).limit_denominator(10**6)
            step, apart = ratio.denominator, ratio.numerator
        if self.coordinates == "asymmetric":
            return 0, step, apart
        return dim_subtract(step, apart), dim_multiply(2, step), dim_multiply(2, apart)

    def taps(self, x: Value, axis: int, size: Dim) -> list[tuple[Value, Value | None]]:
        """The places along a spatial axis that numbers come from, and their weights, as values."""
        graph, ops = x.node.graph, operations()

        def number(dim: Dim) -> Value:
            return size_of_dimension(dim, graph, "int64")

        count, scale = self.sizes[axis], self.scales[axis]
        order, last = counted(graph, count), number(dim_add(size, -1))
        if self.method.startswith("nearest"):
            rate = graph.constant(np.float32(1 / scale)) if scale else None
            if rate is None:
                rate = cast(number(size), "float32") / cast(number(count), "float32")
            shift = 0.5 if self.method == "nearest-exact" else 0.0
            place = ops.floor((cast(order, "float32") + shift) * rate)
            return [(ops.minimum(cast(place, "int64"), last), None)]
        base, step, apart = map(number, self.places(axis, size))
        place = order * step + base
        if self.method == "bilinear":
            place = ops.maximum(place, 0)
        first = ops.floor_divide(place, apart)
        part = cast(place - first * apart, x.dtype) / cast(apart, x.dtype)
        rest, a = 1.0 - part, self.cubic
        if self.method == "bilinear":
            weights = [(0, rest), (1, part)]
        else:
            weights = [
                (-1, part * rest * rest * a),
                (0, (part * (a + 2) - (a + 3)) * part * part + 1.0),
                (1, (rest * (a + 2) - (a + 3)) * rest * rest + 1.0),
                (2, rest * part * part * a),
            ]
        return [(ops.minimum(ops.maximum(first + tap, 0), last), weight) for tap, weight in weights]
