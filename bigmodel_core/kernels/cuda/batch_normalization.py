"""Batch normalisation on a CUDA device: moments of pieces of each channel, put together in a fixed order.

Distances from a piece's first number are added up, and a mean goes along as two numbers, so that channels far
from 0 keep precision; nothing is computed in float64 unless the images are.
"""

from __future__ import annotations

import functools
from math import sqrt
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel, cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, lanes_for, over_rows, sizes
from bigmodel_core.kernels.cuda.groups import combined, row_of
from bigmodel_core.kernels.cuda.places import on_line
from bigmodel_core.kernels.views import channels as by_channels
from bigmodel_core.kernels.views import require_variance


@cuda_launches
def batch_norm(call: Call) -> list[CudaLaunch]:
    """y, and the mean, the variance and the rest of the mean of each channel."""
    x, scale, shift = (call.input(number) for number in range(3))
    y, mean, variance, rest = (call.output(number) for number in range(4))
    x, y = _apart(call, x), _apart(call, y)
    pixels, pieces, channels = _cut(x)
    require_variance(pixels, channels)
    means, rests, spreads = (call.temporary((channels, pieces)) for _ in range(3))
    slope, offset = (call.temporary((channels,)) for _ in range(2))
    whole = cuda_kernel(whole_moments)
    made, given = [mean, variance, rest, slope, offset], [means, rests, spreads, scale, shift]
    return [
        *_of_pieces(piece_moments, [means, rests, spreads], [x]),
        *call.launch(whole, made, given, pixels=pixels, piece=sizes().row_piece),
        *call.launch(cuda_kernel(scale_channels), [y], [x, mean, slope, offset]),
    ]


@cuda_launches
def batch_norm_gradient(call: Call) -> list[CudaLaunch]:
    """The gradients of x, scale and shift, from dy, x, what `batch_norm` found, and scale."""
    dy, x, mean, rest, variance, scale = (call.input(number) for number in range(6))
    dx, dscale, dshift = (call.output(number) for number in range(3))
    dy, x, dx = (_apart(call, images) for images in (dy, x, dx))
    pixels, pieces, channels = _cut(x)
    plain, weighted = (call.temporary((channels, pieces)) for _ in range(2))
    slope, tilt, offset = (call.temporary((channels,)) for _ in range(3))
    whole = cuda_kernel(whole_products)
    made, given = [dscale, dshift, slope, tilt, offset], [plain, weighted, rest, variance, scale]
    return [
        *_of_pieces(piece_products, [plain, weighted], [dy, x, mean]),
        *call.launch(whole, made, given, pixels=pixels),
        *call.launch(cuda_kernel(batch_norm_dx), [dx], [dy, x, mean, slope, tilt, offset]),
    ]


def _apart(call: Call, images: Operand) -> Operand:
    """Images as (outer, channels, inner)."""
    return images.reshape(*by_channels(call.op, images.spec))


