"""The sum of squares on the CPU, in float64."""

from __future__ import annotations

import math

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.sums import PIECE, pieces_of, squared_wide, sums


@cpu_launches
def sum_of_squares(call: Call) -> list[CpuLaunch]:
    """The sum of the squares of all numbers: of pieces, then of their sums."""
    count = math.prod(call.inputs[0].sizes)
    pieces = max(-(-count // PIECE), 1)
    x, y = call.input(0).reshape(1, count, 1), call.output(0).reshape(1, 1)
    parts = call.temporary((1, pieces, 1))
    return [
        *call.launch(kernel(pieces_of(squared_wide)), [parts.reshape(pieces, 1)], [x], block=PIECE),
        *sums(call, y, parts),
    ]
