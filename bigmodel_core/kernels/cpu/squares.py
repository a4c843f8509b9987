"""The sum of squares on the CPU, in float64."""

from __future__ import annotations

import math

from numpy import float64

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.sums import PIECE, sums_in_two_steps


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
    count = math.prod(call.inputs[0].sizes)
    pieces = max(-(-count // PIECE), 1)
    of_pieces = kernel(
        squares_of_pieces,
        views=lambda *_: ([(pieces, 1)], [(1, count, 1)]),
        extras=lambda *_: {"block": PIECE},
    )
    return sums_in_two_steps(call, of_pieces, 1, pieces, 1)
