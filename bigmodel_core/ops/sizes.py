"""Sizes as numbers, known when the model runs: of axes, and of the dimension in `x / x.shape[1]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.graph import Graph, Op, Value
from bigmodel_core.graph.spec import Dim, Spec, dim_product, dim_value
from bigmodel_core.kernels.cpu import sizes as cpu_kernels
from bigmodel_core.kernels.cuda import sizes as cuda_kernels


@dataclass(frozen=True)
class SizeOf(Op):
    """How many elements are along some axes, as a scalar: what a mean over a free dimension divides by."""

    axes: tuple[int, ...]
    dtype: str
    cpu = cpu_kernels.size_of
    cuda = cuda_kernels.size_of

    def count(self, x: Spec) -> Dim:
        """How many elements they are."""
        return dim_product(x.shape[axis] for axis in self.axes)

    def infer(self, x: Spec) -> Spec:
        return Spec((), self.dtype)

    def permuted(self, order: tuple[int, ...], x: Spec) -> SizeOf:
        return replace(self, axes=tuple(sorted(order.index(axis) for axis in self.axes)))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.size(x, self.axes, self.dtype)


def size_of(x: Value, axes: tuple[int, ...], dtype: str) -> Value:
    """The number of elements along some axes, as a scalar value."""
    return SizeOf(axes, dtype)(x)


@dataclass(frozen=True)
class SizeOfDimension(Op):
    """The size of a dimension as a scalar; its input is any scalar of the graph and of the number type."""

    dim: Dim
    cpu = cpu_kernels.size_of
    cuda = cuda_kernels.size_of

    def bind(self, sizes: Mapping[str, int]) -> SizeOfDimension:
        return SizeOfDimension(dim_value(self.dim, sizes))

    def count(self, x: Spec) -> Dim:
        """The size itself, once it is known."""
        return self.dim

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.dimension_size(self.dim, emit.inputs[0].dtype)


def size_of_dimension(dim: Dim, graph: Graph, dtype: str) -> Value:
    """The size of a dimension as a scalar value."""
    if isinstance(dim, int):
        return graph.constant(dim, dtype)
    return SizeOfDimension(dim)(graph.constant(0, dtype))


__all__ = ["size_of"]
