"""Rows picked from a table by number, and the gradient that adds them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.dtypes import INDICES
from bigmodel_core.graph.spec import Shape, Spec, format_shape
from bigmodel_core.kernels.cpu import indexing as cpu_kernels
from bigmodel_core.kernels.cuda import indexing as cuda_kernels


@dataclass(frozen=True)
class Gather(Op):
    """table[indices]: the rows of a table (V, ...) selected by integer indices."""

    cpu = cpu_kernels.gather
    cuda = cuda_kernels.gather

    def infer(self, table: Spec, indices: Spec) -> Spec:
        if indices.dtype not in INDICES:
            raise DtypeError(
                f"Gather needs {' or '.join(INDICES)} indices, got {indices.dtype}.",
                fix="convert: i.astype('int64').",
            )
        if table.ndim < 1:
            raise ShapeError(f"Gather needs a table of rows, got {format_shape(table.shape)}.")
        return table.with_shape((*indices.shape, *table.shape[1:]))

    def grad(self, dy: Value, y: Value, table: Value, indices: Value) -> tuple[Value, None]:
        return _GatherGrad(table.shape)(dy, indices), None

    def onnx(self, emit: Any, table: Any, indices: Any) -> Any:
        return emit.Gather(table, indices)


@dataclass(frozen=True)
class _GatherGrad(Op):
    shape: Shape
    cpu = cpu_kernels.gather_grad
    cuda = cuda_kernels.gather_grad

    def infer(self, dy: Spec, indices: Spec) -> Spec:
        return dy.with_shape(self.shape)

    def grad(self, dy: Value, y: Value, upstream: Value, indices: Value) -> tuple[Value, None]:
        return Gather()(dy, indices), None


def gather(table: Value, indices: Value) -> Value:
    """table[indices]: the rows of a table (V, ...) selected by integer indices."""
    return Gather()(table, indices)


__all__ = ["gather"]
