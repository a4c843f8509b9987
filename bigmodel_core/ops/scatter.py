"""Numbers written to computed places of an array: they replace what is there, or are combined with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Number, Op, Value
from bigmodel_core.graph.dtypes import dtype_named
from bigmodel_core.graph.spec import Spec, broadcast, format_shape
from bigmodel_core.kernels.cpu import scatter as cpu_kernels
from bigmodel_core.kernels.cuda import scatter as cuda_kernels
from bigmodel_core.ops.axes import normal_axis, with_axis
from bigmodel_core.ops.comparison import equal, logical_and, logical_or, not_equal, where
from bigmodel_core.ops.elementwise import constant_like
from bigmodel_core.ops.indexing import TakeAlong, check_indices
from bigmodel_core.ops.positions import positions
from bigmodel_core.ops.shape import broadcast_to, reshape, zeros_like

REDUCTIONS = (None, "add", "max", "min")
"""What may become of a number that is written to; None replaces it."""
_SINCE = {"add": 16, "max": 18, "min": 18}
"""The operator sets from which on ScatterElements has them."""


@dataclass(frozen=True)
class Scatter(Op):
    """An array with updates written to the places along an axis that indices name, in their order.

    Where nothing needs the array afterwards, plans write into its memory.

    Args:
        axis: counted from the first one; along others, indices and updates are as long as the array.
        reduce: one of `REDUCTIONS`.
    """

    axis: int
    reduce: str | None
    cpu = cpu_kernels.scatter
    cuda = cuda_kernels.scatter

    @property
    def mode(self) -> int:
        """The reduction as a number, for kernels."""
        return REDUCTIONS.index(self.reduce)

    def infer(self, x: Spec, indices: Spec, updates: Spec) -> Spec:
        check_indices("Scatter", indices)
        if updates.dtype != x.dtype:
            raise DtypeError(
                f"Scatter cannot write {updates.dtype} into {x.dtype}.", fix="convert one of them."
            )
        if x.dtype == "bool" and self.reduce is not None:
            raise DtypeError(f"Scatter cannot {self.reduce} truth values.", fix="convert: x.astype('int64').")
        return x

    def grad(self, dy: Value, y: Value, x: Value, indices: Value, updates: Value) -> tuple[Any, ...]:
        if self.reduce == "add":
            return dy, None, TakeAlong(self.axis)(dy, indices)
        if self.reduce is None:
            counts = reshape(positions(indices, self.axis), with_axis((1,) * x.ndim, self.axis, -1))
            order = broadcast_to(counts, indices.shape)
            writer = Scatter(self.axis, None)(zeros_like(x).astype("int64"), indices, order)
            is_last = equal(TakeAlong(self.axis)(writer, indices), order)
            rest = Scatter(self.axis, None)(dy, indices, zeros_like(updates))
            return rest, None, where(is_last, TakeAlong(self.axis)(dy, indices), 0.0)
        kept, written = _wins(x, y), _wins(updates, TakeAlong(self.axis)(y, indices))
        count = Scatter(self.axis, "add")(kept.astype(x.dtype), indices, written.astype(x.dtype))
        share = where(count > 0.0, dy / count, 0.0)
        return where(kept, share, 0.0), None, where(written, TakeAlong(self.axis)(share, indices), 0.0)

    def onnx(self, emit: Any, x: Any, indices: Any, updates: Any) -> Any:
        if self.reduce is None:
            return emit.ScatterElements(x, indices, updates, axis=self.axis)
        if emit.opset >= _SINCE[self.reduce]:
            return emit.ScatterElements(x, indices, updates, axis=self.axis, reduction=self.reduce)
        return self._compared(self.reduce, emit, x, indices, updates)

    def _compared(self, reduce: str, emit: Any, x: Any, indices: Any, updates: Any) -> Any:
        """For operator sets without reductions: each place looks for its updates among all of its line."""
        whole, wide = emit.inputs[0], emit.inputs[1].dtype == "int64"
        is_small = whole.number_type.nbytes < 4  # ONNX has no sums of bytes
        kind, last = "int32" if is_small else whole.dtype, whole.ndim
        x, updates = (emit.cast(name, kind) if is_small else name for name in (x, updates))
        size = emit.dimension_size(whole.shape[self.axis], "int64")
        places = emit.Range(emit.const(0, "int64"), size, emit.const(1, "int64"))
        places = emit.Reshape(places, emit.ints([-1 if n == self.axis else 1 for n in range(last)]))
        places = emit.Unsqueeze(places, emit.ints((last,)))
        order = [*range(last + 1)]
        order[self.axis], order[last] = last, self.axis

        def line(name: Any) -> Any:
            """The axis last, and one of size 1 in its place."""
            return emit.Transpose(emit.Unsqueeze(name, emit.ints((last,))), perm=order)

        meets = emit.Equal(places, line(indices if wide else emit.cast(indices, "int64")))
        found = emit.Where(meets, line(updates), emit.const(_no_update(reduce, kind), kind))
        name = {"add": "Sum", "max": "Max", "min": "Min"}[reduce]
        found = emit.reduce(f"Reduce{name}", found, (last,), False)
        found = emit.Add(x, found) if reduce == "add" else emit.add(name, (x, found), 1, {})
        return emit.cast(found, whole.dtype) if is_small else found


def _wins(number: Value, result: Value) -> Value:
    """Where a number is the extreme one; NaN is if there is one."""
    return logical_or(
        equal(number, result), logical_and(not_equal(number, number), not_equal(result, result))
    )


def _no_update(reduce: str, dtype: str) -> Any:
    """The number that changes nothing where it is written."""
    if reduce == "add":
        return 0
    kind = dtype_named(dtype)
    most = kind.numpy.type("inf") if kind.is_float else np.iinfo(kind.numpy).max
    return most if reduce == "min" else -most - (not kind.is_float)


def scatter(
    x: Value, indices: Value, updates: Value | Number, axis: int = 0, reduce: str | None = None
) -> Value:
    """The array with updates written to the places along an axis that indices name.

    It is PyTorch's `scatter` and `scatter_reduce`, and ONNX's ScatterElements: for axis 0 of a matrix,
    `y[indices[i, j], j]` becomes `updates[i, j]`. Updates are written in their order along the axis: of
    several at one place the last one stays, and sums are the same in each run. To write whole rows, give the
    indices the shape (n, 1).

    Where updates are written over, their gradient is 0; where several numbers are the largest, they share it
    equally, the array's own too.

    Args:
        x: any array.
        indices: int32 or int64, of as many axes; from 0 on. They and the updates broadcast to the array's
            sizes along the other axes.
        updates: an array, or a number.
        axis: which axis the indices count along.
        reduce: None replaces what is there; "add", "max" and "min" combine it with the updates.

    Raises:
        ShapeError: the axes do not fit.
        DtypeError: the indices are no integers, or the number types differ.
        ConfigError: there is no such reduction.
        DataError: at run time, an index is negative or past the end.
    """
    if reduce not in REDUCTIONS:
        raise ConfigError(f"scatter cannot reduce by {reduce!r}.", fix="use None, 'add', 'max' or 'min'.")
    axis = normal_axis(axis, x.ndim)
    updates = constant_like(updates, x)
    try:
        if indices.ndim != x.ndim:
            raise ShapeError("another number of axes.")
        shape = broadcast(indices.shape, updates.shape)
        wanted = with_axis(x.shape, axis, shape[axis])
        if broadcast(shape, wanted) != wanted:
            raise ShapeError("an axis is longer.")
    except ShapeError:
        raise ShapeError(
            f"scatter along axis {axis} of {format_shape(x.shape)} got indices {format_shape(indices.shape)}"
            f" and updates {format_shape(updates.shape)}.",
            fix="give both as many axes as the array, and its sizes (or 1) along the others.",
        ) from None
    return Scatter(axis, reduce)(x, broadcast_to(indices, wanted), broadcast_to(updates, wanted))


__all__ = ["scatter"]
