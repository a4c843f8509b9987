"""The error function, which files use if their opset has no Gelu."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.ops.elementwise import ElementwiseOp

_TWO_OVER_ROOT_PI = 1.1283791670955126


def _erf(x):  # type: ignore[no-untyped-def]  # Numba infers the types
    return erf(x)


def _erf_grad(dy, x):  # type: ignore[no-untyped-def]  # Numba infers the types
    return dy * _TWO_OVER_ROOT_PI * exp(-x * x)


@dataclass(frozen=True)
class _ErfGrad(ElementwiseOp):
    cpu, cuda = bm.elementwise(_erf_grad)

    def decomposed(self, *inputs: bm.Value) -> tuple[bm.Value]:
        dy, x = inputs
        return (dy * _TWO_OVER_ROOT_PI * ops.exp(-x * x),)


@dataclass(frozen=True)
class Erf(ElementwiseOp):
    """The error function."""

    floats_only = True
    cpu, cuda = bm.elementwise(_erf)

    def grad(self, dy: bm.Value, y: bm.Value, x: bm.Value) -> tuple[bm.Value]:
        return (_ErfGrad()(dy, x),)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Erf(x)
