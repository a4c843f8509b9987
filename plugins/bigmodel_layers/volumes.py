"""Convolutions of volumes, their transposes, and pools over their windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_layers import convolution, pooling


@dataclass(frozen=True)
class Conv3d(bm.Layer):
    """Convolution of volumes (N, C, D, H, W) with learned filters: (N, filters, D', H', W'); C is inferred.

    Filters are not flipped, as in PyTorch and ONNX. Parameters: `weight` (filters, C / groups, slices, rows,
    columns) and `bias` (filters,), which starts at zero.

    Args:
        filters: how many channels the output has.
        kernel_size: slices, rows and columns of a filter; one number for all.
        stride: voxels between neighbouring windows.
        padding: zeros around the volume: a number, one for (depth, height, width), or "same" for an output
            of ceil(size / stride).
        dilation: voxels between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups; as many as there
            are channels for a depthwise convolution.
        use_bias: whether a bias is added.
        activation: a layer, or a layer's name, applied to the result.
        initial: how the weight's first values are drawn, a name of `bigmodel_core.nn.initializers`.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of volumes, or smaller than a filter.

    >>> import bigmodel_core as bm
    >>> Conv3d(6, 3, padding="same")(bm.Spec(("N", 1, 16, 28, 28)))
    Spec((N, 6, 16, 28, 28), float32)
    """

    filters: int
    kernel_size: int | tuple[int, int, int] = 3
    stride: int | tuple[int, int, int] = 1
    padding: int | str | tuple[int, int, int] = 0
    dilation: int | tuple[int, int, int] = 1
    groups: int = 1
    use_bias: bool = True
    activation: str | bm.Layer | None = None
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        convolution.check(self, 3, *(("padding",) if self.padding != "same" else ()))

    def __call__(self, x: Any) -> Any:
        return convolution.convolved(self, x, 3)


@dataclass(frozen=True)
class ConvTranspose3d(bm.Layer):
    """Transposed convolution: volumes (N, C, D, H, W) to larger ones (N, filters, D', H', W').

    D' is (D - 1) * stride - 2 * padding + dilation * (slices - 1) + output_padding + 1; H' and W' likewise.
    Parameters: `weight` (C, filters / groups, slices, rows, columns) and `bias` (filters,), which starts at
    zero.

    Args:
        filters: how many channels the output has.
        kernel_size: slices, rows and columns of a filter; one number for all.
        stride: voxels of the output between those of the input.
        padding: slices, rows and columns that are left out at each side of the output.
        output_padding: slices, rows and columns that are added behind, below and right.
        dilation: voxels between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups.
        use_bias: whether a bias is added.
        initial: how the weight's first values are drawn.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of volumes.

    >>> import bigmodel_core as bm
    >>> ConvTranspose3d(3, 2, stride=2)(bm.Spec(("N", 8, 4, 7, 7)))
    Spec((N, 3, 8, 14, 14), float32)
    """

    filters: int
    kernel_size: int | tuple[int, int, int] = 3
    stride: int | tuple[int, int, int] = 1
    padding: int | tuple[int, int, int] = 0
    output_padding: int | tuple[int, int, int] = 0
    dilation: int | tuple[int, int, int] = 1
    groups: int = 1
    use_bias: bool = True
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        convolution.check(self, 3, "padding", "output_padding")
        convolution.check_output_padding(self, 3)

    def __call__(self, x: Any) -> Any:
        return convolution.transposed(self, x, 3)


@dataclass(frozen=True)
class MaxPool3d(bm.Layer):
    """The largest number under each window of volumes: (N, C, D, H, W) to (N, C, D', H', W').

    Args:
        window: slices, rows and columns of a window; one number for all.
        stride: voxels between neighbouring windows; the window by default.
        padding: slices, rows and columns around the volume that windows may reach into, or "same".

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of volumes, or smaller than a window.

    >>> import bigmodel_core as bm
    >>> MaxPool3d(2)(bm.Spec(("N", 6, 8, 24, 24)))
    Spec((N, 6, 4, 12, 12), float32)
    """

    window: int | tuple[int, int, int] = 2
    stride: int | tuple[int, int, int] | None = None
    padding: int | str | tuple[int, int, int] = 0

    def __post_init__(self) -> None:
        pooling.check(self, 3)

    def __call__(self, x: Any) -> Any:
        return ops.max_pool3d(x, self.window, self.stride, self.padding)


@dataclass(frozen=True)
class AveragePool3d(bm.Layer):
    """The mean under each window of volumes: (N, C, D, H, W) to (N, C, D', H', W').

    Args:
        window: slices, rows and columns of a window; one number for all.
        stride: voxels between neighbouring windows; the window by default.
        padding: slices, rows and columns of zeros around the volume, or "same".
        count_border: whether those zeros count in the mean.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of volumes, or smaller than a window.
    """

    window: int | tuple[int, int, int] = 2
    stride: int | tuple[int, int, int] | None = None
    padding: int | str | tuple[int, int, int] = 0
    count_border: bool = True

    def __post_init__(self) -> None:
        pooling.check(self, 3)

    def __call__(self, x: Any) -> Any:
        return ops.average_pool3d(x, self.window, self.stride, self.padding, self.count_border)
