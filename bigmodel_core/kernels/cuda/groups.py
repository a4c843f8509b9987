"""Rows shared by the threads of a block: who does which row, and how partial results come together.

Kernels of rows are written once and made for a number of lanes: with 1 each thread does rows of its own, with
more the threads of a block share a row and combine what they found in shared memory, in one fixed order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.cuda.engine.runtime import cuda
from bigmodel_core.kernels.extremes import larger, smaller


@functools.cache
def row_of(lanes: int) -> Callable[[], tuple[int, int, int]]:
    """A function that gives this thread's first row, the distance to its next, and its lane."""

    def own_row() -> tuple[int, int, int]:
        return cuda.grid(1), cuda.gridsize(1), 0

    def shared_row() -> tuple[int, int, int]:
        return cuda.blockIdx.x, cuda.gridDim.x, cuda.threadIdx.x

    return own_row if lanes == 1 else shared_row


def _total(a, b):
    return a + b


COMBINE = {"sum": _total, "max": larger, "min": smaller}


@functools.cache
def combined(kind: str, dtype: str, lanes: int) -> Callable[[Any, int], Any]:
    """A function that combines the values of all lanes of a row; every lane gets the result."""
    combine, number = COMBINE[kind], DTYPES[dtype].scalar

    def alone(value, lane):
        return value

    def together(value, lane):
        found = cuda.shared.array(lanes, number)
        found[lane] = value
        cuda.syncthreads()
        half = lanes // 2
        while half > 0:
            if lane < half:
                found[lane] = combine(found[lane], found[lane + half])
            cuda.syncthreads()
            half = half // 2
        result = found[0]
        cuda.syncthreads()
        return result

    return alone if lanes == 1 else together
