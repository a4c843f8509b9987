"""Sorting along an axis: in order, where each number came from, the first few.

Equal numbers keep their order, and NaN counts as larger than every other number, as in NumPy: it comes last,
or first where the largest do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Dim, Spec, dim_value, format_shape
from bigmodel_core.kernels.cpu import sorting as cpu_kernels
from bigmodel_core.kernels.cuda import sorting as cuda_kernels
from bigmodel_core.ops.axes import integer, normal_axis, with_axis
from bigmodel_core.ops.scatter import Scatter
from bigmodel_core.ops.shape import zeros_like


@dataclass(frozen=True)
class TopK(Op):
    """The smallest or largest numbers along an axis, in order, and where each came from.

    Args:
        axis: counted from the first one.
        count: how many.
        descending: whether the largest come first, rather than the smallest.
    """

    axis: int
    count: Dim
    descending: bool
    cpu = cpu_kernels.top_k
    cuda = cuda_kernels.top_k

    def bind(self, sizes: Mapping[str, int]) -> TopK:
        return replace(self, count=dim_value(self.count, sizes))

    def infer(self, x: Spec) -> tuple[Spec, Spec]:
        size = x.shape[self.axis]
        if isinstance(size, int) and isinstance(self.count, int) and self.count > size:
            raise ShapeError(
                f"TopK cannot take k = {self.count} numbers along axis {self.axis} of"
                f" {format_shape(x.shape)}, which has {size}.",
                fix=f"use a k of at most {size}.",
            )
        found = x.with_shape(with_axis(x.shape, self.axis, self.count))
        return found, found.with_dtype("int64")

    def grad(self, dy: Any, y: Any, x: Value) -> tuple[Value]:
        return (Scatter(self.axis, "add")(zeros_like(x), y[1], dy[0]),)

    def onnx(self, emit: Any, x: Any) -> Any:
        dtype = emit.inputs[0].dtype
        is_small = emit.inputs[0].number_type.nbytes < 4  # ONNX Runtime sorts none of these
        given = emit.cast(x, "int32") if is_small else x
        values, places = emit.TopK(
            given, emit.dimension(self.count), outputs=2, axis=self.axis, largest=int(self.descending)
        )
        return (emit.cast(values, dtype) if is_small else values), places


def sort(x: Value, axis: int = -1, descending: bool = False) -> Value:
    """The numbers along an axis in order; NaN counts as the largest, as in NumPy.

    Raises:
        ShapeError: x has no such axis.
    """
    return _sorted(x, axis, descending)[0]


def argsort(x: Value, axis: int = -1, descending: bool = False) -> Value:
    """Where the numbers along an axis are in order, as int64; equal ones keep theirs.

    `take_along_axis(x, argsort(x, axis), axis)` is `sort(x, axis)`.

    Raises:
        ShapeError: x has no such axis.
    """
    return _sorted(x, axis, descending)[1]


def _sorted(x: Value, axis: int, descending: bool) -> tuple[Value, Value]:
    axis = normal_axis(axis, x.ndim)
    values, places = TopK(axis, x.shape[axis], bool(descending))(x)
    return values, places


def top_k(x: Value, k: int, axis: int = -1) -> tuple[Value, Value]:
    """The k largest numbers along an axis, the largest first, and where they are, as int64.

    Of equal numbers, those that come first are taken first. NaN counts as the largest.

    Args:
        x: any array.
        k: how many; a dimension of the model is a number here, too.
        axis: which axis.

    Raises:
        ShapeError: x has no such axis, or fewer numbers along it.
        ConfigError: k is no positive integer.
    """
    axis = normal_axis(axis, x.ndim)
    count: Any = k
    count = count if isinstance(count, str) else integer(count)
    if count is None or (isinstance(count, int) and count < 1):
        raise ConfigError(f"top_k takes {k!r} numbers.", fix="use an integer from 1 to the size of the axis.")
    values, places = TopK(axis, count, True)(x)
    return values, places


__all__ = ["argsort", "sort", "top_k"]
