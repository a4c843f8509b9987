"""Convolutions of images and of sequences, and their transposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


def _check(layer: Any, *pairs: str) -> None:
    """The limits that all convolutions share."""
    bm.check_number(layer, "filters", whole=True, at_least=1)
    bm.check_number(layer, "groups", whole=True, at_least=1)
    for name in ("kernel_size", "stride", "dilation", *pairs):
        value = getattr(layer, name)
        if isinstance(value, list):
            object.__setattr__(layer, name, tuple(value))
        bm.ops.images.pair(value, name, 0 if name in pairs else 1)
    if layer.filters % layer.groups:
        raise ConfigError(
            f"{layer.filters} filters cannot be divided into {layer.groups} groups.",
            where=type(layer).__name__,
            fix="choose a number of filters that is a multiple of groups.",
        )
    if isinstance(layer.initial, str) and layer.initial not in bm.initializers.NAMED:
        raise ConfigError(
            f"initial is {layer.initial!r}, which is not an initializer.",
            where=type(layer).__name__,
            fix=f"use one of {', '.join(bm.initializers.NAMED)}.",
        )


def _channels(x: Any, groups: int, rank: int) -> int:
    """The number of channels of an input (N, C, ...).

    Raises:
        ShapeError: the input has another rank, free channels, or channels that do not divide by the groups.
    """
    if x.ndim != rank:
        wanted = "(N, C, H, W)" if rank == 4 else "(N, C, T)"
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected {wanted}.",
            fix="reshape it first, for instance with bm.layers.Reshape((1, 28, 28)).",
        )
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % groups:
        raise ShapeError(
            f"{channels} channels cannot be divided into {groups} groups.",
            fix="choose groups that divide the channels.",
        )
    return channels


@dataclass(frozen=True)
class Conv2d(bm.Layer):
    """Convolution of images (N, C, H, W) with learned filters: (N, filters, H', W'); C is inferred.

    Filters are not flipped, as in PyTorch and ONNX. Parameters: `weight` (filters, C / groups, rows,
    columns) and `bias` (filters,), which starts at zero.

    Args:
        filters: how many channels the output has.
        kernel_size: rows and columns of a filter; one number for both.
        stride: pixels between neighbouring windows.
        padding: zeros around the image: a number, one for (height, width), or "same" for an output of
            ceil(size / stride).
        dilation: pixels between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups; as many as there
            are channels for a depthwise convolution.
        use_bias: whether a bias is added.
        activation: a layer, or a layer's name, applied to the result.
        initial: how the weight's first values are drawn, a name of `bigmodel_core.nn.initializers`.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of images, or smaller than a filter.

    >>> import bigmodel_core as bm
    >>> Conv2d(6, 5)(bm.Spec(("N", 1, 28, 28)))
    Spec((N, 6, 24, 24), float32)
    """

    filters: int
    kernel_size: int | tuple[int, int] = 3
    stride: int | tuple[int, int] = 1
    padding: int | str | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    use_bias: bool = True
    activation: str | bm.Layer | None = None
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        _check(self, *(("padding",) if self.padding != "same" else ()))

    def __call__(self, x: Any) -> Any:
        channels = _channels(x, self.groups, 4)
        shape = (self.filters, channels // self.groups, *bm.ops.images.pair(self.kernel_size, "kernel_size"))
        weight = self.parameter("weight", shape, self.initial)
        bias = self.parameter("bias", (self.filters,), 0.0) if self.use_bias else None
        y = ops.conv2d(
            x,
            weight,
            bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.activation is None else bm.registry.make("layer", self.activation)(y)


@dataclass(frozen=True)
class Conv1d(bm.Layer):
    """Convolution of sequences (N, C, T) with learned filters: (N, filters, T').

    Parameters: `weight` (filters, C / groups, kernel_size) and `bias` (filters,), which starts at zero.

    Args:
        filters: how many channels the output has.
        kernel_size: steps that a filter covers.
        stride: steps between neighbouring windows.
        padding: zeros on both sides: a number, or "same" for an output of ceil(T / stride).
        dilation: steps between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups.
        use_bias: whether a bias is added.
        initial: how the weight's first values are drawn.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of sequences, is shorter than a filter, or has a free length that a
            stride would divide.

    >>> import bigmodel_core as bm
    >>> Conv1d(4, 3, padding="same")(bm.Spec(("N", 2, 10)))
    Spec((N, 4, 10), float32)
    """

    filters: int
    kernel_size: int = 3
    stride: int = 1
    padding: int | str = 0
    dilation: int = 1
    groups: int = 1
    use_bias: bool = True
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        _check(self, *(("padding",) if self.padding != "same" else ()))

    def __call__(self, x: Any) -> Any:
        channels = _channels(x, self.groups, 3)
        shape = (self.filters, channels // self.groups, self.kernel_size)
        weight = self.parameter("weight", shape, self.initial)
        bias = self.parameter("bias", (self.filters,), 0.0) if self.use_bias else None
        y = ops.conv2d(
            ops.reshape(x, (x.shape[0], channels, 1, x.shape[2])),
            ops.reshape(weight, (*shape[:2], 1, shape[2])),
            bias,
            stride=(1, self.stride),
            padding="same" if isinstance(self.padding, str) else (0, self.padding),
            dilation=(1, self.dilation),
            groups=self.groups,
        )
        return ops.reshape(y, (x.shape[0], self.filters, y.shape[3]))


@dataclass(frozen=True)
class ConvTranspose2d(bm.Layer):
    """Transposed convolution: images (N, C, H, W) to larger ones (N, filters, H', W').

    H' is (H - 1) * stride - 2 * padding + dilation * (rows - 1) + output_padding + 1, and W' likewise.
    Parameters: `weight` (C, filters / groups, rows, columns) and `bias` (filters,), which starts at zero.

    Args:
        filters: how many channels the output has.
        kernel_size: rows and columns of a filter; one number for both.
        stride: pixels of the output between those of the input.
        padding: rows and columns that are left out at each side of the output.
        output_padding: rows and columns that are added below and right.
        dilation: pixels between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups.
        use_bias: whether a bias is added.
        initial: how the weight's first values are drawn.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of images.

    >>> import bigmodel_core as bm
    >>> ConvTranspose2d(3, 2, stride=2)(bm.Spec(("N", 8, 7, 7)))
    Spec((N, 3, 14, 14), float32)
    """

    filters: int
    kernel_size: int | tuple[int, int] = 3
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    output_padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    use_bias: bool = True
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        _check(self, "padding", "output_padding")
        extra, steps = (
            bm.ops.images.pair(self.output_padding, "output_padding", 0),
            bm.ops.images.pair(self.stride, "stride"),
        )
        if any(more >= step for more, step in zip(extra, steps, strict=True)):
            raise ConfigError(
                f"output_padding is {self.output_padding!r}, expected less than the stride {self.stride!r}.",
                where="ConvTranspose2d",
                fix="it selects among the sizes that the stride allows.",
            )

    def __call__(self, x: Any) -> Any:
        channels = _channels(x, self.groups, 4)
        shape = (channels, self.filters // self.groups, *bm.ops.images.pair(self.kernel_size, "kernel_size"))
        weight = self.parameter("weight", shape, self.initial)
        bias = self.parameter("bias", (self.filters,), 0.0) if self.use_bias else None
        return ops.conv_transpose2d(
            x,
            weight,
            bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )
