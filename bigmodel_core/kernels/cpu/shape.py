"""Axes in another order, on the CPU."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import views
from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.cpu.strided import copy_strided


def _permuted(op: Any, x: Spec, y: Spec) -> dict[str, Any]:
    strides = views.strides(x.sizes)
    return {"first": 0, "sizes": y.sizes, "strides": tuple(strides[axis] for axis in op.permutation)}


transpose = kernel(
    copy_strided,
    views=lambda op, i, o: ([views.matrix(o[0])], [views.vector(i[0])]),
    extras=lambda op, i, o: _permuted(op, i[0], o[0]),
)
