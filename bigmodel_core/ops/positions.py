"""The positions 0, 1, 2, ... along an axis, which may be free: for masks, position embeddings and windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Spec, dim_value
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.axes import normal_axis
from bigmodel_core.ops.elementwise import ElementwiseOp


@dataclass(frozen=True)
class Positions(ElementwiseOp):
    """The first number, and each the one before plus 1.

    Args:
        count: how many.
    """

    count: Dim
    cpu, cuda = elementwise(lambda first, index: first + index)

    def bind(self, sizes: Mapping[str, int]) -> Positions:
        return Positions(dim_value(self.count, sizes))

    def infer(self, first: Spec) -> Spec:
        return first.with_shape((self.count,))

    def permuted(self, order: tuple[int, ...], first: Spec) -> None:
        return None

    def grad(self, dy: Value, y: Value, first: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, first: Any) -> Any:
        zero, one = emit.const(0, "int64"), emit.const(1, "int64")
        return emit.Add(emit.Range(zero, emit.dimension_size(self.count, "int64"), one), first)


def positions(x: Value, axis: int = 1) -> Value:
    """The positions along an axis of x as int64 (T,): 0 to T - 1, whatever T is when the model runs.

    With them, a mask for attention to what came before is
    `p = ops.positions(x); mask = p.reshape(-1, 1) >= p`, and a position embedding `embedding(p)`.

    Raises:
        ShapeError: x has no such axis.
    """
    axis = normal_axis(axis, x.ndim)
    return Positions(x.shape[axis])(x.node.graph.constant(0, "int64"))


__all__ = ["positions"]
