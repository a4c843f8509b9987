"""Slices and concatenations on the CPU."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.strided import copy_strided, put_strided


def _place(op: Any, whole: Spec, part: Spec) -> dict[str, Any]:
    first, strides = views.sliced(op, whole)
    return {"first": first, "sizes": part.sizes, "strides": tuple(strides)}


def copy_columns(out, x, offset, start, stop):
    """out (rows, wide), x (rows, narrow): the columns of x from `offset` on."""
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, offset + j] = x[i, j]


@cpu_launches
def concatenate(call: Call) -> list[CpuLaunch]:
    axis, shape = call.op.axis, call.outputs[0].sizes
    rows, wide = math.prod(shape[:axis]), math.prod(shape[axis:])
    launches: list[CpuLaunch] = []
    offset = 0
    for spec, buffer in zip(call.inputs, call.input_buffers, strict=True):
        narrow, at = math.prod(spec.sizes[axis:]), offset
        copy = kernel(
            copy_columns,
            views=lambda *_, narrow=narrow: ([(rows, wide)], [(rows, narrow)]),
            extras=lambda *_, at=at: {"offset": at},
        )
        launches += (
            copy.launches(replace(call, inputs=(spec,), input_buffers=(buffer,))) if rows * narrow else []
        )
        offset += narrow
    return launches


slice_ = kernel(
    copy_strided,
    views=lambda op, i, o: ([views.matrix(o[0])], [views.vector(i[0])]),
    extras=lambda op, i, o: _place(op, i[0], o[0]),
)
slice_grad = kernel(
    put_strided,
    views=lambda op, i, o: ([views.vector(o[0])], [views.matrix(i[0])]),
    extras=lambda op, i, o: _place(op.forward(), o[0], i[0]),
)
