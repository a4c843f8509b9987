"""Ops that programs add of their own: the gate before all updates of variables, and a copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from bigmodel_core.graph import Op
from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.graph.spec import Dim, Spec, dim_value
from bigmodel_core.kernels.cpu import gate as cpu_kernels
from bigmodel_core.kernels.cuda import gate as cuda_kernels
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp


@dataclass(frozen=True)
class Bound:
    """What must be modest: a factor times the largest magnitude of each of some of a gate's inputs.

    Args:
        inputs: positions.
        factor: how many such products are added up, a size that may depend on the batch's.
    """

    inputs: tuple[int, ...]
    factor: Dim = 1


@dataclass(frozen=True)
class Gate(Op):
    """Stops the run if a number is NaN or infinite, or if that cannot be ruled out.

    Args:
        bounds: what is checked, in the order in which a failure is reported.
        exact: whether the inputs are all of them to know: then any finite number will do.
    """

    bounds: tuple[Bound, ...]
    exact: bool = False
    exported: ClassVar[bool] = False
    cpu = cpu_kernels.gate
    cuda = cuda_kernels.gate

    def infer(self, *values: Spec) -> Spec:
        return Spec((), "int64")

    def bind(self, sizes: Mapping[str, int]) -> Gate:
        """The gate at some sizes."""
        return replace(self, bounds=tuple(replace(c, factor=dim_value(c.factor, sizes)) for c in self.bounds))

    def limit(self, dtype: str) -> float:
        """What numbers of a type must be below."""
        return inf if self.exact else DTYPES[dtype].modest


class Copy(ElementwiseOp):
    """The same numbers in other memory."""

    exported: ClassVar[bool] = False
    cpu, cuda = elementwise(lambda x: x)
