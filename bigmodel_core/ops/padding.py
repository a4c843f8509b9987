"""Borders around arrays, and nearest-neighbour upsampling of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.operands import constant_array
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    canonical,
    dim_add,
    dim_multiply,
    dim_subtract,
    dim_value,
    format_shape,
)
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.kernels.cpu import padding as cpu_kernels
from bigmodel_core.kernels.cuda import padding as cuda_kernels
from bigmodel_core.ops.axes import integer, normal_axis, several, with_axis
from bigmodel_core.ops.creation import counted
from bigmodel_core.ops.images import ImageOp, Padding, Pair, pair
from bigmodel_core.ops.shape import broadcast_to, reshape
from bigmodel_core.ops.sizes import size_of_dimension
from bigmodel_core.ops.slicing import Slice

Widths = tuple[tuple[Dim, Dim], ...]
"""For each axis, how many numbers come before and after."""


@dataclass(frozen=True)
class Pad(Op):
    """An array with borders along its axes.

    Args:
        widths: of the borders; in the mode "constant", those below 0 take numbers away.
        mode: one of `MODES`.
        value: the number that borders have in the mode "constant".
    """

    widths: Widths
    mode: str = "constant"
    value: float | int | bool = 0
    cpu = cpu_kernels.pad
    cuda = cuda_kernels.pad

    def fill(self, dtype: str) -> float | int | bool:
        """The value as one of a number type."""
        found: float | int | bool = constant_array(self.value, dtype).item()
        return found

    def bind(self, sizes: Mapping[str, int]) -> Pad:
        """The same with named dimensions replaced by sizes."""
        found = []
        for both in self.widths:
            before, after = (dim_value(width, sizes) for width in both)
            for width, size in zip(both, (before, after), strict=True):
                if isinstance(width, str) and size < 0:
                    raise ShapeError(f"the padding {width} would be {size}.", fix="pad by 0 or more.")
            found.append((before, after))
        return replace(self, widths=tuple(found))

    def infer(self, x: Spec) -> Spec:
        if len(self.widths) != x.ndim:
            raise ShapeError(f"Pad has widths for {len(self.widths)} axes of {format_shape(x.shape)}.")
        self.fill(x.dtype)
        for axis, (size, both) in enumerate(zip(x.shape, self.widths, strict=True)):
            known = [width for width in both if isinstance(width, int)]
            if self.mode == "constant":
                gone = -sum(min(width, 0) for width in known)
                if isinstance(size, int) and gone > size:
                    raise ShapeError(
                        f"Pad takes {gone} of {size} numbers away along axis {axis} of"
                        f" {format_shape(x.shape)}.",
                        fix="take fewer away.",
                    )
                continue
            if min(known, default=0) < 0:
                raise ShapeError(
                    f"Pad by {format_shape(both)} in the mode {self.mode} would take numbers away.",
                    fix='slice the array first, or use the mode "constant".',
                )
            needed = max(known, default=0) + 1 if self.mode == "reflect" else 1
            if isinstance(size, int) and any(known) and size < needed:
                raise ShapeError(
                    f"Pad by {format_shape(both)} in the mode {self.mode} needs {needed} numbers along axis"
                    f" {axis} of {format_shape(x.shape)}.",
                    fix="pad by less than the size." if self.mode == "reflect" else "pad what is not empty.",
                )
        return x.with_shape(
            dim_add(size, dim_add(before, after))
            for size, (before, after) in zip(x.shape, self.widths, strict=True)
        )

    def permuted(self, order: tuple[int, ...], x: Spec) -> Pad:
        return replace(self, widths=tuple(self.widths[axis] for axis in order))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (_PadGrad(self.widths, self.mode, shape=x.shape)(dy),)

    def onnx(self, emit: Any, x: Any) -> Any:
        pads = emit.shape(tuple(both[side] for side in (0, 1) for both in self.widths))
        if self.mode != "constant":
            return emit.Pad(x, pads, mode=self.mode)
        dtype = emit.inputs[0].dtype
        return emit.Pad(x, pads, emit.const(self.fill(dtype), dtype))


@dataclass(frozen=True)
class _PadGrad(Op):
    widths: Widths
    mode: str
    shape: Shape
    cpu = cpu_kernels.pad_grad
    cuda = cuda_kernels.pad_grad

    def forward(self) -> Pad:
        return Pad(self.widths, self.mode)

    def fill(self, dtype: str) -> float | int | bool:
        """Zero, where the forward op took numbers away."""
        return self.forward().fill(dtype)

    def bind(self, sizes: Mapping[str, int]) -> _PadGrad:
        """The same with named dimensions replaced by sizes."""
        shape = tuple(dim_value(dim, sizes) for dim in self.shape)
        return replace(self, widths=self.forward().bind(sizes).widths, shape=shape)

    def infer(self, dy: Spec) -> Spec:
        return dy.with_shape(self.shape)

    def permuted(self, order: tuple[int, ...], dy: Spec) -> _PadGrad:
        widths = tuple(self.widths[axis] for axis in order)
        return replace(self, widths=widths, shape=tuple(self.shape[axis] for axis in order))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (self.forward()(dy),)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """As files have it: one axis after the other, what comes from borders added where it was taken."""
        (found,) = inputs
        for axis, (size, (before, after)) in enumerate(zip(self.shape, self.widths, strict=True)):
            if (before, after) == (0, 0):
                continue
            if self.mode != "constant":
                found = self._folded(found, axis, size, before)
                continue
            gone = [-width if isinstance(width, int) and width < 0 else 0 for width in (before, after)]
            kept = dim_subtract(size, gone[0] + gone[1])
            first = before if gone[0] == 0 else 0
            if (first, kept) != (0, found.shape[axis]):
                found = Slice(axis, first, kept)(found)
            if any(gone):
                found = pad(found, {axis: (gone[0], gone[1])})
        return (found,)

    def _folded(self, dy: Value, axis: int, size: Dim, before: Dim) -> Value:
        graph, ops, total = dy.node.graph, operations(), dy.shape[axis]
        last = size_of_dimension(dim_add(size, -1), graph, "int64")
        places = counted(graph, total) - size_of_dimension(before, graph, "int64")
        if self.mode == "edge":
            places = ops.maximum(ops.minimum(places, last), 0)
        else:
            places = last - ops.absolute(last - ops.absolute(places))
        nothing = broadcast_to(graph.constant(0, dy.dtype), with_axis(dy.shape, axis, size))
        along = reshape(places, with_axis((1,) * dy.ndim, axis, total))
        found: Value = ops.scatter(nothing, along, dy, axis, "add")
        return found


def pad(x: Value, widths: Any, mode: str = "constant", value: float | int | bool = 0) -> Value:
    """An array with borders, as NumPy's `pad` makes them.

    Args:
        x: any array.
        widths: how many numbers come before and after those along each axis: one for all axes and sides; a
            pair (before, after) for all axes; a sequence of pairs, one for each axis; or a dictionary of
            them by axis, as in `{-1: (0, 3)}`. They may be dimensions. In the mode "constant", numbers
            below 0 take so many away.
        mode: "constant" for borders of one number; "reflect" for what is inside, mirrored at the outermost
            number; "edge" for that number repeated.
        value: the number that borders have in the mode "constant".

    Raises:
        ShapeError: the widths are not as above; or an axis has too few numbers to mirror, or to take away.
        ConfigError: there is no such mode, or the value is no number.
        DtypeError: the array's type cannot hold the value.

    >>> from bigmodel_core import ops, testing
    >>> testing.compute(lambda x: ops.pad(x, (2, 1), "reflect"), np.arange(3))
    array([2, 1, 0, 1, 2, 1])
    """
    if mode not in MODES:
        raise ConfigError(f"pad has no mode {mode!r}.", fix=f"use {', '.join(map(repr, MODES))}.")
    if not isinstance(value, (bool, int, float, np.generic)):
        raise ConfigError(f"pad takes a number as the value of borders, got {value!r}.")
    found = widths_of(widths, x.shape)
    number = value.item() if isinstance(value, np.generic) else value
    op = Pad(found, mode, number if mode == "constant" else 0)
    return x if all(both == (0, 0) for both in found) else op(x)


def widths_of(given: Any, shape: Shape) -> Widths:
    """Widths as `pad` takes them, as a pair for each axis.

    Raises:
        ShapeError: they are something else.
    """
    rank = len(shape)
    if isinstance(given, Mapping):
        named = {normal_axis(axis, rank): _pair(both) for axis, both in given.items()}
        if len(named) == len(given) and None not in named.values():
            return tuple(named.get(axis) or (0, 0) for axis in range(rank))
    else:
        alike = _pair(given)
        if alike is not None:
            return (alike,) * rank
        pairs = [_pair(both) for both in several(given)]
        if len(pairs) in (1, rank) and None not in pairs:
            return tuple(both for both in pairs if both) * (1 if len(pairs) == rank else rank)
    raise ShapeError(
        f"pad got the widths {given!r} for {format_shape(shape)}.",
        fix="pass a number, a pair (before, after), or a pair for each axis.",
    )


def _pair(given: Any) -> tuple[Dim, Dim] | None:
    """A number, or one or two of them, as (before, after)."""
    found = [canonical(item) if isinstance(item, str) else integer(item) for item in several(given)]
    if len(found) not in (1, 2) or None in found:
        return None
    return found[0], found[-1]  # type: ignore[return-value]  # none is None


def zero_pad(x: Value, border: Padding) -> Value:
    """Images (N, C, H, W) padded with rows and columns of zeros; how many may depend on free sizes.

    Args:
        x: images.
        border: rows above, columns left, rows below, columns right.
    """
    ImageOp().sizes(x.spec)
    top, left, below, right = border
    if any(isinstance(side, int) and side < 0 for side in border):
        raise ShapeError(f"the padding is {format_shape(border)}.", fix="pad by 0 or more.")
    return pad(x, ((0, 0), (0, 0), (top, below), (left, right)))


def upsample_nearest(x: Value, factor: int | Pair) -> Value:
    """Each pixel of images (N, C, H, W) repeated `factor` times down and across."""
    down, across = pair(factor, "factor")
    n, channels, height, width = ImageOp().sizes(x.spec)
    apart = reshape(x, (n, channels, height, 1, width, 1))
    repeated = broadcast_to(apart, (n, channels, height, down, width, across))
    return reshape(repeated, (n, channels, dim_multiply(height, down), dim_multiply(width, across)))


__all__ = ["pad", "upsample_nearest", "zero_pad"]
