"""Ops that plans add of their own: a check that a number is finite, and a copy into a variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bigmodel_core.graph import Op
from bigmodel_core.kernels.array import kernel
from bigmodel_core.kernels.cuda.kernels import CudaLaunches
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.spec import Spec


def check_finite(out, x, status):  # type: ignore[no-untyped-def]
    """out (1,), x (n,): sets the status where a number is NaN or infinite."""
    out[0] = 0
    for i in range(x.shape[0]):
        if x[i] - x[i] != 0:
            out[0] = 1
            if status[0] == 0:
                status[0] = 3


@dataclass(frozen=True)
class Guard(Op):
    """Stops the plan where a number is NaN or infinite."""

    is_guard: ClassVar[bool] = True
    cpu = kernel(check_finite, views=lambda op, i, o: ([(1,)], [(_size(i[0]),)]))
    cuda = CudaLaunches("status:check_finite")

    def infer(self, x: Spec) -> Spec:
        return Spec((), "int64")


def _size(spec: Spec) -> int:
    size = spec.size
    assert isinstance(size, int)
    return size


@dataclass(frozen=True)
class Copy(ElementwiseOp):
    """The same numbers in other memory."""

    cpu, cuda = elementwise(lambda x: x)
