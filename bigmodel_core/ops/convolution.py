"""Convolutions of images, their transposes, and the gradients that tie the two together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Spec, dim_add, dim_multiply, dim_value, format_shape
from bigmodel_core.kernels.cpu import convolution as cpu_kernels
from bigmodel_core.kernels.cuda import convolution as cuda_kernels
from bigmodel_core.ops.images import (
    CHANNELS_FIRST,
    ImageOp,
    Padding,
    Pair,
    bound_padding,
    onnx_pads,
    padding_of,
    pair,
    window_sizes,
)
from bigmodel_core.ops.shape import broadcast_to, reshape


@dataclass(frozen=True)
class _Convolution(ImageOp):
    """What the three ops share.

    Args:
        stride: pixels between neighbouring windows, down and across.
        border: the padding: rows above, columns left, rows below and columns right that count as zeros.
        dilation: pixels between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups.
    """

    stride: Pair = (1, 1)
    border: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def span(self, taps: Sequence[int]) -> Pair:
        """Rows and columns that a filter with this many taps covers."""
        down, across = ((t - 1) * gap + 1 for t, gap in zip(taps, self.dilation, strict=True))
        return down, across

    def checked_weight(self, weight: Spec, x: Spec, bias: Spec | None, filters: int) -> None:
        name = type(self).__name__
        kinds = {spec.dtype for spec in (x, weight, bias) if spec is not None}
        if len(kinds) > 1:
            raise DtypeError(f"{name} cannot mix {' and '.join(sorted(kinds))}.", fix="convert one side.")
        if bias is not None and bias.shape != (filters,):
            raise ShapeError(f"{name} needs a bias of ({filters},), got {format_shape(bias.shape)}.")

    def fields(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "border": self.border,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
        }

    def bind(self, sizes: Mapping[str, int]) -> Any:
        """The same with named dimensions replaced by sizes."""
        return replace(self, border=bound_padding(self.border, sizes))

    def onnx_fields(self, x: Spec, weight: Spec) -> dict[str, Any]:
        return {
            "kernel_shape": list(weight.shape[2:]),
            "strides": list(self.stride),
            **onnx_pads(self.border, x.shape[2:], self.span(weight.sizes[2:]), self.stride),
            "dilations": list(self.dilation),
            "group": self.groups,
        }


class Conv2d(_Convolution):
    """Images x (N, C, H, W) under filters (K, C / groups, R, S), plus a bias (K,) if one is given.

    As in PyTorch and ONNX, filters are not flipped.
    """

    cpu = cpu_kernels.conv2d
    cuda = cuda_kernels.conv2d

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> Spec:
        n, channels, height, width = self.sizes(x)
        if weight.ndim != 4:
            raise ShapeError(f"Conv2d needs filters (K, C, R, S), got {format_shape(weight.shape)}.")
        filters, of_group, *taps = weight.sizes
        self.checked_weight(weight, x, bias, filters)
        if channels != of_group * self.groups or filters % self.groups:
            raise ShapeError(
                f"Conv2d with {self.groups} group(s) and filters {format_shape(weight.shape)} needs"
                f" {of_group * self.groups} channels and filters that divide by the groups, got {channels}"
                f" channels.",
                fix="channels and filters must both be multiples of groups.",
            )
        down, across = window_sizes("Conv2d", height, width, self.span(taps), self.stride, self.border)
        return x.with_shape(self.arranged(n, filters, down, across))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(outputs[0].sizes) * math.prod(inputs[1].sizes[1:])

    def grad(self, dy: Value, y: Value, x: Value, weight: Value, *bias: Value) -> tuple[Value, ...]:
        _, _, height, width = self.sizes(x.spec)
        taps: Any = weight.shape[2:]
        dx = ConvTranspose2d(size=(height, width), **self.fields())(dy, weight)
        dw = Conv2dWeightGrad(taps=taps, **self.fields())(x, dy)
        return (dx, dw, *(ChannelSum(layout=self.layout)(dy) for _ in bias))

    def onnx(self, emit: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        return emit.Conv(x, weight, bias, **self.onnx_fields(*emit.inputs[:2]))


@dataclass(frozen=True)
class ConvTranspose2d(_Convolution):
    """The transpose of a `Conv2d`: x (N, K, H', W') and filters (K, C / groups, R, S) to (N, C, *size).

    It is the gradient of the convolution for its input, and a layer in its own right.

    Args:
        size: height and width of the output, since several sizes may lead to the same input under a stride.
    """

    size: tuple[Dim, Dim] = (1, 1)
    cpu = cpu_kernels.conv_transpose2d
    cuda = cuda_kernels.conv_transpose2d

    def bind(self, sizes: Mapping[str, int]) -> Any:
        """The same with named dimensions replaced by sizes."""
        size = (dim_value(self.size[0], sizes), dim_value(self.size[1], sizes))
        return replace(self, size=size, border=bound_padding(self.border, sizes))

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> Spec:
        n, channels, height, width = self.sizes(x)
        if weight.ndim != 4 or channels != weight.shape[0] or weight.sizes[0] % self.groups:
            raise ShapeError(
                f"ConvTranspose2d of {channels} channels in {self.groups} group(s) got filters"
                f" {format_shape(weight.shape)}.",
                fix="filters are (channels of the input, channels of the output / groups, rows, columns).",
            )
        _, of_group, *taps = weight.sizes
        self.checked_weight(weight, x, bias, of_group * self.groups)
        expected = window_sizes("ConvTranspose2d", *self.size, self.span(taps), self.stride, self.border)
        if expected != (height, width):
            raise ShapeError(
                f"ConvTranspose2d to {self.size[0]} x {self.size[1]} needs an input of {expected[0]} x"
                f" {expected[1]}, got {height} x {width}."
            )
        return x.with_shape(self.arranged(n, of_group * self.groups, *self.size))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(inputs[0].sizes) * math.prod(inputs[1].sizes[1:])

    def grad(self, dy: Value, y: Value, x: Value, weight: Value, *bias: Value) -> tuple[Value, ...]:
        taps: Any = weight.shape[2:]
        dx = Conv2d(**self.fields())(dy, weight)
        dw = Conv2dWeightGrad(taps=taps, **self.fields())(dy, x)
        return (dx, dw, *(ChannelSum(layout=self.layout)(dy) for _ in bias))

    def onnx(self, emit: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        taps = emit.inputs[1].shape[2:]
        sizes = emit.inputs[0].shape[2:]
        spare = [
            dim_add(dim_add(dim_add(size, step - span), dim_add(before, after)), dim_multiply(n, -step))
            for size, before, after, n, step, span in zip(
                self.size, self.border[:2], self.border[2:], sizes, self.stride, self.span(taps), strict=True
            )
        ]
        return emit.ConvTranspose(x, weight, bias, output_padding=spare, **self.onnx_fields(*emit.inputs[:2]))


@dataclass(frozen=True)
class Conv2dWeightGrad(_Convolution):
    """The gradient of a `Conv2d` for its filters, from its input x and the gradient of its output.

    Args:
        taps: rows and columns of a filter.
    """

    taps: Pair = (1, 1)
    image_inputs: ClassVar[tuple[int, ...]] = (0, 1)
    image_outputs: ClassVar[tuple[int, ...]] = ()
    cpu = cpu_kernels.conv2d_weight_gradient
    cuda = cuda_kernels.conv2d_weight_gradient
    exported: ClassVar[bool] = False

    def infer(self, x: Spec, dy: Spec) -> Spec:
        _, channels, _, _ = self.sizes(x)
        _, filters, _, _ = self.sizes(dy)
        assert isinstance(channels, int)
        return x.with_shape((filters, channels // self.groups, *self.taps))

    def grad(self, dy: Value, y: Value, x: Value, upstream: Value) -> tuple[Value, Value]:
        """It is linear in both: the gradient of its output takes the place of the filters."""
        _, _, height, width = self.sizes(x.spec)
        dx = ConvTranspose2d(size=(height, width), **self.fields())(upstream, dy)
        return dx, Conv2d(**self.fields())(x, dy)

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(inputs[1].sizes) * math.prod(outputs[0].sizes[1:])


class ChannelSum(ImageOp):
    """The sum over images and pixels: the gradient of a bias for each channel."""

    image_outputs: ClassVar[tuple[int, ...]] = ()
    axes: ClassVar[tuple[int, ...]] = (0, 1, 2)  # of images with channels last
    cpu = cpu_kernels.channel_sum
    cuda = cuda_kernels.channel_sum
    exported: ClassVar[bool] = False

    def infer(self, x: Spec) -> Spec:
        return x.with_shape((self.sizes(x)[1],))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        channels = reshape(dy, (-1, 1, 1)) if self.layout == CHANNELS_FIRST else dy
        return (broadcast_to(channels, x.shape),)


def conv2d(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | str | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Value:
    """Convolution of images x (N, C, H, W) with filters (K, C / groups, R, S), plus a bias (K,).

    Args:
        stride: pixels between neighbouring windows.
        padding: zeros around the image: a number, one for (height, width), or "same" for outputs of
            ceil(size / stride).
        dilation: pixels between neighbouring taps.
        groups: channels and filters are split into this many independent groups.
    """
    steps, gaps = pair(stride, "stride"), pair(dilation, "dilation")
    _, _, height, width = ImageOp().sizes(x.spec)
    sides = padding_of(padding, height, width, weight.spec.sizes[2:], steps, gaps)  # type: ignore[arg-type]  # ImageOp.sizes checks height and width
    op = Conv2d(stride=steps, border=sides, dilation=gaps, groups=groups)
    return op(x, weight) if bias is None else op(x, weight, bias)


def conv_transpose2d(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Value:
    """Transposed convolution of x (N, K, H, W) with filters (K, C / groups, R, S).

    Height and width become (size - 1) * stride - 2 * padding + dilation * (taps - 1) + output_padding + 1.
    """
    steps, gaps = pair(stride, "stride"), pair(dilation, "dilation")
    more = pair(output_padding, "output_padding", 0)
    sides = padding_of(padding, 1, 1, (1, 1), steps)
    op = ConvTranspose2d(stride=steps, border=sides, dilation=gaps, groups=groups)
    _, _, *sizes = op.sizes(x.spec)
    down, across = (
        dim_add(dim_multiply(size, step), span + extra - step - int(before) - int(after))
        for size, step, before, after, span, extra in zip(
            sizes, steps, sides[:2], sides[2:], op.span(weight.spec.sizes[2:]), more, strict=True
        )
    )
    if any(isinstance(size, int) and size < 1 for size in (down, across)):
        raise ShapeError(f"the output would be {down} x {across}.", fix="use less padding.")
    op = replace(op, size=(down, across))
    return op(x, weight) if bias is None else op(x, weight, bias)


__all__ = ["conv2d", "conv_transpose2d"]
