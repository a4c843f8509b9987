"""Which way a convolution, its transpose and its gradient go on the CPU: the first that fits the shape.

`docs/design/0008-ways-of-convolution.md` says which ways there are, and why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.array import Call, kernel
from bigmodel_core.kernels.matrix_product import MatrixProduct
from bigmodel_core.ops.images import ImageOp


def arrange_filters(out, weight, groups, start, stop):
    """out (taps, channels of a group, filters) from weight (filters, channels of a group, taps)."""
    for tap in range(start, stop):
        for c in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[tap, c, k] = weight[k, c, tap]


def flip_filters(out, weight, groups, start, stop):
    """out (taps reversed, filters of a group, channels) from weight (filters, channels of a group, taps)."""
    taps = out.shape[0]
    of_group = weight.shape[1]
    for tap in range(start, stop):
        for k in range(out.shape[1]):
            for c in range(out.shape[2]):
                group = c // of_group
                out[tap, k, c] = weight[group * out.shape[1] + k, c - group * of_group, taps - 1 - tap]


def _arranged(call: Call, function: Any, shape: tuple[int, int, int]) -> tuple[Any, list[Any]]:
    """Memory for the filters in the order that the kernel reads, and the launches that fill it."""
    weight = call.inputs[1]
    filters, channels, height, width = weight.sizes
    count = filters * channels * height * width
    memory = call.scratch(count * (8 if weight.dtype == "float64" else 4))
    part = replace(
        call,
        inputs=(weight,),
        input_buffers=(call.input_buffers[1],),
        outputs=(Spec(shape, weight.dtype),),
        output_buffers=(memory,),
    )
    views = kernel(function, views=lambda *_: ([shape], [(filters, channels, height * width)]))
    return memory, views.launches(part) if count else []


def _require_channels_last(op: ImageOp) -> None:
    if op.layout != "NHWC":
        raise ShapeError(f"{type(op).__name__} computes with channels last.", fix="run it in a Program.")


def _geometry(op: Any, x: Spec, y: Spec, taps: Any) -> Any:
    """The geometry of the convolution from x to y, both channels last."""
    from bigmodel_core.kernels.cpu.convolution import Geometry

    n, height, width, channels = x.sizes
    _, out_height, out_width, filters = y.sizes
    return Geometry(
        *(n, height, width, channels, out_height, out_width, filters, taps),
        *(op.stride, op.dilation, op.border[:2], (1, 1), op.groups, x.dtype),
    )


def _is_product(g: Any) -> bool:
    """Whether the convolution is a matrix product over all pixels."""
    same = (g.out_height, g.out_width) == (g.height, g.width)
    return bool(g.taps == (1, 1) and g.stride == (1, 1) and g.groups == 1 and g.border == (0, 0) and same)


def convolve_launches(call: Call) -> list[Any]:
    """The launches of a `Conv2d`."""
    from bigmodel_core.kernels.cpu import convolution, depthwise, few_filters, gemm, winograd

    _require_channels_last(call.op)
    call.op.infer(*call.inputs)  # a free dimension may turn out too small for the filter
    filters, channels, *taps = call.inputs[1].sizes
    g = _geometry(call.op, call.inputs[0], call.outputs[0], tuple(taps))
    x, weight, *rest = call.input_buffers
    bias, y = rest[0] if rest else None, call.output_buffers[0]
    if _is_product(g):
        product = MatrixProduct(g.n * g.height * g.width, filters, channels, g.dtype, transpose_b=True)
        return gemm.launches(product, x, weight, y, bias, call.scratch)
    if depthwise.fits(g):
        return depthwise.convolve(g, x, weight, bias, y, call.scratch)
    if winograd.fits(g):
        return winograd.convolve(g, x, weight, bias, y, call.scratch, turned=False)
    if few_filters.fits(g):
        return few_filters.convolve(g, x, weight, bias, y, call.scratch)
    memory, launches = _arranged(call, arrange_filters, (taps[0] * taps[1], channels, filters))
    return [*launches, *convolution.convolve(g, x, memory, bias, y, call.scratch)]


def transposed_launches(call: Call) -> list[Any]:
    """The launches of a `ConvTranspose2d`: where no other way fits, a convolution of pixels spread by the
    stride, with flipped filters."""
    from bigmodel_core.kernels.cpu import convolution, depthwise, gemm, transposed, winograd

    op = call.op
    _require_channels_last(op)
    filters, channels, *taps = call.inputs[1].sizes
    g = _geometry(op, call.outputs[0], call.inputs[0], tuple(taps))
    x, weight, *rest = call.input_buffers
    bias, y = rest[0] if rest else None, call.output_buffers[0]
    if _is_product(g):
        product = MatrixProduct(g.n * g.height * g.width, channels, filters, g.dtype)
        return gemm.launches(product, x, weight, y, bias, call.scratch)
    if depthwise.fits(g):
        return depthwise.transposed(g, x, weight, bias, y, call.scratch)
    turned = replace(
        g,
        height=g.out_height,
        width=g.out_width,
        channels=g.filters,
        out_height=g.height,
        out_width=g.width,
        filters=g.channels,
        stride=(1, 1),
        border=(g.span[0] - 1 - g.border[0], g.span[1] - 1 - g.border[1]),
        spread=g.stride,
    )
    if winograd.fits(turned):
        return winograd.convolve(turned, x, weight, bias, y, call.scratch, turned=True)
    if transposed.fits(g):
        return transposed.transposed(g, x, weight, bias, y, call.scratch)
    shape = (taps[0] * taps[1], filters // op.groups, channels * op.groups)
    memory, launches = _arranged(call, flip_filters, shape)
    return [*launches, *convolution.convolve(turned, x, memory, bias, y, call.scratch)]


def weight_gradient_launches(call: Call) -> list[Any]:
    """The launches of a `Conv2dWeightGrad`."""
    from bigmodel_core.kernels.cpu import (
        convolution_gradient,
        depthwise,
        few_filters,
        gemm,
        winograd,
        winograd_gradient,
    )

    _require_channels_last(call.op)
    x, dy = call.input_buffers
    g = _geometry(call.op, call.inputs[0], call.inputs[1], call.op.taps)
    if _is_product(g):
        product = MatrixProduct(g.filters, g.channels, g.n * g.height * g.width, g.dtype, transpose_a=True)
        return gemm.launches(product, dy, x, call.output_buffers[0], None, call.scratch)
    if depthwise.fits(g):
        return depthwise.weight_gradient(g, x, dy, call.output_buffers[0], call.scratch)
    if winograd.fits(g):
        return winograd_gradient.weight_gradient(g, x, dy, call.output_buffers[0], call.scratch)
    if few_filters.fits(g):
        return few_filters.weight_gradient(g, x, dy, call.output_buffers[0], call.scratch)
    return convolution_gradient.weight_gradient(g, x, dy, call.output_buffers[0], call.scratch)
