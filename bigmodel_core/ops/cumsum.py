"""Sums of the numbers up to each along an axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu import cumsum as cpu_kernels
from bigmodel_core.kernels.cuda import cumsum as cuda_kernels
from bigmodel_core.ops.axes import normal_axis


@dataclass(frozen=True)
class Cumsum(Op):
    """The sum of the numbers up to each along an axis.

    Args:
        axis: along which.
        reverse: whether to begin at the end.
        exclusive: whether each number itself is left out.
    """

    axis: int
    reverse: bool = False
    exclusive: bool = False
    cpu = cpu_kernels.cumsum
    cuda = cuda_kernels.cumsum

    def infer(self, x: Spec) -> Spec:
        if x.dtype == "bool":
            raise DtypeError("Cumsum needs numbers, got bool.", fix="convert: x.astype('int64').")
        return x

    def permuted(self, order: tuple[int, ...], x: Spec) -> Cumsum:
        return replace(self, axis=order.index(self.axis))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (replace(self, reverse=not self.reverse)(dy),)

    def onnx(self, emit: Any, x: Any) -> Any:
        flags = {"reverse": int(self.reverse), "exclusive": int(self.exclusive)}
        return emit.CumSum(x, emit.const(self.axis, "int64"), **flags)


def cumsum(x: Value, axis: int = -1, reverse: bool = False, exclusive: bool = False) -> Value:
    """The sum of the numbers up to each along an axis.

    Args:
        x: floats or integers, whose type the sums have.
        axis: along which.
        reverse: whether to begin at the end.
        exclusive: whether each number itself is left out, so that the sums begin with 0.

    >>> import numpy as np
    >>> from bigmodel_core.testing import compute
    >>> compute(lambda x: cumsum(x, exclusive=True), np.array([1.0, 2.0, 3.0]))
    array([0., 1., 3.])
    """
    return Cumsum(normal_axis(axis, x.ndim), bool(reverse), bool(exclusive))(x)


__all__ = ["cumsum"]
