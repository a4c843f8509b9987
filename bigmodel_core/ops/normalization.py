"""Layer normalisation, forward and backward in one pass over each row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.kernels.array import kernel
from bigmodel_core.kernels.cuda.kernels import CudaLaunches
from bigmodel_core.ops.reduce import reduce_to
from bigmodel_core.spec import Spec, format_shape


def layer_norm_rows(out, mean, rate, x, scale, shift, epsilon, start, stop):  # type: ignore[no-untyped-def]
    """out, x (rows, n); mean, rate (rows,): the row's mean and 1 / standard deviation; scale, shift (n,)."""
    n = x.shape[1]
    for i in range(start, stop):
        total = 0.0
        for j in range(n):
            total += x[i, j]
        center = total / n
        spread = 0.0
        for j in range(n):
            spread += (x[i, j] - center) * (x[i, j] - center)
        steep = 1.0 / (spread / n + epsilon) ** 0.5
        mean[i] = center
        rate[i] = steep
        m = mean[i]
        r = rate[i]
        for j in range(n):
            out[i, j] = (x[i, j] - m) * r * scale[j] + shift[j]


def layer_norm_grad_rows(out, dy, x, mean, rate, scale, start, stop):  # type: ignore[no-untyped-def]
    n = x.shape[1]
    for i in range(start, stop):
        m = mean[i]
        r = rate[i]
        plain = 0.0
        weighted = 0.0
        for j in range(n):
            g = dy[i, j] * scale[j]
            plain += g
            weighted += g * ((x[i, j] - m) * r)
        a = plain / n
        b = weighted / n
        for j in range(n):
            out[i, j] = r * (dy[i, j] * scale[j] - a - (x[i, j] - m) * r * b)


def _matrix(spec: Spec) -> tuple[int, int]:
    return math.prod(spec.shape[:-1]), spec.shape[-1]  # type: ignore[arg-type,return-value]


def _vector(spec: Spec) -> tuple[int]:
    return (math.prod(spec.shape),)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _LayerNormGrad(Op):
    cpu = kernel(
        layer_norm_grad_rows,
        views=lambda op, i, o: (
            [_matrix(o[0])],
            [_matrix(i[0]), _matrix(i[1]), *(_vector(s) for s in i[2:])],
        ),
        cost=4,
    )
    cuda = CudaLaunches("normalization:layer_norm_grad")

    def infer(self, dy: Spec, x: Spec, mean: Spec, rate: Spec, scale: Spec) -> Spec:
        return x


@dataclass(frozen=True)
class LayerNorm(Op):
    """Each row of the last axis shifted to mean 0 and variance 1, then scaled and shifted (Ba et al., 2016).

    Outputs: y, and for the gradient the mean and 1 / standard deviation of each row.

    Args:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-5
    cpu = kernel(
        layer_norm_rows,
        views=lambda op, i, o: (
            [_matrix(o[0]), _vector(o[1]), _vector(o[2])],
            [_matrix(i[0]), _vector(i[1]), _vector(i[2])],
        ),
        cost=4,
    )
    cuda = CudaLaunches("normalization:layer_norm")

    def infer(self, x: Spec, scale: Spec, shift: Spec) -> tuple[Spec, Spec, Spec]:
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
        return x, row, row

    def grad(self, dy: Any, y: Any, x: Value, scale: Value, shift: Value) -> tuple[Value, Value, Value]:
        from bigmodel_core.ops.shape import reshape

        mean, rate = y[1], y[2]
        dx = _LayerNormGrad()(dy[0], x, mean, rate, scale)
        column = (*mean.shape, 1)
        normal = (x - reshape(mean, column)) * reshape(rate, column)
        return dx, reduce_to(dy[0] * normal, scale.shape), reduce_to(dy[0], shift.shape)

    def onnx(self, emit: Any, x: Any, scale: Any, shift: Any) -> Any:
        if emit.opset >= 17:
            return emit.LayerNormalization(x, scale, shift, axis=-1, epsilon=self.epsilon), None, None
        center = emit.Sub(x, emit.reduce("ReduceMean", x, (-1,), True))
        variance = emit.reduce("ReduceMean", emit.Mul(center, center), (-1,), True)
        steady = emit.Sqrt(emit.Add(variance, emit.const(self.epsilon)))
        return emit.Add(emit.Mul(emit.Div(center, steady), scale), shift), None, None


def layer_norm(x: Value, scale: Value, shift: Value, epsilon: float = 1e-5) -> Value:
    """Each row of the last axis shifted to mean 0 and variance 1, then times `scale` plus `shift`."""
    return LayerNorm(epsilon)(x, scale, shift)[0]  # type: ignore[no-any-return]
