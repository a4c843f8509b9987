"""The sum of squares, taken in float64 without storing a square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import DtypeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.array import Call, NativeKernel, kernel
from bigmodel_core.kernels.cuda.kernels import CudaLaunches
from bigmodel_core.ops.reduce import PIECE, sum_in_two_steps


def _squares_of_pieces(out, x, block, start, stop):
    """out (pieces, 1), x (1, all, 1)."""
    for row in range(start, stop):
        first = row * block
        count = min(x.shape[1] - first, block)
        piece = x[0, first : first + count, 0]
        total = 0.0
        for j in range(count):
            number = np.float64(piece[j])
            total += number * number
        out[row, 0] = total


def _launches(call: Call) -> list[Any]:
    count = call.inputs[0].size
    assert isinstance(count, int)
    pieces = max(-(-count // PIECE), 1)
    of_pieces = kernel(
        _squares_of_pieces,
        views=lambda *_: ([(pieces, 1)], [(1, count, 1)]),
        extras=lambda *_: {"block": PIECE},
    )
    return sum_in_two_steps(call, of_pieces, None, 1, pieces, 1)


@dataclass(frozen=True)
class SumOfSquares(Op):
    """The sum of the squares of all numbers, a float64 scalar: those of float32 fit, large or small."""

    cpu = NativeKernel(_launches)
    cuda = CudaLaunches("reduce:sum_of_squares")

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
