"""Convolutions of images and volumes, their transposes, and the gradients that tie the two together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import dim_add, dim_multiply
from bigmodel_core.kernels.cpu import convolution as cpu_kernels
from bigmodel_core.kernels.cuda import convolution as cuda_kernels
from bigmodel_core.ops.axes import integer
from bigmodel_core.ops.filters import (
    Convolution,
    ConvolutionForward,
    ConvolutionTranspose,
    ConvolutionWeightGrad,
)
from bigmodel_core.ops.images import Numbers, Padding, by_times, padding_of, per_axis


class _OfImages(Convolution):
    @property
    def kinds(self) -> tuple[type[Any], type[Any], type[Any]]:
        return Conv2d, ConvTranspose2d, Conv2dWeightGrad


class Conv2d(_OfImages, ConvolutionForward):
    """Images x (N, C, H, W) under filters (K, C / groups, R, S), plus a bias (K,) if one is given.

    As in PyTorch and ONNX, filters are not flipped.
    """

    cpu = cpu_kernels.conv2d
    cuda = cuda_kernels.conv2d


@dataclass(frozen=True)
class ConvTranspose2d(_OfImages, ConvolutionTranspose):
    """The transpose of a `Conv2d`: x (N, K, H', W') and filters (K, C / groups, R, S) to (N, C, *size).

    It is the gradient of the convolution for its input, and a layer in its own right.
    """

    cpu = cpu_kernels.conv_transpose2d
    cuda = cuda_kernels.conv_transpose2d


@dataclass(frozen=True)
class Conv2dWeightGrad(_OfImages, ConvolutionWeightGrad):
    """The gradient of a `Conv2d` for its filters, from its input x and the gradient of its output."""

    cpu = cpu_kernels.conv2d_weight_gradient
    cuda = cuda_kernels.conv2d_weight_gradient


@dataclass(frozen=True)
class _OfVolumes(Convolution):
    stride: Numbers = (1, 1, 1)
    border: Padding = (0, 0, 0, 0, 0, 0)
    dilation: Numbers = (1, 1, 1)

    @property
    def kinds(self) -> tuple[type[Any], type[Any], type[Any]]:
        return Conv3d, ConvTranspose3d, Conv3dWeightGrad

    def of_images(self) -> Any:
        """What it does to rows and columns, as the op on images."""
        _, top, left, _, below, right = self.border
        images = Conv2d().kinds[self.kinds.index(type(self))]
        sizes = {name: getattr(self, name)[1:] for name in ("size", "taps") if hasattr(self, name)}
        given = {"stride": self.stride[1:], "dilation": self.dilation[1:]}
        return images(**self.fields() | given | sizes | {"border": (top, left, below, right)})


class Conv3d(_OfVolumes, ConvolutionForward):
    """Volumes x (N, C, D, H, W) under filters (K, C / groups, Q, R, S), plus a bias (K,) if one is given."""

    cpu = cpu_kernels.conv3d
    cuda = cuda_kernels.conv3d


@dataclass(frozen=True)
class ConvTranspose3d(_OfVolumes, ConvolutionTranspose):
    """The transpose of a `Conv3d`: x (N, K, D', H', W') and filters to (N, C, *size)."""

    cpu = cpu_kernels.conv_transpose3d
    cuda = cuda_kernels.conv_transpose3d


@dataclass(frozen=True)
class Conv3dWeightGrad(_OfVolumes, ConvolutionWeightGrad):
    """The gradient of a `Conv3d` for its filters, from its input x and the gradient of its output."""

    cpu = cpu_kernels.conv3d_weight_gradient
    cuda = cuda_kernels.conv3d_weight_gradient


def conv2d(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: int | Numbers = 1,
    padding: int | str | Numbers = 0,
    dilation: int | Numbers = 1,
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
    return _convolved(Conv2d(), x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: int | Numbers = 1,
    padding: int | str | Numbers = 0,
    dilation: int | Numbers = 1,
    groups: int = 1,
) -> Value:
    """Convolution of volumes x (N, C, D, H, W) with filters (K, C / groups, Q, R, S), plus a bias (K,).

    Arguments are those of `conv2d`: numbers for one axis each are given as (depth, height, width).
    """
    return _convolved(Conv3d(), x, weight, bias, stride, padding, dilation, groups)


def _convolved(
    op: Any,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Value:
    _check_groups(groups)
    steps, gaps = per_axis(stride, "stride", op.spatial), per_axis(dilation, "dilation", op.spatial)
    sides = padding_of(padding, op.sizes(x.spec)[2:], op.taps_of(weight.spec), steps, gaps)
    op = replace(op, stride=steps, border=sides, dilation=gaps, groups=groups)
    found: Value = op(x, weight) if bias is None else op(x, weight, bias)
    return found


def conv_transpose2d(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: int | Numbers = 1,
    padding: int | Numbers = 0,
    output_padding: int | Numbers = 0,
    dilation: int | Numbers = 1,
    groups: int = 1,
) -> Value:
    """Transposed convolution of x (N, K, H, W) with filters (K, C / groups, R, S).

    Height and width become (size - 1) * stride - 2 * padding + dilation * (taps - 1) + output_padding + 1.
    """
    given = stride, padding, output_padding, dilation
    return _transposed(ConvTranspose2d(), x, weight, bias, *given, groups)


def conv_transpose3d(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: int | Numbers = 1,
    padding: int | Numbers = 0,
    output_padding: int | Numbers = 0,
    dilation: int | Numbers = 1,
    groups: int = 1,
) -> Value:
    """Transposed convolution of x (N, K, D, H, W) with filters (K, C / groups, Q, R, S).

    The size of each axis becomes what `conv_transpose2d` says.
    """
    given = stride, padding, output_padding, dilation
    return _transposed(ConvTranspose3d(), x, weight, bias, *given, groups)


def _transposed(
    op: Any,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Value:
    _check_groups(groups)
    axes, sizes = op.spatial, op.sizes(x.spec)[2:]
    steps, gaps = per_axis(stride, "stride", axes), per_axis(dilation, "dilation", axes)
    more, sides = per_axis(output_padding, "output_padding", axes, 0), per_axis(padding, "padding", axes, 0)
    op = replace(op, stride=steps, border=sides * 2, dilation=gaps, groups=groups)
    spans = op.span(op.taps_of(weight.spec))
    size = tuple(
        dim_add(dim_multiply(size, step), span + extra - step - 2 * side)
        for size, step, side, span, extra in zip(sizes, steps, sides, spans, more, strict=True)
    )
    if any(isinstance(dim, int) and dim < 1 for dim in size):
        raise ShapeError(f"the output would be {by_times(size)}.", fix="use less padding.")
    op = replace(op, size=size)
    found: Value = op(x, weight) if bias is None else op(x, weight, bias)
    return found


def _check_groups(groups: Any) -> None:
    number = integer(groups)
    if number is None or number < 1:
        raise ConfigError(f"a convolution has {groups!r} groups.", fix="use an integer of at least 1.")


__all__ = ["conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"]
