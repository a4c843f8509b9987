"""Batch normalisation on the CPU, channels last.

Means and variances are found block by block of pixels, each block in two passes, and put together in float64;
neither large means nor many pixels cost digits. A mean goes along as two numbers, since the nearest float32
may be far from a mean of a million where numbers vary by a tenth; it is subtracted before anything is scaled.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

from numpy import float64

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.launch import CpuBuffer, CpuLaunch
from bigmodel_core.kernels.cpu.math import distance
from bigmodel_core.kernels.cpu.sums import Cut, cut_of

Part = tuple[Spec, CpuBuffer]
"""An array of a normalisation."""


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


def slope_of_moments(slope, variance, scale, epsilon):
    """All are (channels,)."""
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


class _Normalization:
    """The parts of a normalisation's launches: arrays of pixels x channels, blocks x channels, channels."""

    def __init__(self, call: Call, image: Spec, cut: Cut) -> None:
        if call.op.layout != "NHWC":
            raise ShapeError(f"{type(call.op).__name__} computes with channels last.", fix="use a Program.")
        n, height, width, self.channels = image.sizes
        self.call, self.pixels = call, n * height * width
        self.blocks = max(1, -(-self.pixels // cut.block))
        self.size = SIZES[call.dtype]

    def vector(self) -> Part:
        """Scratch memory of a number for each channel."""
        return Spec((self.channels,), self.call.dtype), self.call.scratch(self.channels * self.size)

    def launch(
        self,
        function: Any,
        outputs: list[Part],
        inputs: list[Part],
        cost: float = 1,
        rows: int | None = None,
        **extras: Any,
    ) -> list[CpuLaunch]:
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

    def blocked(self) -> Part:
        """Scratch memory of a row for each block."""
        spec = Spec((self.blocks, self.channels), self.call.dtype)
        return spec, self.call.scratch(self.blocks * self.channels * self.size)


def _batch_norm(call: Call, tile: tuple[int, int] | None = None) -> list[CpuLaunch] | None:
    x, scale, shift = zip(call.inputs, call.input_buffers, strict=True)
    y, mean, variance, rest = zip(call.outputs, call.output_buffers, strict=True)
    cut = cut_of(tile, x[0].sizes[-1])
    if cut is None:
        return None
    m = _Normalization(call, x[0], cut)
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
        *m.launch(scale_channels, [y], [x, mean, slope, offset]),
    ]


def _gradient(call: Call, tile: tuple[int, int] | None = None) -> list[CpuLaunch] | None:
    dy, x, mean, rest, variance, scale = zip(call.inputs, call.input_buffers, strict=True)
    dx, dscale, dshift = zip(call.outputs, call.output_buffers, strict=True)
    cut = cut_of(tile, x[0].sizes[-1])
    if cut is None:
        return None
    m = _Normalization(call, x[0], cut)
    plain, weighted, slope, tilt, offset = m.blocked(), m.blocked(), m.vector(), m.vector(), m.vector()
    return [
        *m.launch(block_products, [plain, weighted], [dy, x, mean], 2, cut.blocks_of_chunk, block=cut.block),
        *m.launch(
            whole_products,
            [dscale, dshift, slope, tilt, offset],
            [plain, weighted, rest, variance, scale],
            pixels=m.pixels,
        ),
        *m.launch(batch_norm_dx, [dx], [dy, x, mean, slope, tilt, offset], 2),
    ]


batch_norm = cpu_launches(writes_tiles=True, epilogue=_batch_norm, follows=0)(_batch_norm)
batch_norm_gradient = cpu_launches(writes_tiles=True, epilogue=_gradient, follows=0)(_gradient)
known_moments = kernel(slope_of_moments, views=lambda op, i, o: ([s.sizes for s in o], [s.sizes for s in i]))
