"""The sum of squares, taken in float64 without storing a square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu import squares as cpu_kernels
from bigmodel_core.kernels.cuda import squares as cuda_kernels


@dataclass(frozen=True)
class SumOfSquares(Op):
    """The sum of the squares of all numbers, a float64 scalar: those of float32 fit, large or small."""

    cpu = cpu_kernels.sum_of_squares
    cuda = cuda_kernels.sum_of_squares

    def infer(self, x: Spec) -> Spec:
        if not x.is_float:
            raise DtypeError(
                f"SumOfSquares needs floats, got {x.dtype}.", fix="convert: x.astype('float32')."
            )
        return Spec((), "float64")

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return ((x.astype("float64") * (dy * 2.0)).astype(x.dtype),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.ReduceSumSquare(emit.cast(x, "float64"), keepdims=0)
