"""Batch normalisation (Ioffe and Szegedy, 2015): each channel at mean 0 and variance 1 over the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.cpu import batch_normalization as cpu_kernels
from bigmodel_core.kernels.cuda import batch_normalization as cuda_kernels
from bigmodel_core.ops.channel_sum import ChannelSum
from bigmodel_core.ops.functions import sqrt
from bigmodel_core.ops.images import CHANNELS_FIRST, ImageOp
from bigmodel_core.ops.shape import reshape
from bigmodel_core.ops.sizes import size_of


@dataclass(frozen=True)
class _Norm(ImageOp):
    epsilon: float = 1e-5

    def checked(self, x: Spec, *vectors: Spec) -> Spec:
        """The spec of one number for each channel."""
        row = x.with_shape((self.sizes(x)[1],))
        if any(spec.dtype != x.dtype for spec in vectors):
            raise DtypeError(f"BatchNorm needs operands of the same float type, {x.dtype} as its input.")
        if any(spec.shape != row.shape for spec in vectors):
            raise ShapeError(
                f"BatchNorm of {format_shape(x.shape)} needs vectors of {format_shape(row.shape)}, got"
                f" {' and '.join(format_shape(spec.shape) for spec in vectors)}."
            )
        return row

    def column(self, vector: Value) -> Value:
        """A number for each channel, as it is broadcast over images."""
        return reshape(vector, (-1, 1, 1)) if self.layout == CHANNELS_FIRST else vector


class BatchNorm(_Norm):
    """Images (N, C, H, W) normalised by the batch's own moments, times scale (C,) plus shift (C,).

    Outputs: y, and the mean and the (biased) variance of each channel, which have no gradient; for the
    gradient what the mean's rounding left out.

    Args:
        epsilon: added to the variance.

    Raises:
        ShapeError: before a run, there is only one number for each channel.
    """

    cpu = cpu_kernels.batch_norm
    cuda = cuda_kernels.batch_norm

    def infer(self, x: Spec, scale: Spec, shift: Spec) -> tuple[Spec, Spec, Spec, Spec]:
        row = self.checked(x, scale, shift)
        return x, row, row, row

    def grad(self, dy: Any, y: Any, x: Value, scale: Value, shift: Value) -> tuple[Value, Value, Value]:
        op = _BatchNormGrad(self.epsilon, layout=self.layout)
        return op(dy[0], x, y[1], y[3], y[2], scale)

    def onnx(self, emit: Any, x: Any, scale: Any, shift: Any) -> Any:
        mean = emit.reduce("ReduceMean", x, (0, 2, 3), True)
        apart = emit.Sub(x, mean)
        variance = emit.reduce("ReduceMean", emit.Mul(apart, apart), (0, 2, 3), True)
        normal = emit.Div(apart, emit.Sqrt(emit.Add(variance, emit.const(self.epsilon))))
        column = emit.ints((-1, 1, 1))
        y = emit.Add(emit.Mul(normal, emit.Reshape(scale, column)), emit.Reshape(shift, column))
        flat = emit.ints((-1,))
        return y, emit.Reshape(mean, flat), emit.Reshape(variance, flat), None


class _BatchNormGrad(_Norm):
    image_inputs: ClassVar[tuple[int, ...]] = (0, 1)
    exported: ClassVar[bool] = False
    cpu = cpu_kernels.batch_norm_gradient
    cuda = cuda_kernels.batch_norm_gradient

    def infer(self, dy: Spec, x: Spec, *vectors: Spec) -> tuple[Spec, Spec, Spec]:
        row = self.checked(x, *vectors)
        return x, row, row

    def decomposed(self, *inputs: Value) -> tuple[Value, Value, Value]:
        """The moments are taken of x anew: what depends on them is differentiated for x."""
        dy, x, _, _, _, scale = inputs
        column, added = self.column, ChannelSum(layout=self.layout)
        count = size_of(x, (0, 2, 3) if self.layout == CHANNELS_FIRST else (0, 1, 2), x.dtype)
        apart = x - column(added(x) / count)
        apart = apart - column(added(apart) / count)  # what rounding left of a large mean
        rate = column(1.0 / sqrt(added(apart * apart) / count + self.epsilon))
        normal = apart * rate
        dscale, dshift = added(dy * normal), added(dy)
        dx = column(scale) * rate * (dy - column(dshift / count) - normal * column(dscale / count))
        return dx, dscale, dshift


class FixedNorm(_Norm):
    """Images (N, C, H, W) normalised by given moments: (x - mean) / sqrt(variance + epsilon) * scale + shift.

    Args:
        epsilon: added to the variance.

    It has no kernels: a difference, a product and a sum may run on the tiles of a convolution.
    """

    def infer(self, x: Spec, scale: Spec, shift: Spec, mean: Spec, variance: Spec) -> Spec:
        self.checked(x, scale, shift, mean, variance)
        return x

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        x, scale, shift, mean, variance = inputs
        slope = KnownMoments(self.epsilon)(variance, scale)
        return ((x - self.column(mean)) * self.column(slope) + self.column(shift),)

    def grad(
        self, dy: Value, y: Value, x: Value, scale: Value, shift: Value, mean: Value, variance: Value
    ) -> tuple[Value | None, ...]:
        """The moments are taken as constants."""
        column = self.column
        rate = 1.0 / sqrt(variance + self.epsilon)
        added = ChannelSum(layout=self.layout)
        dscale = added(dy * ((x - column(mean)) * column(rate)))
        return dy * column(rate * scale), dscale, added(dy), None, None

    def onnx(self, emit: Any, x: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
        return emit.BatchNormalization(x, scale, shift, mean, variance, epsilon=self.epsilon)


@dataclass(frozen=True)
class KnownMoments(Op):
    """The slope (C,) of a normalisation by given moments as (x - mean) * slope + shift.

    The mean is subtracted first: as x * slope + offset, two large numbers would cancel.

    Args:
        epsilon: added to the variance.

    Plans compute it before everything that is large, so that what it is for can follow a convolution's tiles.
    """

    epsilon: float
    exported: ClassVar[bool] = False
    comes_early: ClassVar[bool] = True
    cpu = cpu_kernels.known_moments
    cuda = cuda_kernels.known_moments

    def infer(self, variance: Spec, scale: Spec) -> Spec:
        return variance

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        variance, scale = inputs
        return (scale / sqrt(variance + self.epsilon),)


def batch_norm(x: Value, scale: Value, shift: Value, epsilon: float = 1e-5) -> tuple[Value, Value, Value]:
    """Images (N, C, H, W), each channel at mean 0 and variance 1 over the batch, times scale plus shift (C,).

    Returns:
        The images, and the mean and biased variance of each channel (C,), which are not differentiated.
    """
    return BatchNorm(epsilon)(x, scale, shift)[:3]


def fixed_norm(
    x: Value, scale: Value, shift: Value, mean: Value, variance: Value, epsilon: float = 1e-5
) -> Value:
    """Images (N, C, H, W) normalised by given moments (C,), which are not differentiated."""
    return FixedNorm(epsilon)(x, scale, shift, mean, variance)


__all__ = ["batch_norm", "fixed_norm"]
