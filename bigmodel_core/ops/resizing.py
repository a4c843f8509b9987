"""Sequences, images and volumes in another size: the nearest pixel, or a mixture of those around a place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    canonical,
    dim_floor_divide,
    dim_multiply,
    dim_value,
    format_shape,
)
from bigmodel_core.kernels.cpu import resizing as cpu_kernels
from bigmodel_core.kernels.cuda import resizing as cuda_kernels
from bigmodel_core.kernels.interpolation import METHODS
from bigmodel_core.ops import resizing_onnx
from bigmodel_core.ops.axes import integer, several, with_axis
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.images import CHANNELS_FIRST, CHANNELS_LAST, to_last
from bigmodel_core.ops.interpolation import Interpolation
from bigmodel_core.ops.shape import broadcast_to, reshape


@dataclass(frozen=True)
class Resize(Interpolation):
    """An array with its spatial axes resized; see `Interpolation`."""

    cpu = cpu_kernels.resize
    cuda = cuda_kernels.resize

    def bind(self, sizes: Mapping[str, int]) -> Resize:
        """The same with named dimensions replaced by sizes."""
        return replace(self, sizes=tuple(dim_value(dim, sizes) for dim in self.sizes))

    def infer(self, x: Spec) -> Spec:
        self.spatial(x.shape)
        if not self.method.startswith("nearest"):
            check_floats(f"resize by {self.method}", x)
        return x.with_shape(self.resized(x.shape, self.sizes))

    def permuted(self, order: tuple[int, ...], x: Spec) -> Resize | None:
        return replace(self, layout=CHANNELS_LAST) if _moves_channels(self, order) else None

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        spatial = self.spatial(x.shape)
        op = _ResizeGrad(
            self.sizes, self.scales, self.method, self.coordinates, self.cubic, self.layout, before=spatial
        )
        return (op(dy),)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """Axis by axis: the numbers at the places, times their weights."""
        (found,) = inputs
        ops = operations()
        for axis, size in enumerate(self.spatial(found.shape)):
            if size == self.sizes[axis] and self.scales[axis] is None:
                continue
            place, parts = axis + self.first, []
            for places, weights in self.taps(found, axis, size):
                part = ops.gather(found, places, place)
                parts.append(part if weights is None else part * _along(weights, place, found.ndim))
            found = sum(parts[1:], parts[0])
        return (found,)

    def is_spelled_out(self, x: Spec) -> bool:
        return resizing_onnx.lacks(self, x)

    def onnx(self, emit: Any, x: Any) -> Any:
        return resizing_onnx.write(self, emit, x)


@dataclass(frozen=True)
class _ResizeGrad(Interpolation):
    before: Shape = ()
    cpu = cpu_kernels.resize_grad
    cuda = cuda_kernels.resize_grad

    def forward(self) -> Resize:
        return Resize(self.sizes, self.scales, self.method, self.coordinates, self.cubic, self.layout)

    def bind(self, sizes: Mapping[str, int]) -> _ResizeGrad:
        """The same with named dimensions replaced by sizes."""
        after, before = (tuple(dim_value(dim, sizes) for dim in dims) for dims in (self.sizes, self.before))
        return replace(self, sizes=after, before=before)

    def infer(self, dy: Spec) -> Spec:
        return dy.with_shape(self.resized(dy.shape, self.before))

    def permuted(self, order: tuple[int, ...], dy: Spec) -> _ResizeGrad | None:
        return replace(self, layout=CHANNELS_LAST) if _moves_channels(self, order) else None

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (self.forward()(dy),)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """Axis by axis: what comes from a number, times its weight, added where that was."""
        (found,) = inputs
        ops = operations()
        for axis, size in enumerate(self.before):
            if size == self.sizes[axis] and self.scales[axis] is None:
                continue
            place = axis + self.first
            total = broadcast_to(
                found.node.graph.constant(0, found.dtype), with_axis(found.shape, place, size)
            )
            for places, weights in self.taps(found, axis, size):
                part = found if weights is None else found * _along(weights, place, found.ndim)
                total = ops.scatter(total, _along(places, place, found.ndim), part, place, "add")
            found = total
        return (found,)


def _along(numbers: Value, axis: int, rank: int) -> Value:
    """A vector along an axis of an array."""
    return reshape(numbers, with_axis((1,) * rank, axis, numbers.shape[0]))


def _moves_channels(op: Interpolation, order: tuple[int, ...]) -> bool:
    return op.layout == CHANNELS_FIRST and order == to_last(len(order))


def resize(
    x: Value,
    size: Any = None,
    method: str = "nearest",
    align_corners: bool = False,
    scale: float | Sequence[float] | None = None,
) -> Value:
    """Sequences (N, C, T), images (N, C, H, W) or volumes (N, C, D, H, W) in another size.

    It is PyTorch's `interpolate`. The outer edges of the outermost pixels stay where they are, or, with
    `align_corners`, their centers. What becomes smaller is not smoothed before.

    Args:
        x: floats; of any type for the nearest pixels.
        size: of the spatial axes after resizing: one number for all, or one for each; they may be dimensions.
        method: "nearest" for the pixel at the place rounded down, as PyTorch, or "nearest-exact" for the one
            whose center is nearest; "bilinear" between two pixels along each axis, of sequences and volumes,
            too; "bicubic" between four (Keys, 1981, with -0.75), not of volumes.
        align_corners: for the methods that mix pixels.
        scale: how many times larger, in place of the size; sizes are rounded down.

    Raises:
        ShapeError: there are not as many sizes as axes, or one is 0.
        ConfigError: there is no such method; or both a size and a scale are given, or none.
        DtypeError: what is mixed is no float.

    >>> from bigmodel_core import ops, testing
    >>> x = np.array([[[0.0, 4.0]]])
    >>> testing.compute(lambda x: ops.resize(x, 4, "bilinear"), x)
    array([[[0., 1., 3., 4.]]])
    """
    if method not in METHODS:
        raise ConfigError(f"resize has no method {method!r}.", fix=f"use {', '.join(map(repr, METHODS))}.")
    if align_corners and method.startswith("nearest"):
        raise ConfigError(f"resize by {method!r} has no align_corners.", fix="use 'bilinear' or 'bicubic'.")
    axes = x.ndim - 2
    if axes not in (1, 2, 3) or (axes == 3 and method == "bicubic"):
        raise ShapeError(
            f"resize by {method!r} got {format_shape(x.shape)}.",
            fix="pass sequences (N, C, T), images (N, C, H, W) or, not for bicubic, volumes (N, C, D, H, W).",
        )
    if (size is None) == (scale is None):
        raise ConfigError("resize takes either a size or a scale.", fix="pass one: size=(64, 64) or scale=2.")
    spatial = x.shape[2:]
    unscaled: tuple[float | None, ...] = (None,) * axes
    if size is not None:
        sizes, scales = _sizes(size, axes), unscaled
    else:
        found = [_scaled(dim, number) for dim, number in zip(spatial, _scales(scale, axes), strict=True)]
        sizes, scales = tuple(dim for dim, _ in found), tuple(number for _, number in found)
    op = Resize(sizes, scales, method, "align_corners" if align_corners else "half_pixel")
    return x if sizes == spatial and scales == unscaled else op(x)


def _sizes(given: Any, axes: int) -> Shape:
    found = [canonical(item) if isinstance(item, str) else integer(item) for item in several(given)]
    found = found * axes if len(found) == 1 and not isinstance(given, (list, tuple)) else found
    if len(found) != axes or any(dim is None or (isinstance(dim, int) and dim < 1) for dim in found):
        raise ShapeError(
            f"resize got the size {given!r} for {axes} spatial axes.",
            fix="pass one integer of at least 1, or one for each.",
        )
    return tuple(found)  # type: ignore[arg-type]  # none is None


def _scales(given: Any, axes: int) -> list[float]:
    found = list(several(given))
    found = found * axes if len(found) == 1 and not isinstance(given, (list, tuple)) else found
    is_number = all(isinstance(item, (int, float, np.integer, np.floating)) for item in found)
    if len(found) != axes or not is_number or not all(0 < item < math.inf for item in found):
        raise ConfigError(
            f"resize got the scale {given!r} for {axes} spatial axes.",
            fix="pass one number above 0, or one for each.",
        )
    return [float(item) for item in found]


def _scaled(size: Dim, scale: float) -> tuple[Dim, float | None]:
    """The size that a scale leads to, and the scale itself where another one leads there, too."""
    if isinstance(size, int):
        most = math.floor(size * scale)
        return most, None if most == size * scale else scale
    ratio = Fraction(scale).limit_denominator(1000)
    if float(ratio) != scale:
        raise ConfigError(
            f"the size of {size} scaled by {scale} cannot be expressed.",
            fix="pass the size: x.shape[2] // 3.",
        )
    count = dim_floor_divide(dim_multiply(size, ratio.numerator), ratio.denominator)
    return count, None if ratio.denominator == 1 else scale


__all__ = ["resize"]
