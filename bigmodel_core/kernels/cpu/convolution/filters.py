"""Filters in the order in which the direct convolution reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch


def arrange_filters(out, weight, start, stop):
    """out (taps, channels of a group, filters) from weight (filters, channels of a group, taps)."""
    for tap in range(start, stop):
        for c in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[tap, c, k] = weight[k, c, tap]


def arrange_panels(out, weight, start, stop):
    """out (panels, taps * channels, width) from weight (filters, channels, taps); zeros fill the last."""
    for panel in range(start, stop):
        for tap in range(weight.shape[2]):
            for c in range(weight.shape[1]):
                row = tap * weight.shape[1] + c
                for j in range(out.shape[2]):
                    k = panel * out.shape[2] + j
                    out[panel, row, j] = weight[k, c, tap] if k < weight.shape[0] else 0


def flip_filters(out, weight, start, stop):
    """out (taps reversed, filters of a group, channels) from weight (filters, channels of a group, taps)."""
    taps = out.shape[0]
    of_group = weight.shape[1]
    for tap in range(start, stop):
        for k in range(out.shape[1]):
            for c in range(out.shape[2]):
                group = c // of_group
                out[tap, k, c] = weight[group * out.shape[1] + k, c - group * of_group, taps - 1 - tap]


def arranged(call: Call) -> tuple[CpuBuffer, list[CpuLaunch]]:
    """Filters (taps, channels of a group, filters) of a convolution, and what writes them."""
    filters, channels, down, across = call.inputs[1].sizes
    return _written(call, arrange_filters, (down * across, channels, filters))


def in_panels(call: Call, width: int) -> tuple[CpuBuffer, list[CpuLaunch]]:
    """Filters in panels (taps * channels, width) of a convolution without groups, and what writes them."""
    filters, channels, down, across = call.inputs[1].sizes
    return _written(call, arrange_panels, (-(-filters // width), down * across * channels, width))


def flipped(call: Call) -> tuple[CpuBuffer, list[CpuLaunch]]:
    """Filters (taps reversed, filters of a group, channels) of a transpose, and what writes them."""
    filters, channels, down, across = call.inputs[1].sizes
    groups = call.op.groups
    return _written(call, flip_filters, (down * across, filters // groups, channels * groups))


def _written(call: Call, function: Any, shape: tuple[int, int, int]) -> tuple[CpuBuffer, list[CpuLaunch]]:
    weight = call.input(1)
    filters, channels, down, across = weight.spec.sizes
    made = call.temporary(shape, weight.spec.dtype)
    launches = call.launch(kernel(function), [made], [weight.reshape(filters, channels, down * across)])
    return made.buffer, [replace(launch, makes=(made.buffer,)) for launch in launches]
