"""Arrays joined along an axis, which slices undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Dim, Spec, dim_add, format_shape
from bigmodel_core.kernels.cpu import concatenation as cpu_kernels
from bigmodel_core.kernels.cuda import concatenation as cuda_kernels
from bigmodel_core.ops.axes import normal_axis
from bigmodel_core.ops.operands import as_values
from bigmodel_core.ops.slicing import Slice


@dataclass(frozen=True)
class Concatenate(Op):
    """Arrays joined along an axis."""

    axis: int
    cpu = cpu_kernels.concatenate
    cuda = cuda_kernels.concatenate

    def infer(self, *inputs: Spec) -> Spec:
        first = inputs[0]
        total: Dim = 0
        for spec in inputs:
            if spec.dtype != first.dtype:
                raise DtypeError(
                    f"Concatenate cannot mix {first.dtype} and {spec.dtype}.", fix="convert one side."
                )
            same = spec.ndim == first.ndim and all(
                a == b
                for axis, (a, b) in enumerate(zip(spec.shape, first.shape, strict=True))
                if axis != self.axis
            )
            if not same:
                raise ShapeError(
                    f"cannot concatenate {format_shape(first.shape)} and {format_shape(spec.shape)} along"
                    f" axis {self.axis}.",
                    fix="all other dimensions must be equal.",
                )
            total = dim_add(total, spec.shape[self.axis])
        return first.with_shape(total if axis == self.axis else dim for axis, dim in enumerate(first.shape))

    def permuted(self, order: tuple[int, ...], *inputs: Spec) -> Concatenate:
        return Concatenate(order.index(self.axis))

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[Value, ...]:
        pieces = []
        at: Dim = 0
        for value in inputs:
            pieces.append(Slice(self.axis, at, value.shape[self.axis])(dy))
            at = dim_add(at, value.shape[self.axis])
        return tuple(pieces)

    def onnx(self, emit: Any, *inputs: Any) -> Any:
        return emit.Concat(*inputs, axis=self.axis)


def concatenate(values: Sequence[Value], axis: int = -1) -> Value:
    """Arrays joined along an axis."""
    found = as_values(values, "concatenate")
    if not found:
        raise ShapeError("there is nothing to concatenate.", fix="pass at least one value.")
    return Concatenate(normal_axis(axis, found[0].ndim))(*found)


__all__ = ["concatenate"]
