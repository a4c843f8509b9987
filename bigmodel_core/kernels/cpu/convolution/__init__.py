"""Convolutions on the CPU, their transposes and gradients: the first algorithm that fits the shape.

`docs/design/0008-convolution-algorithms.md` says which algorithms there are, and why. The module of one is
imported when it may be chosen.
"""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.convolution.geometry import filter_chunks, geometry_of
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.gemm.microkernel import tile_columns
from bigmodel_core.kernels.matrix_product import MatrixProduct


def _all_inputs(op: Any, *inputs: Spec) -> tuple[int, ...]:
    return tuple(range(len(inputs)))


@cpu_launches(writes_tiles=True, over_reads=_all_inputs)
def conv2d(call: Call) -> list[CpuLaunch]:
    from bigmodel_core.kernels.cpu.convolution import depthwise, direct, few_filters, winograd
    from bigmodel_core.kernels.cpu.convolution.filters import arranged, in_panels

    filters, channels, *taps = call.inputs[1].sizes
    g = geometry_of(call.op, call.inputs[0], call.outputs[0], taps)
    call.op.infer(*call.inputs)  # a free dimension may turn out too small for the filter
    x, weight, *rest = call.input_buffers
    bias, y = rest[0] if rest else None, call.output_buffers[0]
    if g.is_product:
        product = MatrixProduct(g.n * g.height * g.width, filters, channels, g.dtype, transpose_b=True)
        return gemm.launches(product, x, weight, y, bias, call.scratch, keeps_b=1 in call.unchanging)
    if depthwise.fits(g):
        return depthwise.convolve(g, x, weight, bias, y, call.scratch)
    if winograd.fits(g, is_kept=1 in call.unchanging):
        return winograd.convolve(g, x, weight, bias, y, call.scratch, turned=False)
    if few_filters.fits(g):
        return few_filters.convolve(g, x, weight, bias, y, call.scratch)
    width = tile_columns(g.dtype)
    shares = filter_chunks(g, width)
    memory, launches = in_panels(call, width) if shares[0] else arranged(call)
    return [*launches, *direct.convolve(g, x, memory, bias, y, call.scratch, shares=shares)]


@cpu_launches(writes_tiles=True, over_reads=_all_inputs)
def conv_transpose2d(call: Call) -> list[CpuLaunch]:
    """If no other algorithm fits, a convolution of pixels spread by the stride, with flipped filters."""
    from bigmodel_core.kernels.cpu.convolution import depthwise, direct, transposed, winograd
    from bigmodel_core.kernels.cpu.convolution.filters import flipped

    filters, channels, *taps = call.inputs[1].sizes
    g = geometry_of(call.op, call.outputs[0], call.inputs[0], taps)
    x, weight, *rest = call.input_buffers
    bias, y = rest[0] if rest else None, call.output_buffers[0]
    if g.is_product:
        product = MatrixProduct(g.n * g.height * g.width, channels, filters, g.dtype)
        return gemm.launches(product, x, weight, y, bias, call.scratch, keeps_b=1 in call.unchanging)
    if depthwise.fits(g):
        return depthwise.transposed(g, x, weight, bias, y, call.scratch)
    if winograd.fits(g.turned, is_kept=1 in call.unchanging):
        return winograd.convolve(g.turned, x, weight, bias, y, call.scratch, turned=True)
    if transposed.fits(g):
        return transposed.transposed(g, x, weight, bias, y, call.scratch)
    memory, launches = flipped(call)
    return [*launches, *direct.convolve(g.turned, x, memory, bias, y, call.scratch)]


@cpu_launches(over_reads=_all_inputs)
def conv2d_weight_gradient(call: Call) -> list[CpuLaunch]:
    from bigmodel_core.kernels.cpu.convolution import (
        depthwise,
        depthwise_gradient,
        direct_gradient,
        few_filters,
        winograd,
        winograd_gradient,
    )

    x, dy = call.input_buffers
    (dw,) = call.output_buffers
    g = geometry_of(call.op, call.inputs[0], call.inputs[1], call.op.taps)
    if g.is_product:
        product = MatrixProduct(g.filters, g.channels, g.n * g.height * g.width, g.dtype, transpose_a=True)
        return gemm.launches(product, dy, x, dw, None, call.scratch)
    if depthwise.fits(g):
        return depthwise_gradient.weight_gradient(g, x, dy, dw, call.scratch)
    if winograd.fits(g):
        return winograd_gradient.weight_gradient(g, x, dy, dw, call.scratch)
    if few_filters.fits(g):
        return few_filters.weight_gradient(g, x, dy, dw, call.scratch)
    return direct_gradient.weight_gradient(g, x, dy, dw, call.scratch)


@cpu_launches(over_reads=_all_inputs)
def conv3d(call: Call) -> list[CpuLaunch]:
    from bigmodel_core.kernels.cpu.convolution import volumes

    return volumes.convolve(call, conv2d)


@cpu_launches(over_reads=_all_inputs)
def conv_transpose3d(call: Call) -> list[CpuLaunch]:
    from bigmodel_core.kernels.cpu.convolution import volumes

    return volumes.transposed(call, conv_transpose2d)


@cpu_launches(over_reads=_all_inputs)
def conv3d_weight_gradient(call: Call) -> list[CpuLaunch]:
    from bigmodel_core.kernels.cpu.convolution import volumes

    return volumes.weight_gradient(call, conv2d_weight_gradient)
