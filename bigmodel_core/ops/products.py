"""Products along axes, whose gradients are right where numbers are 0, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, dim_product
from bigmodel_core.kernels.cpu import products as cpu_kernels
from bigmodel_core.kernels.cuda import products as cuda_kernels
from bigmodel_core.ops.axes import Axes
from bigmodel_core.ops.comparison import where
from bigmodel_core.ops.creation import diagonal
from bigmodel_core.ops.reduce import Reduction, reduced
from bigmodel_core.ops.shape import reshape


class Prod(Reduction):
    """The product along axes; rows of float32 are multiplied in float64."""

    cpu = cpu_kernels.prod
    cuda = cuda_kernels.prod

    def infer(self, x: Spec) -> Spec:
        if x.dtype == "bool":
            raise DtypeError("Prod needs numbers, got bool.", fix="use ops.all, or x.astype('int64').")
        return super().infer(x)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (reshape(dy, self.kept(x.spec)) * OtherProducts(self.axes)(x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.reduce("ReduceProd", x, self.axes, self.keepdims)


@dataclass(frozen=True)
class OtherProducts(Op):
    """For each number the product of all others along neighbouring axes."""

    axes: tuple[int, ...]
    cpu = cpu_kernels.other_products
    cuda = cuda_kernels.other_products

    def infer(self, x: Spec) -> Spec:
        return x

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """Products of a matrix with ones on its diagonal: n * n numbers, which second gradients need."""
        (x,) = inputs
        first, last = self.axes[0], self.axes[-1] + 1
        before, along, behind = (dim_product(x.shape[part]) for part in _parts(first, last))
        others = where(
            reshape(diagonal(x.node.graph, along, along), (along, along, 1)),
            1.0,
            reshape(x, (before, 1, along, behind)),
        )
        return (reshape(Prod((2,))(others), x.shape),)


def _parts(first: int, last: int) -> tuple[slice, slice, slice]:
    return slice(0, first), slice(first, last), slice(last, None)


def prod(x: Value, axis: Axes = None, keepdims: bool = False) -> Value:
    """The product along axes (all by default); that of no numbers is 1."""
    return reduced(Prod, x, axis, keepdims)


__all__ = ["prod"]
