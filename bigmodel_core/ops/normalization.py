"""Layer normalisation and that by the root mean square, forward and backward in one pass over each row.

A mean goes along as two numbers, what float32 holds of it and the rest: rows far from 0 keep precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.cpu import normalization as cpu_kernels
from bigmodel_core.kernels.cuda import normalization as cuda_kernels
from bigmodel_core.ops.axes import Axes, normal_axes
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.functions import sqrt, square
from bigmodel_core.ops.reduce import mean, reduce_to
from bigmodel_core.ops.shape import reshape


@dataclass(frozen=True)
class _LayerNormGrad(Op):
    epsilon: float
    cpu = cpu_kernels.layer_norm_grad
    cuda = cuda_kernels.layer_norm_grad

    def infer(
        self, dy: Spec, x: Spec, mean: Spec, rate: Spec, rest: Spec, scale: Spec
    ) -> tuple[Spec, Spec, Spec]:
        return x, scale, scale

    def decomposed(self, *inputs: Value) -> tuple[Value, Value, Value]:
        """The moments are taken of x anew: what depends on them is differentiated for x."""
        dy, x, _, _, _, scale = inputs
        apart = _centered(_centered(x))  # the second time, what rounding left of a large mean
        rate = 1.0 / sqrt(mean(apart * apart, -1, keepdims=True) + self.epsilon)
        normal, slope = apart * rate, dy * scale
        dx = rate * (_centered(slope) - normal * mean(slope * normal, -1, keepdims=True))
        return dx, reduce_to(dy * normal, scale.shape), reduce_to(dy, scale.shape)


def _centered(x: Value) -> Value:
    return x - mean(x, -1, keepdims=True)


@dataclass(frozen=True)
class LayerNorm(Op):
    """Each row of the last axis shifted to mean 0 and variance 1, then scaled and shifted (Ba et al., 2016).

    Outputs: y, and for the gradient the mean and 1 / standard deviation of each row, and what the mean's
    rounding left out.

    Args:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-5
    cpu = cpu_kernels.layer_norm
    cuda = cuda_kernels.layer_norm

    def infer(self, x: Spec, scale: Spec, shift: Spec) -> tuple[Spec, Spec, Spec, Spec]:
        if not x.is_float or x.dtype != scale.dtype or x.dtype != shift.dtype:
            raise DtypeError(
                "LayerNorm needs operands of the same float type,"
                f" got {x.dtype}, {scale.dtype} and {shift.dtype}."
            )
        if x.ndim < 1 or scale.shape != x.shape[-1:] or shift.shape != x.shape[-1:]:
            raise ShapeError(
                f"LayerNorm needs a scale and a shift of {format_shape(x.shape[-1:])}, "
                f"got {format_shape(scale.shape)} and {format_shape(shift.shape)}."
            )
        row = x.with_shape(x.shape[:-1])
        return x, row, row, row

    def grad(self, dy: Any, y: Any, x: Value, scale: Value, shift: Value) -> tuple[Value, Value, Value]:
        return _LayerNormGrad(self.epsilon)(dy[0], x, *y[1:], scale)

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


# By the root mean square ------------------------------------------------------------------------------------


def _rate(x: Value, axes: Axes, epsilon: float) -> Value:
    return 1.0 / sqrt(mean(square(x), axes, keepdims=True) + epsilon)


@dataclass(frozen=True)
class _RmsNormGrad(Op):
    epsilon: float
    cpu = cpu_kernels.rms_norm_grad
    cuda = cuda_kernels.rms_norm_grad

    def infer(self, dy: Spec, x: Spec, rate: Spec, scale: Spec) -> tuple[Spec, Spec]:
        return x, scale

    def decomposed(self, *inputs: Value) -> tuple[Value, Value]:
        """The rate is taken of x anew: what depends on it is differentiated for x."""
        dy, x, _, scale = inputs
        rate = _rate(x, -1, self.epsilon)
        normal, slope = x * rate, dy * scale
        dx = rate * (slope - normal * mean(slope * normal, -1, keepdims=True))
        return dx, reduce_to(dy * normal, scale.shape)


@dataclass(frozen=True)
class RmsNorm(Op):
    """Each row of the last axis scaled to a mean square of 1, then scaled (Zhang and Sennrich, 2019).

    Outputs: y, and for the gradient 1 / root mean square of each row.

    Args:
        epsilon: added to the mean square.
    """

    epsilon: float = 1e-6
    cpu = cpu_kernels.rms_norm
    cuda = cuda_kernels.rms_norm

    def infer(self, x: Spec, scale: Spec) -> tuple[Spec, Spec]:
        return x, x.with_shape(x.shape[:-1])

    def grad(self, dy: Any, y: Any, x: Value, scale: Value) -> tuple[Value, Value]:
        return _RmsNormGrad(self.epsilon)(dy[0], x, y[1], scale)

    def onnx(self, emit: Any, x: Any, scale: Any) -> Any:
        if emit.opset >= 23:
            return emit.RMSNormalization(x, scale, axis=-1, epsilon=self.epsilon), None
        squares = emit.reduce("ReduceMean", emit.Pow(x, emit.const(2.0)), (-1,), True)
        root = emit.Sqrt(emit.Add(squares, emit.const(self.epsilon)))
        return emit.Mul(emit.Div(x, root), scale), None


def rms_norm(x: Value, weight: Value | None = None, axis: Axes = -1, epsilon: float = 1e-6) -> Value:
    """x / sqrt(mean(x ** 2) + epsilon) along an axis or several, then times `weight`.

    Args:
        x: floats of any shape.
        weight: of the sizes of x along these axes; 1 if None.
        axis: the last one by default.
        epsilon: added to the mean square.

    Raises:
        ShapeError: the weight has other sizes, an axis is out of range, or there is nothing along it.
        DtypeError: x is no float, or the weight has another type.
    """
    check_floats("rms_norm", x.spec)
    axes = normal_axes(axis, x.ndim)
    sizes = tuple(x.shape[along] for along in axes)
    if 0 in sizes or not axes:
        raise ShapeError(f"rms_norm along {axes} of {format_shape(x.shape)} has no numbers.")
    if weight is None:
        return x * _rate(x, axes, epsilon)
    if weight.dtype != x.dtype:
        raise DtypeError(f"rms_norm cannot mix {x.dtype} and {weight.dtype}.", fix="convert one side.")
    if weight.shape != sizes:
        raise ShapeError(
            f"rms_norm along {axes} of {format_shape(x.shape)} needs a weight of {format_shape(sizes)}, got"
            f" {format_shape(weight.shape)}."
        )
    if axes == (x.ndim - 1,):
        return RmsNorm(float(epsilon))(x, weight)[0]
    kept = tuple(size if along in axes else 1 for along, size in enumerate(x.shape))
    return x * _rate(x, axes, epsilon) * reshape(weight, kept)


__all__ = ["layer_norm", "rms_norm"]
