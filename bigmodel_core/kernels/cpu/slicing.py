"""Slices on the CPU."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.borders import bordered
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.padding import padded
from bigmodel_core.kernels.cpu.strided import copy_strided, put_strided


def _place(op: Any, whole: Spec, part: Spec) -> dict[str, Any]:
    first, strides = views.sliced(op, whole)
    return {"first": first, "sizes": part.sizes, "strides": tuple(strides)}


def spread(out, dy, first, sizes, strides):
    """out (all,): zero but where element (i..., j) of dy (rows, last) was taken."""
    for i in range(out.shape[0]):
        out[i] = 0
    put_strided(out, dy, first, sizes, strides)


slice_ = kernel(
    copy_strided,
    views=lambda op, i, o: ([views.matrix(o[0])], [views.vector(i[0])]),
    extras=lambda op, i, o: _place(op, i[0], o[0]),
)
_spread = kernel(
    spread,
    views=lambda op, i, o: ([views.vector(o[0])], [views.matrix(i[0])]),
    extras=lambda op, i, o: _place(op.forward(), o[0], i[0]),
)


@cpu_launches
def slice_grad(call: Call) -> list[CpuLaunch]:
    """Numbers written to where they were taken: with a border of zeros, if they were neighbours."""
    op, whole, part = call.op.forward(), call.outputs[0], call.inputs[0]
    if op.step != 1:
        return list(_spread.launches(call))
    op.infer(whole)
    first = op.bound_start(whole)
    widths = [(0, 0)] * len(whole.sizes)
    widths[op.axis] = first, whole.sizes[op.axis] - first - part.sizes[op.axis]
    return padded(call, bordered(part.sizes, widths))
