"""Rows picked from a table by number, and the gradient that adds them back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Shape, Spec, format_shape
from bigmodel_core.kernels.array import kernel
from bigmodel_core.kernels.cuda.kernels import CudaLaunches


def gather_rows(out, table, indices, start, stop, status):
    """out (n, width), table (rows, width), indices (n,)."""
    for i in range(start, stop):
        row = indices[i]
        if row < 0 or row >= table.shape[0]:
            if status[0] == 0:
                status[1] = row
                status[2] = table.shape[0]
                status[3] = i
                status[0] = 2
            for j in range(out.shape[1]):
                out[i, j] = 0
            continue
        for j in range(out.shape[1]):
            out[i, j] = table[row, j]


def add_rows(out, dy, indices, start, stop):
    """out (rows, width): row r is the sum of the rows of dy whose index is r, in the order they come."""
    for row in range(start, stop):
        for j in range(out.shape[1]):
            out[row, j] = 0
    for i in range(indices.shape[0]):
        row = indices[i]
        if start <= row < stop:
            for j in range(out.shape[1]):
                out[row, j] += dy[i, j]


def _table(shape: Shape) -> tuple[int, int]:
    return shape[0], math.prod(shape[1:])  # type: ignore[arg-type,return-value]  # a plan's sizes are integers


def _picked(indices: Spec, table: Shape) -> tuple[int, int]:
    return math.prod(indices.shape), math.prod(table[1:])  # type: ignore[arg-type]  # a plan's sizes are integers


@dataclass(frozen=True)
class Gather(Op):
    """table[indices]: the rows of a table (V, ...) that integer indices name."""

    cpu = kernel(
        gather_rows,
        views=lambda op, i, o: ([_picked(i[1], i[0].shape)], [_table(i[0].shape), (math.prod(i[1].shape),)]),
    )
    cuda = CudaLaunches("indexing:gather")

    def infer(self, table: Spec, indices: Spec) -> Spec:
        if indices.dtype not in ("int32", "int64"):
            raise DtypeError(
                f"Gather needs int32 or int64 indices, got {indices.dtype}.",
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
    cpu = kernel(
        add_rows,
        views=lambda op, i, o: ([_table(o[0].shape)], [_picked(i[1], o[0].shape), (math.prod(i[1].shape),)]),
    )
    cuda = CudaLaunches("indexing:gather_grad")

    def infer(self, dy: Spec, indices: Spec) -> Spec:
        return dy.with_shape(self.shape)


def gather(table: Value, indices: Value) -> Value:
    """table[indices]: the rows of a table (V, ...) that integer indices name."""
    return Gather()(table, indices)
