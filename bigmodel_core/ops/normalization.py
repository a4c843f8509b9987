"""Layer normalisation, forward and backward in one pass over each row.

A mean goes along as two numbers, what float32 holds of it and the rest: rows far from 0 keep their digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy import float64

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.array import kernel
from bigmodel_core.kernels.cuda.kernels import CudaLaunches
from bigmodel_core.ops.reduce import reduce_to


def layer_norm_rows(out, mean, rate, rest, x, scale, shift, epsilon, start, stop):
    """out, x (rows, n); mean + rest, rate (rows,): mean, 1 / standard deviation; scale, shift (n,)."""
    n = x.shape[1]
    for i in range(start, stop):
        total = 0.0
        for j in range(n):
            total += x[i, j]
        center = total / n
        spread = 0.0
        for j in range(n):
            apart = x[i, j] - center  # in float64
            spread += apart * apart
            out[i, j] = apart
        steep = 1.0 / (spread / n + epsilon) ** 0.5
        mean[i] = center
        rate[i] = steep
        rest[i] = center - mean[i]
        r = rate[i]
        for j in range(n):
            out[i, j] = out[i, j] * r * scale[j] + shift[j]


def layer_norm_grad_rows(out, normal, dy, x, mean, rate, rest, scale, start, stop):
    """out, normal (rows, n): the gradient of x, and its normalised numbers, which that of the scale needs."""
    n = x.shape[1]
    for i in range(start, stop):
        center = float64(mean[i]) + rest[i]
        r = rate[i]
        plain = 0.0
        weighted = 0.0
        for j in range(n):
            g = dy[i, j] * scale[j]
            apart = (x[i, j] - center) * r  # in float64
            normal[i, j] = apart
            plain += g
            weighted += g * apart
        a = plain / n
        b = weighted / n
        for j in range(n):
            out[i, j] = r * (dy[i, j] * scale[j] - a - normal[i, j] * b)


def _matrix(spec: Spec) -> tuple[int, int]:
    return math.prod(spec.shape[:-1]), spec.shape[-1]  # type: ignore[arg-type,return-value]  # a plan's sizes are integers


def _vector(spec: Spec) -> tuple[int]:
    return (math.prod(spec.shape),)  # type: ignore[arg-type]  # a plan's sizes are integers


@dataclass(frozen=True)
class _LayerNormGrad(Op):
    cpu = kernel(
        layer_norm_grad_rows,
        views=lambda op, i, o: (
            [_matrix(o[0]), _matrix(o[1])],
            [_matrix(i[0]), _matrix(i[1]), *(_vector(s) for s in i[2:])],
        ),
        cost=4,
    )
    cuda = CudaLaunches("normalization:layer_norm_grad")

    def infer(self, dy: Spec, x: Spec, mean: Spec, rate: Spec, rest: Spec, scale: Spec) -> tuple[Spec, Spec]:
        return x, x


@dataclass(frozen=True)
class LayerNorm(Op):
    """Each row of the last axis shifted to mean 0 and variance 1, then scaled and shifted (Ba et al., 2016).

    Outputs: y, and for the gradient the mean and 1 / standard deviation of each row, and what the mean's
    rounding left out.

    Args:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-5
    cpu = kernel(
        layer_norm_rows,
        views=lambda op, i, o: (
            [_matrix(o[0]), *(_vector(s) for s in o[1:])],
            [_matrix(i[0]), _vector(i[1]), _vector(i[2])],
        ),
        cost=4,
    )
    cuda = CudaLaunches("normalization:layer_norm")

    def infer(self, x: Spec, scale: Spec, shift: Spec) -> tuple[Spec, Spec, Spec, Spec]:
        if not x.is_float or x.dtype != scale.dtype or x.dtype != shift.dtype:
            raise DtypeError(
                f"LayerNorm needs operands of one float type, got {x.dtype}, {scale.dtype} and {shift.dtype}."
            )
        if x.ndim < 1 or scale.shape != x.shape[-1:] or shift.shape != x.shape[-1:]:
            raise ShapeError(
                f"LayerNorm needs a scale and a shift of {format_shape(x.shape[-1:])}, "
                f"got {format_shape(scale.shape)} and {format_shape(shift.shape)}."
            )
        row = x.with_shape(x.shape[:-1])
        return x, row, row, row

    def grad(self, dy: Any, y: Any, x: Value, scale: Value, shift: Value) -> tuple[Value, Value, Value]:
        dx, normal = _LayerNormGrad()(dy[0], x, *y[1:], scale)
        return dx, reduce_to(dy[0] * normal, scale.shape), reduce_to(dy[0], shift.shape)

    def onnx(self, emit: Any, x: Any, scale: Any, shift: Any) -> Any:
        if emit.opset >= 17:
            return emit.LayerNormalization(x, scale, shift, axis=-1, epsilon=self.epsilon), None, None, None
        center = emit.Sub(x, emit.reduce("ReduceMean", x, (-1,), True))
        variance = emit.reduce("ReduceMean", emit.Mul(center, center), (-1,), True)
        steady = emit.Sqrt(emit.Add(variance, emit.const(self.epsilon)))
        return emit.Add(emit.Mul(emit.Div(center, steady), scale), shift), None, None, None


def layer_norm(x: Value, scale: Value, shift: Value, epsilon: float = 1e-5) -> Value:
    """Each row of the last axis shifted to mean 0 and variance 1, then times `scale` plus `shift`."""
    return LayerNorm(epsilon)(x, scale, shift)[0]
