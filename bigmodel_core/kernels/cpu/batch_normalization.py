"""Batch normalisation on the CPU, channels last.

Means and variances are found block by block of pixels, each block in two passes, and put together in float64;
neither large means nor many pixels cost digits. A mean goes along as two numbers, since the nearest float32
may be far from a mean of a million where numbers vary by a tenth; it is subtracted before anything is scaled.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from numpy import float64

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cpu.engine.kernels import ArrayKernel, cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.math import distance
from bigmodel_core.kernels.cpu.sums import Cut, cut_of
from bigmodel_core.kernels.views import require_channels_last, require_variance


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


def _pixels(images: Operand) -> Operand:
    """Images with channels last as (pixels, channels)."""
    n, height, width, channels = images.spec.sizes
    return images.reshape(n * height * width, channels)


def _blocks(function: Any, cut: Cut) -> ArrayKernel:
    """A kernel that leaves a row for each block of pixels."""
    return ArrayKernel(function, cost=2, rows=cut.blocks_of_chunk)


def _batch_norm(call: Call, tile: tuple[int, int] | None = None) -> list[CpuLaunch] | None:
    x, scale, shift = (call.input(number) for number in range(3))
    y, mean, variance, rest = (call.output(number) for number in range(4))
    require_channels_last(call.op)
    x, y = _pixels(x), _pixels(y)
    pixels, channels = x.spec.sizes
    cut = cut_of(tile, channels)
    if cut is None:
        return None
    require_variance(pixels, channels)
    blocks = max(1, -(-pixels // cut.block))
    means, rests, spreads = (call.temporary((blocks, channels)) for _ in range(3))
    slope, offset = (call.temporary((channels,)) for _ in range(2))
    made, given = [mean, variance, rest, slope, offset], [means, rests, spreads, scale, shift]
    return [
        *call.launch(_blocks(block_moments, cut), [means, rests, spreads], [x], block=cut.block),
        *call.launch(kernel(whole_moments), made, given, pixels=pixels, block=cut.block),
        *call.launch(kernel(scale_channels), [y], [x, mean, slope, offset]),
    ]


def _gradient(call: Call, tile: tuple[int, int] | None = None) -> list[CpuLaunch] | None:
    dy, x, mean, rest, variance, scale = (call.input(number) for number in range(6))
    dx, dscale, dshift = (call.output(number) for number in range(3))
    require_channels_last(call.op)
    dy, x, dx = _pixels(dy), _pixels(x), _pixels(dx)
    pixels, channels = x.spec.sizes
    cut = cut_of(tile, channels)
    if cut is None:
        return None
    blocks = max(1, -(-pixels // cut.block))
    plain, weighted = (call.temporary((blocks, channels)) for _ in range(2))
    slope, tilt, offset = (call.temporary((channels,)) for _ in range(3))
    made, given = [dscale, dshift, slope, tilt, offset], [plain, weighted, rest, variance, scale]
    return [
        *call.launch(_blocks(block_products, cut), [plain, weighted], [dy, x, mean], block=cut.block),
        *call.launch(kernel(whole_products), made, given, pixels=pixels),
        *call.launch(kernel(batch_norm_dx, cost=2), [dx], [dy, x, mean, slope, tilt, offset]),
    ]


batch_norm = cpu_launches(writes_tiles=True, epilogue=_batch_norm, follows=0)(_batch_norm)
batch_norm_gradient = cpu_launches(writes_tiles=True, epilogue=_gradient, follows=0)(_gradient)
known_moments = kernel(slope_of_moments)
