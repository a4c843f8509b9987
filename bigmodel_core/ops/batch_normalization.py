"""Batch normalisation (Ioffe and Szegedy, 2015): each channel at mean 0 and variance 1 over the batch.

Means and variances are found block by block of pixels, each block in two passes, and put together in float64;
neither large means nor many pixels cost digits. A mean goes along as two numbers, since the nearest float32
may be far from a mean of a million where numbers vary by a tenth; it is subtracted before anything is scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, ClassVar

from numpy import float64

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.array import Call, NativeKernel, kernel
from bigmodel_core.kernels.cpu.math import distance
from bigmodel_core.kernels.cpu.sums import Cut, cut_of
from bigmodel_core.ops.images import ImageOp


def block_moments(means, rests, spreads, x, block, start, stop):
    """means, rests, spreads (blocks, channels), x (pixels, channels): of each block the mean, what its
    rounding left out, and the sum of squared distances from it. Distances from the first pixel are added up.
    """
    for b in range(start, stop):
        first, last = b * block, min(x.shape[0], b * block + block)
        for c in range(x.shape[1]):
            means[b, c] = 0
            spreads[b, c] = 0
        for i in range(first, last):
            for c in range(x.shape[1]):
                means[b, c] += distance(x[i, c], x[first, c])
        for c in range(x.shape[1]):
            center = float64(x[first, c]) + means[b, c] / (last - first)
            means[b, c] = center
            rests[b, c] = center - means[b, c]
        for i in range(first, last):
            for c in range(x.shape[1]):
                spreads[b, c] += (x[i, c] - means[b, c]) * (x[i, c] - means[b, c])


def whole_moments(
    mean, variance, rest, slope, offset, means, rests, spreads, scale, shift, pixels, block, epsilon
):
    """All but means, rests, spreads (blocks, channels) are (channels,); mean + rest is the mean, and x
    normalised is (x - mean) * slope + offset."""
    for c in range(mean.shape[0]):
        total = 0.0
        for b in range(means.shape[0]):
            total += (float64(means[b, c]) + rests[b, c]) * float(min(block, pixels - b * block))
        center = total / pixels
        spread = 0.0
        for b in range(means.shape[0]):
            own = float64(rests[b, c])
            apart = float64(means[b, c]) + own - center
            spread += spreads[b, c] + (apart * apart - own * own) * float(min(block, pixels - b * block))
        if spread < 0:  # by rounding
            spread = 0.0
        steep = scale[c] / sqrt(spread / pixels + epsilon)
        mean[c] = center
        variance[c] = spread / pixels
        rest[c] = center - mean[c]
        slope[c] = steep
        offset[c] = shift[c] - (center - mean[c]) * steep


def known_moments(slope, variance, scale, epsilon):
    for c in range(slope.shape[0]):
        slope[c] = scale[c] / sqrt(variance[c] + epsilon)


def scale_channels(out, x, mean, slope, offset, start, stop):
    for i in range(start, stop):
        for c in range(out.shape[1]):
            out[i, c] = (x[i, c] - mean[c]) * slope[c] + offset[c]


def block_products(plain, weighted, dy, x, mean, block, start, stop):
    """plain, weighted (blocks, channels): the sums of dy, and of dy times the distance from the mean."""
    for b in range(start, stop):
        for c in range(x.shape[1]):
            plain[b, c] = 0
            weighted[b, c] = 0
        for i in range(b * block, min(x.shape[0], b * block + block)):
            for c in range(x.shape[1]):
                plain[b, c] += dy[i, c]
                weighted[b, c] += dy[i, c] * (x[i, c] - mean[c])


def whole_products(
    dscale, dshift, slope, tilt, offset, plain, weighted, rest, variance, scale, pixels, epsilon
):
    """dx is slope * dy + tilt * (x - mean) + offset, channel by channel."""
    for c in range(dscale.shape[0]):
        total = 0.0
        product = 0.0
        for b in range(plain.shape[0]):
            total += plain[b, c]
            product += weighted[b, c]
        product -= total * rest[c]
        rate = 1.0 / sqrt(variance[c] + epsilon)
        dscale[c] = product * rate
        dshift[c] = total
        slope[c] = scale[c] * rate
        tilt[c] = -(scale[c] * rate * rate * rate * product / pixels)
        offset[c] = -(scale[c] * rate * total / pixels) - tilt[c] * rest[c]


def batch_norm_dx(out, dy, x, mean, slope, tilt, offset, start, stop):
    for i in range(start, stop):
        for c in range(out.shape[1]):
            out[i, c] = slope[c] * dy[i, c] + (tilt[c] * (x[i, c] - mean[c]) + offset[c])


class _Memory:
    """The parts of a normalisation's launches: arrays of pixels x channels, blocks x channels, channels."""

    def __init__(self, call: Call, image: Spec, cut: Cut) -> None:
        if call.op.layout != "NHWC":
            raise ShapeError(f"{type(call.op).__name__} computes with channels last.", fix="use a Program.")
        n, height, width, self.channels = image.sizes
        self.call, self.pixels = call, n * height * width
        self.cut = cut
        self.blocks = max(1, -(-self.pixels // cut.block))
        self.size = 8 if call.dtype == "float64" else 4

    def vector(self) -> tuple[Spec, Any]:
        """Scratch memory of a number for each channel."""
        return Spec((self.channels,), self.call.dtype), self.call.scratch(self.channels * self.size)

    def launch(
        self,
        function: Any,
        outputs: list[Any],
        inputs: list[Any],
        cost: float = 1,
        rows: int | None = None,
        **extras: Any,
    ) -> list[Any]:
        """A launch over (spec, buffer) pairs, `rows` in a chunk; images are seen as (pixels, channels)."""
        views = [self.view(spec) for spec, _ in outputs], [self.view(spec) for spec, _ in inputs]
        part = replace(
            self.call,
            inputs=tuple(spec for spec, _ in inputs),
            input_buffers=tuple(buffer for _, buffer in inputs),
            outputs=tuple(spec for spec, _ in outputs),
            output_buffers=tuple(buffer for _, buffer in outputs),
        )
        return kernel(function, views=lambda *_: views, extras=lambda *_: extras, cost=cost).launches(
            part, rows
        )

    def view(self, spec: Spec) -> tuple[int, ...]:
        return (self.pixels, self.channels) if spec.ndim == 4 else spec.sizes

    def blocked(self) -> tuple[Spec, Any]:
        """Scratch memory of a row for each block."""
        spec = Spec((self.blocks, self.channels), self.call.dtype)
        return spec, self.call.scratch(self.blocks * self.channels * self.size)

    def tiled(self, launches: list[Any]) -> list[Any]:
        """The launches, the last one's chunks being tiles (rows of pixels, all channels) of the image."""
        for launch in launches:
            launch.tile = (int(launch.context[1]), self.channels)
        return launches


def _batch_norm_launches(call: Call, tile: tuple[int, int] | None = None) -> list[Any] | None:
    x, scale, shift = zip(call.inputs, call.input_buffers, strict=True)
    y, mean, variance, rest = zip(call.outputs, call.output_buffers, strict=True)
    cut = cut_of(tile, x[0].sizes[-1])
    if cut is None:
        return None
    m = _Memory(call, x[0], cut)
    if m.pixels == 1:
        raise ShapeError(
            f"the batch has one number for each of {m.channels} channels, which has no variance.",
            fix="train with batches of two samples or more, the last of an epoch too; or on larger images.",
        )
    means, rests, spreads, slope, offset = m.blocked(), m.blocked(), m.blocked(), m.vector(), m.vector()
    return [
        *m.launch(block_moments, [means, rests, spreads], [x], 2, cut.blocks_of_chunk, block=cut.block),
        *m.launch(
            whole_moments,
            [mean, variance, rest, slope, offset],
            [means, rests, spreads, scale, shift],
            pixels=m.pixels,
            block=cut.block,
        ),
        *m.tiled(m.launch(scale_channels, [y], [x, mean, slope, offset])),
    ]


def _batch_norm_grad_launches(call: Call, tile: tuple[int, int] | None = None) -> list[Any] | None:
    dy, x, mean, rest, variance, scale = zip(call.inputs, call.input_buffers, strict=True)
    dx, dscale, dshift = zip(call.outputs, call.output_buffers, strict=True)
    cut = cut_of(tile, x[0].sizes[-1])
    if cut is None:
        return None
    m = _Memory(call, x[0], cut)
    plain, weighted, slope, tilt, offset = m.blocked(), m.blocked(), m.vector(), m.vector(), m.vector()
    return [
        *m.launch(block_products, [plain, weighted], [dy, x, mean], 2, cut.blocks_of_chunk, block=cut.block),
        *m.launch(
            whole_products,
            [dscale, dshift, slope, tilt, offset],
            [plain, weighted, rest, variance, scale],
            pixels=m.pixels,
        ),
        *m.tiled(m.launch(batch_norm_dx, [dx], [dy, x, mean, slope, tilt, offset], 2)),
    ]


@dataclass(frozen=True)
class _Norm(ImageOp):
    epsilon: float = 1e-5
    writes_tiles: ClassVar[bool] = True

    def checked(self, x: Spec, *vectors: Spec) -> Spec:
        """The spec of one number for each channel."""
        row = x.with_shape((self.sizes(x)[1],))
        if any(spec.dtype != x.dtype for spec in vectors):
            raise DtypeError(f"BatchNorm needs operands of one float type, {x.dtype} as its input.")
        if any(spec.shape != row.shape for spec in vectors):
            raise ShapeError(
                f"BatchNorm of {format_shape(x.shape)} needs vectors of {format_shape(row.shape)}, got"
                f" {' and '.join(format_shape(spec.shape) for spec in vectors)}."
            )
        return row


@dataclass(frozen=True)
class BatchNorm(_Norm):
    """Images (N, C, H, W) normalised by the batch's own moments, times scale (C,) plus shift (C,).

    Outputs: y, and the mean and the (biased) variance of each channel, which have no gradient; for the
    gradient what the mean's rounding left out.

    Args:
        epsilon: added to the variance.

    Raises:
        ShapeError: before a run, there is only one number for each channel.
    """

    cpu = NativeKernel(_batch_norm_launches, behind=_batch_norm_launches, follows=0)

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


@dataclass(frozen=True)
class _BatchNormGrad(_Norm):
    image_inputs: ClassVar[tuple[int, ...]] = (0, 1)
    exported: ClassVar[bool] = False
    cpu = NativeKernel(_batch_norm_grad_launches, behind=_batch_norm_grad_launches, follows=0)

    def infer(self, dy: Spec, x: Spec, *vectors: Spec) -> tuple[Spec, Spec, Spec]:
        row = self.checked(x, *vectors)
        return x, row, row


@dataclass(frozen=True)
class FixedNorm(_Norm):
    """Images (N, C, H, W) normalised by given moments: (x - mean) / sqrt(variance + epsilon) * scale + shift.

    Args:
        epsilon: added to the variance.

    Plans compute it as a difference, a product and a sum (`KnownMoments`).
    """

    def infer(self, x: Spec, scale: Spec, shift: Spec, mean: Spec, variance: Spec) -> Spec:
        self.checked(x, scale, shift, mean, variance)
        return x

    def grad(
        self, dy: Value, y: Value, x: Value, scale: Value, shift: Value, mean: Value, variance: Value
    ) -> tuple[Value | None, ...]:
        """The moments are taken as constants."""
        from bigmodel_core.ops import sqrt as root
        from bigmodel_core.ops.convolution import ChannelSum
        from bigmodel_core.ops.shape import reshape

        def column(value: Value) -> Value:
            return reshape(value, (-1, 1, 1) if self.layout == "NCHW" else (-1,))

        rate = 1.0 / root(variance + self.epsilon)
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

    Plans compute it before all that is large, so that what it is for can follow a convolution's tiles.
    """

    epsilon: float
    exported: ClassVar[bool] = False
    comes_early: ClassVar[bool] = True
    cpu = kernel(known_moments, views=lambda op, i, o: ([s.sizes for s in o], [s.sizes for s in i]))

    def infer(self, variance: Spec, scale: Spec) -> Spec:
        return variance


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