def _cut(x: Operand) -> tuple[int, int, int]:
    """The numbers of a channel, the pieces they are cut into, and the channels."""
    outer, channels, inner = x.spec.sizes
    return outer * inner, -(-outer * inner // sizes().row_piece), channels


def _of_pieces(make: Any, outputs: list[Operand], inputs: list[Operand]) -> list[CudaLaunch]:
    """The launch that gives a thread, or a block, to each piece of each channel."""
    channels, pieces = outputs[0].spec.sizes
    if channels * pieces == 0:
        return []
    outer, _, inner = inputs[0].spec.sizes
    piece = sizes().row_piece
    lanes = lanes_for(min(piece, outer * inner))
    operands = (*outputs, *inputs)
    arrays = [View(operand.buffer, operand.spec.sizes, operand.spec.dtype) for operand in operands]
    function = make(inputs[0].spec.dtype, lanes)
    return [over_rows(function, [*arrays, np.int64(piece)], channels * pieces, lanes)]


@functools.cache
def piece_moments(dtype: str, lanes: int) -> Any:
    """means, rests, spreads (channels, pieces), x (outer, channels, inner): of each piece the mean, what its
    rounding left out, and the sum of squared distances from it."""
    number = DTYPES[dtype].scalar
    zero, here, total_of = number(0), row_of(lanes), combined("sum", dtype, lanes)

    def piece_moments(means, rests, spreads, x, piece):
        first, step, lane = here()
        inner, pieces = x.shape[2], means.shape[1]
        for row in range(first, means.shape[0] * pieces, step):
            c = row // pieces
            start = row % pieces * piece
            stop = min(x.shape[0] * inner, start + piece)
            begin = x[start // inner, c, start % inner]
            total = zero
            for t in range(start + lane, stop, lanes):
                total += x[t // inner, c, t % inner] - begin
            apart = total_of(total, lane) / number(stop - start)
            center = begin + apart
            low = begin - center + apart
            spread = zero
            for t in range(start + lane, stop, lanes):
                distance = x[t // inner, c, t % inner] - center - low
                spread += distance * distance
            spread = total_of(spread, lane)
            if lane == 0:
                means[c, row % pieces] = center
                rests[c, row % pieces] = low
                spreads[c, row % pieces] = spread

    return piece_moments


def whole_moments(
    mean, variance, rest, slope, offset, means, rests, spreads, scale, shift,
    pixels, piece, epsilon, thread, threads,
):  # fmt: skip
    """All but means, rests, spreads (channels, pieces) are (channels,); mean + rest is the mean, and x
    normalised is (x - mean) * slope + offset."""
    for c in range(thread, mean.shape[0], threads):
        count, zero = mean.dtype.type(pixels), mean.dtype.type(0)
        begin = means[c, 0] if pixels > 0 else zero
        total = zero
        for p in range(means.shape[1]):
            own = mean.dtype.type(min(piece, pixels - p * piece))
            total += (means[c, p] - begin + rests[c, p]) * own
        apart = total / count
        center = begin + apart
        low = begin - center + apart
        spread = zero
        for p in range(means.shape[1]):
            own = mean.dtype.type(min(piece, pixels - p * piece))
            distance = means[c, p] - center + rests[c, p] - low
            spread += spreads[c, p] + distance * distance * own
        steep = scale[c] / sqrt(spread / count + epsilon)
        mean[c] = center
        variance[c] = spread / count
        rest[c] = low
        slope[c] = steep
        offset[c] = shift[c] - low * steep


def scale_channels(out, x, mean, slope, offset, thread, threads):
    """out, x (outer, channels, inner)."""
    for element in range(thread, x.size, threads):
        i, c, u = on_line(element, x.shape)
        out[i, c, u] = (x[i, c, u] - mean[c]) * slope[c] + offset[c]


@functools.cache
def piece_products(dtype: str, lanes: int) -> Any:
    """plain, weighted (channels, pieces), dy, x (outer, channels, inner): the sums of dy, and of dy times the
    distance from the mean."""
    number = DTYPES[dtype].scalar
    zero, here, total_of = number(0), row_of(lanes), combined("sum", dtype, lanes)

    def piece_products(plain, weighted, dy, x, mean, piece):
        first, step, lane = here()
        inner, pieces = x.shape[2], plain.shape[1]
        for row in range(first, plain.shape[0] * pieces, step):
            c = row // pieces
            start = row % pieces * piece
            total = zero
            product = zero
            for t in range(start + lane, min(x.shape[0] * inner, start + piece), lanes):
                g = dy[t // inner, c, t % inner]
                total += g
                product += g * (x[t // inner, c, t % inner] - mean[c])
            total = total_of(total, lane)
            product = total_of(product, lane)
            if lane == 0:
                plain[c, row % pieces] = total
                weighted[c, row % pieces] = product

    return piece_products


def whole_products(
    dscale, dshift, slope, tilt, offset, plain, weighted, rest, variance, scale,
    pixels, epsilon, thread, threads,
):  # fmt: skip
    """All but plain, weighted (channels, pieces) are (channels,); dx is slope * dy + tilt * (x - mean) +
    offset."""
    for c in range(thread, dscale.shape[0], threads):
        total = dscale.dtype.type(0)
        product = dscale.dtype.type(0)
        for p in range(plain.shape[1]):
            total += plain[c, p]
            product += weighted[c, p]
        product -= total * rest[c]
        count = dscale.dtype.type(pixels)
        rate = dscale.dtype.type(1) / sqrt(variance[c] + epsilon)
        dscale[c] = product * rate
        dshift[c] = total
        slope[c] = scale[c] * rate
        tilt[c] = -(scale[c] * rate * rate * rate * product / count)
        offset[c] = -(scale[c] * rate * total / count) - tilt[c] * rest[c]


def batch_norm_dx(out, dy, x, mean, slope, tilt, offset, thread, threads):
    """out, dy, x (outer, channels, inner)."""
    for element in range(thread, x.size, threads):
        i, c, u = on_line(element, x.shape)
        out[i, c, u] = slope[c] * dy[i, c, u] + (tilt[c] * (x[i, c, u] - mean[c]) + offset[c])


def slope_of_moments(slope, variance, scale, epsilon, thread, threads):
    """All are (channels,)."""
    for c in range(thread, slope.shape[0], threads):
        slope[c] = scale[c] / sqrt(variance[c] + epsilon)


known_moments = cuda_kernel(slope_of_moments)
