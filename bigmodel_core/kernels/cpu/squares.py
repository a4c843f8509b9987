"""The sum of squares on the CPU, in float64."""

from __future__ import annotations

import math

from numpy import float64

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.sums import PIECE, sums


def squares_of_pieces(out, x, block, start, stop):
    """out (pieces, 1), x (1, all, 1): the sum of the squares of each piece."""
    for row in range(start, stop):
        first = row * block
        count = min(x.shape[1] - first, block)
        piece = x[0, first : first + count, 0]
        total = 0.0
        for j in range(count):
            number = float64(piece[j])
            total += number * number
        out[row, 0] = total


@cpu_launches
def sum_of_squares(call: Call) -> list[CpuLaunch]:
    """The sum of the squares of all numbers: of pieces, then of their sums."""
    count = math.prod(call.inputs[0].sizes)
    pieces = max(-(-count // PIECE), 1)
    x, y = call.input(0).reshape(1, count, 1), call.output(0).reshape(1, 1)
    parts = call.temporary((1, pieces, 1))
    return [
        *call.launch(kernel(squares_of_pieces), [parts.reshape(pieces, 1)], [x], block=PIECE),
        *sums(call, y, parts),
    ]
