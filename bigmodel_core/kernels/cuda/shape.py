"""Moving numbers on a CUDA device: transposing, slicing, concatenating, and their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cuda.array import wrapper
from bigmodel_core.kernels.cuda.launch import Buffer, Launch, View, flat, over_items


def transpose(call: Call) -> list[Launch]:
    """The axes in another order."""
    strides = _strides(call.inputs[0].sizes)
    return _copy(call, 0, [strides[axis] for axis in call.op.permutation])


def slice_(call: Call) -> list[Launch]:
    """Every so-many-th element along one axis."""
    return _copy(call, *_slice_place(call.op, call.inputs[0]))


def _slice_place(op: Any, whole: Spec) -> tuple[int, list[int]]:
    op.infer(whole)  # a free dimension may turn out too small for the slice
    strides = _strides(whole.sizes)
    first = op.bound_start(whole) * strides[op.axis]
    strides[op.axis] *= op.step
    return first, strides


def _copy(call: Call, first: int, strides: list[int]) -> list[Launch]:
    shape = call.outputs[0].sizes
    count, dtype = math.prod(shape), call.outputs[0].dtype
    if count == 0:
        return []
    arguments = [
        flat(call.output_buffers[0], count, dtype),
        flat(call.input_buffers[0], math.prod(call.inputs[0].sizes), dtype),
        *_place(first, shape, strides),
    ]
    return [over_items(_kernel(copy_strided, 2), arguments, count)]


def slice_grad(call: Call) -> list[Launch]:
    """Zeros, but where the slice was taken: there its gradient."""
    shape = call.inputs[0].sizes
    whole, count, dtype = math.prod(call.outputs[0].sizes), math.prod(shape), call.dtype
    if whole == 0:
        return []
    first, strides = _slice_place(call.op.forward(), call.outputs[0])
    out = flat(call.output_buffers[0], whole, dtype)
    launches = [zero(call.output_buffers[0], whole, dtype)]
    if count:
        arguments = [out, flat(call.input_buffers[0], count, dtype), *_place(first, shape, strides)]
        launches.append(over_items(_kernel(put_strided, 2), arguments, count))
    return launches


def concatenate(call: Call) -> list[Launch]:
    """Several arrays one after the other along an axis: each is copied to its columns."""
    axis, y = call.op.axis, call.outputs[0]
    shape = y.sizes
    rows, wide = math.prod(shape[:axis]), math.prod(shape[axis:])
    launches, offset = [], 0
    for spec, buffer in zip(call.inputs, call.input_buffers, strict=True):
        narrow = math.prod(spec.sizes[axis:])
        if rows * narrow:
            arguments = [
                View(call.output_buffers[0], (rows, wide), y.dtype),
                View(buffer, (rows, narrow), y.dtype),
                np.int64(offset),
            ]
            launches.append(over_items(_kernel(copy_columns, 2), arguments, rows * narrow))
        offset += narrow
    return launches


def size_of(call: Call) -> list[Launch]:
    """How many elements lie along some axes, as a number."""
    size = math.prod(call.inputs[0].sizes[axis] for axis in call.op.axes)
    out = call.outputs[0].dtype
    return [over_items(_kernel(fill, 1), [flat(call.output_buffers[0], 1, out), np.dtype(out).type(size)], 1)]


def zero(buffer: Buffer, count: int, dtype: str) -> Launch:
    """The launch that fills a buffer with zeros."""
    return over_items(_kernel(fill, 1), [flat(buffer, count, dtype), np.dtype(dtype).type(0)], count)


def _kernel(function: Any, arrays: int) -> Any:
    from bigmodel_core.kernels.scalar import parameters

    return wrapper(function, arrays, parameters(function)[arrays:])


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _place(first: int, sizes: Any, strides: list[int]) -> list[Any]:
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
    """Where an element of a strided array lies."""
    at = first
    for axis in range(len(sizes) - 1, -1, -1):
        at += element % sizes[axis] * strides[axis]
        element = element // sizes[axis]
    return at


def copy_columns(out, x, offset, thread, threads):
    """out (rows, wide), x (rows, narrow): the columns of x from `offset` on."""
    narrow = x.shape[1]
    for element in range(thread, x.shape[0] * narrow, threads):
        out[element // narrow, offset + element % narrow] = x[element // narrow, element % narrow]


def fill(out, value, thread, threads):
    """out (all,): one value everywhere."""
    for element in range(thread, out.shape[0], threads):
        out[element] = value
