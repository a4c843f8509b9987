"""The sum of squares on a CUDA device, in float64."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, lanes_for, over_rows, sizes
from bigmodel_core.kernels.cuda.groups import combined, row_of
from bigmodel_core.kernels.cuda.sums import sums


@cuda_launches
def sum_of_squares(call: Call) -> list[CudaLaunch]:
    """The sum of the squares of all numbers, in float64."""
    (x,), (y,) = call.input_buffers, call.output_buffers
    dtype, count = call.inputs[0].dtype, math.prod(call.inputs[0].sizes)
    pieces = max(-(-count // sizes().row_piece), 1)
    target = call.scratch(pieces * 8)
    arrays = [View(target, (pieces,), "float64"), View(x, (count,), dtype), np.int64(sizes().row_piece)]
    lanes = lanes_for(min(sizes().row_piece, count))
    first = over_rows(squares_of_pieces(lanes), arrays, pieces, lanes)
    return [first, *sums(call, "float64", target, y, 1, pieces, 1)]


@functools.cache
def squares_of_pieces(lanes: int) -> Any:
    """out (pieces): the sum of the squares of each piece of x (all)."""
    row_here, total_of = row_of(lanes), combined("sum", "float64", lanes)

    def squares_of_pieces(out, x, piece):
        first, step, lane = row_here()
        for row in range(first, out.shape[0], step):
            total = 0.0
            for j in range(row * piece + lane, min(x.shape[0], row * piece + piece), lanes):
                number = np.float64(x[j])
                total += number * number
            total = total_of(total, lane)
            if lane == 0:
                out[row] = total

    return squares_of_pieces
