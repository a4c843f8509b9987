"""Copies between an array and one with arbitrary strides, on a CUDA device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, flat, over_items


def copied(call: Call, first: int, strides: list[int]) -> list[CudaLaunch]:
    """The launch that fills the output from elements that are `strides` apart in the input."""
    shape = call.outputs[0].sizes
    count, dtype = math.prod(shape), call.outputs[0].dtype
    if count == 0:
        return []
    arguments = [
        flat(call.output_buffers[0], count, dtype),
        flat(call.input_buffers[0], math.prod(call.inputs[0].sizes), dtype),
        *place(first, shape, strides),
    ]
    return [over_items(wrapper(copy_strided, 2), arguments, count)]


def place(first: int, sizes: Any, strides: list[int]) -> list[Any]:
    """The arguments that locate the elements of a strided array."""
    return [
        np.int64(first),
        tuple(np.int64(size) for size in sizes),
        tuple(np.int64(stride) for stride in strides),
    ]


def copy_strided(out, x, first, sizes, strides, thread, threads):
    """out, x (all,): element (i, ...) of the output comes from first + sum(i * stride)."""
    for element in range(thread, out.shape[0], threads):
        out[element] = x[place_of(element, first, sizes, strides)]


def put_strided(out, dy, first, sizes, strides, thread, threads):
    """out, dy (all,): element (i, ...) of dy goes to first + sum(i * stride)."""
    for element in range(thread, dy.shape[0], threads):
        out[place_of(element, first, sizes, strides)] = dy[element]


def place_of(element, first, sizes, strides):
    """The offset of an element of a strided array."""
    at = first
    for axis in range(len(sizes) - 1, -1, -1):
        at += element % sizes[axis] * strides[axis]
        element = element // sizes[axis]
    return at
