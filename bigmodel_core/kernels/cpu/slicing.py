"""Slices on the CPU."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.cpu.engine.kernels import kernel
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
slice_grad = kernel(
    spread,
    views=lambda op, i, o: ([views.vector(o[0])], [views.matrix(i[0])]),
    extras=lambda op, i, o: _place(op.forward(), o[0], i[0]),
)
