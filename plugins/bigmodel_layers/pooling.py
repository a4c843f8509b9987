"""Pools over windows of images and sequences, zero padding, and upsampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


def check(layer: Any, axes: int) -> None:
    """The limits of a window's fields, along so many axes.

    Raises:
        ConfigError: a field is out of its limits.
    """
    for name, least in (("window", 1), ("stride", 1), ("padding", 0)):
        value = getattr(layer, name)
        if value is None or value == "same":
            continue
        object.__setattr__(layer, name, _as_tuple(value))
        ops.images.per_axis(value, name, axes, least)


def _as_tuple(value: Any) -> Any:
    """Several numbers, such as a list from a file, as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, (list, tuple, range)) else value


def _sequence(x: Any) -> Any:
    """Sequences (N, C, T) as images of one row."""
    if x.ndim != 3:
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected (N, C, T).", fix="reshape it first."
        )
    return ops.reshape(x, (x.shape[0], x.shape[1], 1, x.shape[2]))


def _flat(window: int | None) -> tuple[int, int] | None:
    return None if window is None else (1, window)


@dataclass(frozen=True)
class MaxPool2d(bm.Layer):
    """The largest number under each window of images: (N, C, H, W) to (N, C, H', W').

    Args:
        window: rows and columns of a window; one number for both.
        stride: pixels between neighbouring windows; the window by default.
        padding: rows and columns around the image that windows may reach into, or "same".

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of images, or smaller than a window.

    >>> import bigmodel_core as bm
    >>> MaxPool2d(2)(bm.Spec(("N", 6, 24, 24)))
    Spec((N, 6, 12, 12), float32)
    """

    window: int | tuple[int, int] = 2
    stride: int | tuple[int, int] | None = None
    padding: int | str | tuple[int, int] = 0

    def __post_init__(self) -> None:
        check(self, 2)

    def __call__(self, x: Any) -> Any:
        return ops.max_pool(x, self.window, self.stride, self.padding)


@dataclass(frozen=True)
class AveragePool2d(bm.Layer):
    """The mean under each window of images: (N, C, H, W) to (N, C, H', W').

    Args:
        window: rows and columns of a window; one number for both.
        stride: pixels between neighbouring windows; the window by default.
        padding: rows and columns of zeros around the image, or "same".
        count_border: whether those zeros count in the mean.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is no batch of images, or smaller than a window.
    """

    window: int | tuple[int, int] = 2
    stride: int | tuple[int, int] | None = None
    padding: int | str | tuple[int, int] = 0
    count_border: bool = True

    def __post_init__(self) -> None:
        check(self, 2)

    def __call__(self, x: Any) -> Any:
        return ops.average_pool(x, self.window, self.stride, self.padding, self.count_border)


@dataclass(frozen=True)
class MaxPool1d(bm.Layer):
    """The largest number under each window of sequences: (N, C, T) to (N, C, T').

    Args:
        window: steps of a window.
        stride: steps between neighbouring windows; the window by default.
        padding: steps at both ends that windows may reach into.
    """

    window: int = 2
    stride: int | None = None
    padding: int = 0

    def __post_init__(self) -> None:
        check(self, 2)

    def __call__(self, x: Any) -> Any:
        y = ops.max_pool(_sequence(x), (1, self.window), _flat(self.stride), (0, self.padding))
        return ops.reshape(y, (*y.shape[:2], y.shape[3]))


@dataclass(frozen=True)
class AveragePool1d(bm.Layer):
    """The mean under each window of sequences: (N, C, T) to (N, C, T').

    Args:
        window: steps of a window.
        stride: steps between neighbouring windows; the window by default.
        padding: steps of zeros at both ends, which count in the mean.
    """

    window: int = 2
    stride: int | None = None
    padding: int = 0

    def __post_init__(self) -> None:
        check(self, 2)

    def __call__(self, x: Any) -> Any:
        y = ops.average_pool(_sequence(x), (1, self.window), _flat(self.stride), (0, self.padding))
        return ops.reshape(y, (*y.shape[:2], y.shape[3]))


@dataclass(frozen=True)
class GlobalAveragePool(bm.Layer):
    """The mean of each channel: (N, C, H, W), (N, C, T) or (N, C, D, H, W) to (N, C) (Lin et al., 2013)."""

    def __call__(self, x: Any) -> Any:
        return ops.global_average_pool(x)


@dataclass(frozen=True)
class AdaptiveAveragePool2d(bm.Layer):
    """Means over windows that cover images evenly: (N, C, H, W) to (N, C, *size), whatever H and W are.

    Args:
        size: rows and columns of the output; one number for both.
    """

    size: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _as_tuple(self.size))
        bm.ops.images.pair(self.size, "size")

    def __call__(self, x: Any) -> Any:
        return ops.adaptive_average_pool(x, self.size)


@dataclass(frozen=True)
class ZeroPad2d(bm.Layer):
    """Zeros around images (N, C, H, W).

    Args:
        padding: rows and columns at each side: one number, (height, width), or (top, left, bottom, right).
    """

    padding: int | tuple[int, ...] = 1

    def __post_init__(self) -> None:
        given = _as_tuple(self.padding)
        sides = given if isinstance(given, tuple) else (given,) * 4
        sides = sides * 2 if len(sides) == 2 else sides
        if len(sides) != 4 or any(not isinstance(i, int) or isinstance(i, bool) or i < 0 for i in sides):
            raise ConfigError(
                f"padding is {self.padding!r}, expected one, two or four integers of at least 0.",
                where="ZeroPad2d",
                fix="pass padding=1 or padding=(1, 2, 1, 2).",
            )
        object.__setattr__(self, "padding", sides)

    def __call__(self, x: Any) -> Any:
        return ops.zero_pad(x, self.padding)  # type: ignore[arg-type]  # four numbers since __post_init__


@dataclass(frozen=True)
class Upsample2d(bm.Layer):
    """Images (N, C, H, W) `factor` times as large: each pixel repeated, or a mixture of those around it.

    Args:
        factor: how many times larger the output is; one number for both directions.
        method: "nearest", "bilinear" or "bicubic", as in `bm.ops.resize`.
        align_corners: whether the centers of the outermost pixels stay in place, for the methods that mix.
    """

    factor: int | tuple[int, int] = 2
    method: str = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", _as_tuple(self.factor))
        bm.ops.images.pair(self.factor, "factor")

    def __call__(self, x: Any) -> Any:
        if self.method == "nearest" and not self.align_corners:
            return ops.upsample_nearest(x, self.factor)
        return ops.resize(x, method=self.method, align_corners=self.align_corners, scale=self.factor)


@dataclass(frozen=True)
class Resize(bm.Layer):
    """Sequences (N, C, T), images (N, C, H, W) or volumes (N, C, D, H, W) in another size.

    Args:
        size: of the spatial axes; one number for all.
        method: "nearest", "bilinear" or "bicubic", as in `bm.ops.resize`.
        align_corners: whether the centers of the outermost pixels stay in place, for the methods that mix.
    """

    size: int | tuple[int, ...] = 224
    method: str = "bilinear"
    align_corners: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _as_tuple(self.size))
        numbers = self.size if isinstance(self.size, tuple) else (self.size,)
        if not numbers or any(not isinstance(i, int) or isinstance(i, bool) or i < 1 for i in numbers):
            raise ConfigError(
                f"size is {self.size!r}, expected one integer of at least 1, or one for each axis.",
                where="Resize",
                fix="pass size=64 or size=(48, 64).",
            )

    def __call__(self, x: Any) -> Any:
        return ops.resize(x, self.size, self.method, self.align_corners)
