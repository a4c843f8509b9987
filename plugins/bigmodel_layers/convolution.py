"""Convolutions of images and of sequences, and their transposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


def check(layer: Any, axes: int, *from_0: str) -> None:
    """The limits that all convolutions share.

    Args:
        layer: the convolution.
        axes: along how many it goes.
        from_0: fields with a number for each axis that may be 0.

    Raises:
        ConfigError: a field is out of its limits.
    """
    bm.check_number(layer, "filters", whole=True, at_least=1)
    bm.check_number(layer, "groups", whole=True, at_least=1)
    for name in ("kernel_size", "stride", "dilation", *from_0):
        value = getattr(layer, name)
        if isinstance(value, list):
            object.__setattr__(layer, name, tuple(value))
        ops.images.per_axis(value, name, axes, 0 if name in from_0 else 1)
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


def check_output_padding(layer: Any, axes: int) -> None:
    """The limits of what a transposed convolution adds behind its output."""
    extra = ops.images.per_axis(layer.output_padding, "output_padding", axes, 0)
    steps = ops.images.per_axis(layer.stride, "stride", axes)
    if any(more >= step for more, step in zip(extra, steps, strict=True)):
        raise ConfigError(
            f"output_padding is {layer.output_padding!r}, expected less than the stride {layer.stride!r}.",
            where=type(layer).__name__,
            fix="it selects among the sizes that the stride allows.",
        )


WANTED = {3: "(N, C, T)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}
EXAMPLE = {3: "(1, 28)", 4: "(1, 28, 28)", 5: "(1, 16, 28, 28)"}


def _channels(x: Any, groups: int, rank: int) -> int:
    """The number of channels of an input (N, C, ...).

    Raises:
        ShapeError: the input has another rank, free channels, or channels that do not divide by the groups.
    """
    if x.ndim != rank:
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected {WANTED[rank]}.",
            fix=f"reshape it first, for instance with bm.layers.Reshape({EXAMPLE[rank]}).",
        )
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % groups:
        raise ShapeError(
            f"{channels} channels cannot be divided into {groups} groups.",
            fix="choose groups that divide the channels.",
        )
    return channels


def convolved(layer: Any, x: Any, axes: int) -> Any:
    """What a convolution over images or volumes makes of its input."""
    channels = _channels(x, layer.groups, axes + 2)
    taps = ops.images.per_axis(layer.kernel_size, "kernel_size", axes)
    weight = layer.parameter("weight", (layer.filters, channels // layer.groups, *taps), layer.initial)
    bias = layer.parameter("bias", (layer.filters,), 0.0) if layer.use_bias else None
    y = (ops.conv2d if axes == 2 else ops.conv3d)(
        x,
        weight,
        bias,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )
    return y if layer.activation is None else bm.registry.make("layer", layer.activation)(y)


def transposed(layer: Any, x: Any, axes: int) -> Any:
    """What a transposed convolution over images or volumes makes of its input."""
    channels = _channels(x, layer.groups, axes + 2)
    taps = ops.images.per_axis(layer.kernel_size, "kernel_size", axes)
    weight = layer.parameter("weight", (channels, layer.filters // layer.groups, *taps), layer.initial)
    bias = layer.parameter("bias", (layer.filters,), 0.0) if layer.use_bias else None
    return (ops.conv_transpose2d if axes == 2 else ops.conv_transpose3d)(
        x,
        weight,
        bias,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )


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
        check(self, 2, *(("padding",) if self.padding != "same" else ()))

    def __call__(self, x: Any) -> Any:
        return convolved(self, x, 2)


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
        check(self, 2, *(("padding",) if self.padding != "same" else ()))

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
        check(self, 2, "padding", "output_padding")
        check_output_padding(self, 2)

    def __call__(self, x: Any) -> Any:
        return transposed(self, x, 2)
