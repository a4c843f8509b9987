"""Reductions along neighbouring axes on a CUDA device."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, lanes_for, over_rows
from bigmodel_core.kernels.cuda.groups import COMBINE, combined, row_of
from bigmodel_core.kernels.cuda.sums import sums
from bigmodel_core.kernels.views import split_axes


@cuda_launches
def sum_(call: Call) -> list[CudaLaunch]:
    """The sum along neighbouring axes."""
    return _sums(call)


@cuda_launches
def sum_square(call: Call) -> list[CudaLaunch]:
    """The sum of squares along neighbouring axes."""
    return _sums(call, is_squared=True)


def _sums(call: Call, is_squared: bool = False) -> list[CudaLaunch]:
    (x,), (y,) = call.input_buffers, call.output_buffers
    return sums(call, call.inputs[0].dtype, x, y, *_split(call), is_squared=is_squared)


@cuda_launches
def max_(call: Call) -> list[CudaLaunch]:
    """The largest number along neighbouring axes."""
    return _extreme(call, "max")


@cuda_launches
def min_(call: Call) -> list[CudaLaunch]:
    """The smallest number along neighbouring axes."""
    return _extreme(call, "min")


def _extreme(call: Call, kind: str) -> list[CudaLaunch]:
    _, middle, inner = _split(call)
    dtype = call.inputs[0].dtype
    lanes = lanes_for(middle) if inner == 1 and SIZES[dtype] >= 4 else 1
    return _launch(extreme(kind, dtype, lanes), call, lanes)


@functools.cache
def extreme(kind: str, dtype: str, lanes: int) -> Any:
    """out (outer, inner): the extreme number of x (outer, middle, inner); NaN wins."""
    combine, here = COMBINE[kind], row_of(lanes)
    all_of = combined(kind, dtype, lanes) if lanes > 1 else combined(kind, "int64", 1)

    def extreme(out, x):
        first, step, lane = here()
        inner = out.shape[1]
        for row in range(first, out.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            best = x[i, min(lane, x.shape[1] - 1), k]
            for j in range(lane + lanes, x.shape[1], lanes):
                best = combine(best, x[i, j, k])
            best = all_of(best, lane)
            if lane == 0:
                out[i, k] = best

    return extreme


@cuda_launches
def argmax(call: Call) -> list[CudaLaunch]:
    """The position of the first largest number along an axis."""
    return _launch(first_extreme("max"), call, 1)


@cuda_launches
def argmin(call: Call) -> list[CudaLaunch]:
    """The position of the first smallest number along an axis."""
    return _launch(first_extreme("min"), call, 1)


@functools.cache
def first_extreme(kind: str) -> Any:
    """out (outer, inner): where x (outer, middle, inner) is largest or smallest; NaN wins."""
    here, combine = row_of(1), COMBINE[kind]

    def first_extreme(out, x):
        first, step, _ = here()
        inner = out.shape[1]
        for row in range(first, out.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            best = 0
            for j in range(1, x.shape[1]):
                number = x[i, best, k]
                if number == number and combine(number, x[i, j, k]) != number:
                    best = j
            out[i, k] = best

    return first_extreme


def _launch(function: Any, call: Call, lanes: int) -> list[CudaLaunch]:
    call.op.infer(*call.inputs)  # a free axis may turn out empty
    outer, middle, inner = _split(call)
    if outer * inner == 0:
        return []
    out = View(call.output_buffers[0], (outer, inner), call.outputs[0].dtype)
    x = View(call.input_buffers[0], (outer, middle, inner), call.inputs[0].dtype)
    return [over_rows(function, [out, x], outer * inner, lanes)]


def _split(call: Call) -> tuple[int, int, int]:
    return split_axes(call.inputs[0].sizes, call.op.axes)
