"""Pools over windows of images and volumes: the largest number, the mean; over the whole; to a given size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Shape, Spec, dim_value
from bigmodel_core.kernels.cpu import pooling as cpu_kernels
from bigmodel_core.kernels.cuda import pooling as cuda_kernels
from bigmodel_core.ops.comparison import cast, equal, logical_and, where
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.images import (
    ImageOp,
    Numbers,
    Padding,
    Pair,
    around,
    bound_padding,
    onnx_pads,
    padding_of,
    pair,
    per_axis,
    window_sizes,
)
from bigmodel_core.ops.padding import pad
from bigmodel_core.ops.positions import positions
from bigmodel_core.ops.shape import zeros_like
from bigmodel_core.ops.sizes import size_of
from bigmodel_core.ops.slicing import Slice


@dataclass(frozen=True)
class _Pool(ImageOp):
    """Windows over images, or over volumes if they have three sizes.

    Args:
        window: rows and columns of a window, after its depth if it has one.
        stride: pixels between neighbouring windows along each axis.
        border: the padding, which is outside the image: before each axis, then behind each.
    """

    window: Numbers = (2, 2)
    stride: Numbers = (2, 2)
    border: Padding = (0, 0, 0, 0)

    @property
    def spatial(self) -> int:
        return len(self.window)

    def pooled(self, x: Spec) -> Spec:
        n, channels, *sizes = self.sizes(x)
        if any(isinstance(b, int) and b >= w for b, w in zip(self.border, self.window * 2, strict=True)):
            raise ShapeError(
                f"{type(self).__name__}: padding {self.border} leaves windows {self.window} without a pixel.",
                fix="pad by less than the window.",
            )
        counts = window_sizes(type(self).__name__, sizes, self.window, self.stride, self.border)
        return x.with_shape(self.arranged(n, channels, *counts))

    def bind(self, sizes: Mapping[str, int]) -> Any:
        """The same with named dimensions replaced by sizes."""
        return replace(self, border=bound_padding(self.border, sizes))

    def onnx_fields(self, x: Spec) -> dict[str, Any]:
        return {
            "kernel_shape": list(self.window),
            "strides": list(self.stride),
            **onnx_pads(self.border, x.shape[2:], self.window, self.stride),
        }


class MaxPool(_Pool):
    """The largest number under each window of images (N, C, H, W) or volumes (N, C, D, H, W).

    Outputs: y, and for the gradient the number of the window's pixel it came from (the first, if several
    are equal).
    """

    image_outputs: ClassVar[tuple[int, ...]] = (0, 1)
    cpu = cpu_kernels.max_pool
    cuda = cuda_kernels.max_pool

    def infer(self, x: Spec) -> tuple[Spec, Spec]:
        y = self.pooled(x)
        return y, y.with_dtype("int32")

    def grad(self, dy: Any, y: Any, x: Value) -> tuple[Value]:
        image = self.sizes(x.spec)[2:]
        op = _MaxPoolGrad(self.window, self.stride, self.border, image, layout=self.layout)
        return (op(dy[0], y[1]),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.MaxPool(x, **self.onnx_fields(emit.inputs[0])), None


@dataclass(frozen=True)
class _PoolGrad(_Pool):
    image: Shape = (1, 1)
    exported: ClassVar[bool] = False

    def bind(self, sizes: Mapping[str, int]) -> Any:
        """The same with named dimensions replaced by sizes."""
        image = tuple(dim_value(dim, sizes) for dim in self.image)
        return replace(self, image=image, border=bound_padding(self.border, sizes))

    def infer(self, dy: Spec, *_: Spec) -> Spec:
        n, channels = self.sizes(dy)[:2]
        return dy.with_shape(self.arranged(n, channels, *self.image))


class _MaxPoolGrad(_PoolGrad):
    image_inputs: ClassVar[tuple[int, ...]] = (0, 1)
    cpu = cpu_kernels.max_pool_gradient
    cuda = cuda_kernels.max_pool_gradient

    def at_targets(self, like: Value, *inputs: Value) -> Value | None:
        """Each number goes to where the largest under its window came from."""
        _, places = inputs
        pool = places.node
        return pool.outputs[0] if isinstance(pool.op, MaxPool) and pool.inputs[0] is like else None

    def grad(self, dy: Value, y: Value, upstream: Value, places: Value) -> tuple[Value, None]:
        """The numbers at the places, which are looked for under one pixel of all windows after the other."""
        padded, found = pad(dy, around(self.border)), zeros_like(upstream)
        for place, first in enumerate(itertools.product(*map(range, self.window))):
            under = padded
            for axis, (start, step) in enumerate(zip(first, self.stride, strict=True), 2):
                under = Slice(axis, start, upstream.shape[axis], step)(under)
            found = where(equal(places, place), under, found)
        return found, None


@dataclass(frozen=True)
class _AveragePoolGrad(_PoolGrad):
    count_border: bool = True
    cpu = cpu_kernels.average_pool_gradient
    cuda = cuda_kernels.average_pool_gradient

    def grad(self, dy: Value, y: Value, upstream: Value) -> tuple[Value]:
        pool = AveragePool(self.window, self.stride, self.border, self.count_border, layout=self.layout)
        return (pool(dy),)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """The mean of the numbers under each window of images (N, C, H, W) or volumes (N, C, D, H, W).

    Args:
        count_border: whether what is outside the image counts as zeros, as PyTorch has it.
    """

    count_border: bool = True
    cpu = cpu_kernels.average_pool
    cuda = cuda_kernels.average_pool

    def infer(self, x: Spec) -> Spec:
        return self.pooled(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        image = self.sizes(x.spec)[2:]
        op = _AveragePoolGrad(
            self.window, self.stride, self.border, image, self.count_border, layout=self.layout
        )
        return (op(dy),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.AveragePool(
            x, count_include_pad=int(self.count_border), **self.onnx_fields(emit.inputs[0])
        )


def max_pool(
    x: Value, window: int | Numbers, stride: int | Numbers | None = None, padding: int | str | Numbers = 0
) -> Value:
    """The largest number under each window of images (N, C, H, W); the stride is the window by default."""
    return MaxPool(*_windows(MaxPool, x, 2, window, stride, padding))(x)[0]


def max_pool3d(
    x: Value, window: int | Numbers, stride: int | Numbers | None = None, padding: int | str | Numbers = 0
) -> Value:
    """The largest number under each window of volumes (N, C, D, H, W); the stride as in `max_pool`."""
    return MaxPool(*_windows(MaxPool, x, 3, window, stride, padding))(x)[0]


def average_pool(
    x: Value,
    window: int | Numbers,
    stride: int | Numbers | None = None,
    padding: int | str | Numbers = 0,
    count_border: bool = True,
) -> Value:
    """The mean under each window of images (N, C, H, W); the stride is the window by default."""
    return AveragePool(*_windows(AveragePool, x, 2, window, stride, padding), count_border)(x)


def average_pool3d(
    x: Value,
    window: int | Numbers,
    stride: int | Numbers | None = None,
    padding: int | str | Numbers = 0,
    count_border: bool = True,
) -> Value:
    """The mean under each window of volumes (N, C, D, H, W); the stride is the window by default."""
    return AveragePool(*_windows(AveragePool, x, 3, window, stride, padding), count_border)(x)


def _windows(
    kind: type[_Pool], x: Value, axes: int, window: Any, stride: Any, padding: Any
) -> tuple[Numbers, Numbers, Padding]:
    size = per_axis(window, "window", axes)
    steps = size if stride is None else per_axis(stride, "stride", axes)
    return size, steps, padding_of(padding, kind(size).sizes(x.spec)[2:], size, steps)


def global_average_pool(x: Value) -> Value:
    """The mean of each channel: (N, C, H, W), (N, C, T) or (N, C, D, H, W) to (N, C)."""
    from bigmodel_core.ops.reduce import mean

    if x.ndim in (3, 5):
        check_floats("global_average_pool", x.spec)
        return mean(x, tuple(range(2, x.ndim)))
    ImageOp().sizes(x.spec)
    return mean(x, (2, 3))


def adaptive_average_pool(x: Value, size: int | Pair) -> Value:
    """Means over windows that cover images evenly: (N, C, H, W) to (N, C, *size), whatever H and W are.

    Window i covers the pixels from floor(i * H / rows) to ceil((i + 1) * H / rows), as in PyTorch.
    """
    rows, columns = pair(size, "size")
    _, _, height, width = ImageOp().sizes(x.spec)
    if isinstance(height, int) and isinstance(width, int) and height % rows == 0 and width % columns == 0:
        window = (height // rows, width // columns)
        return AveragePool(window, window)(x)
    from bigmodel_core.ops.linear import matmul
    from bigmodel_core.ops.reduce import mean
    from bigmodel_core.ops.shape import transpose

    if (rows, columns) == (1, 1):
        return mean(x, (2, 3), keepdims=True)
    across = transpose(_window_means(x, 3, columns))
    return matmul(_window_means(x, 2, rows), matmul(x, across))


def _window_means(x: Value, axis: int, count: int) -> Value:
    """A matrix (count, size) that takes the means of windows along an axis, which may be free.

    Pixel p is under window i if (p + 1) * count > i * size and p * count < (i + 1) * size.
    """
    graph, size = x.node.graph, x.shape[axis]
    if isinstance(size, int):
        found = np.zeros((count, size))
        for i in range(count):
            first, last = i * size // count, -(-(i + 1) * size // count)
            found[i, first:last] = 1 / (last - first)
        return graph.constant(found.astype(x.dtype))
    from bigmodel_core.ops.reduce import sum as total

    length, pixels = size_of(x, (axis,), "int64"), positions(x, axis) * count
    windows = graph.constant(np.arange(count)[:, None])
    under = logical_and(pixels + count > windows * length, pixels < (windows + 1) * length)
    covered = cast(under, x.dtype)
    return covered / total(covered, 1, keepdims=True)


__all__ = [
    "adaptive_average_pool",
    "average_pool",
    "average_pool3d",
    "global_average_pool",
    "max_pool",
    "max_pool3d",
]
