"""Softmax, log-softmax and cross-entropy on a CUDA device: a thread or a block for each row."""

from __future__ import annotations

import functools
from math import exp, log
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, lanes_for, over_rows
from bigmodel_core.kernels.cuda.groups import combined, row_of
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.views import ignored, matrix, split_axes


def _along_axis(call: Call, make: Any) -> list[CudaLaunch]:
    outer, middle, inner = split_axes(call.inputs[0].sizes, (call.op.axis,))
    if outer * middle * inner == 0:
        return []
    lanes = lanes_for(middle) if inner == 1 else 1
    arrays = [
        View(buffer, (outer, middle, inner), call.dtype)
        for buffer in (*call.output_buffers, *call.input_buffers)
    ]
    return [over_rows(make(call.dtype, lanes), arrays, outer * inner, lanes)]


@cuda_launches
def softmax(call: Call) -> list[CudaLaunch]:
    """exp(x) / sum(exp(x)) along an axis."""
    return _along_axis(call, softmax_rows)


@cuda_launches
def softmax_grad(call: Call) -> list[CudaLaunch]:
    """The gradient of softmax, from dy and y."""
    return _along_axis(call, softmax_grad_rows)


@cuda_launches
def log_softmax(call: Call) -> list[CudaLaunch]:
    """The logarithm of softmax along an axis."""
    return _along_axis(call, log_softmax_rows)


@cuda_launches
def log_softmax_grad(call: Call) -> list[CudaLaunch]:
    """The gradient of log-softmax, from dy and y."""
    return _along_axis(call, log_softmax_grad_rows)


@functools.cache
def softmax_rows(dtype: str, lanes: int) -> Any:
    """out, x (outer, middle, inner)."""
    zero, here = DTYPES[dtype].scalar(0), row_of(lanes)
    top_of, total_of = combined("max", dtype, lanes), combined("sum", dtype, lanes)

    def softmax_rows(out, x):
        first, step, lane = here()
        n, inner = x.shape[1], x.shape[2]
        for row in range(first, x.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            top = x[i, min(lane, n - 1), k]
            for j in range(lane + lanes, n, lanes):
                top = max(top, x[i, j, k])
            top = top_of(top, lane)
            total = zero
            for j in range(lane, n, lanes):
                e = exp(x[i, j, k] - top)
                out[i, j, k] = e
                total += e
            total = total_of(total, lane)
            for j in range(lane, n, lanes):
                out[i, j, k] = out[i, j, k] / total

    return softmax_rows


@functools.cache
def softmax_grad_rows(dtype: str, lanes: int) -> Any:
    """out, dy, y (outer, middle, inner)."""
    zero, here, total_of = DTYPES[dtype].scalar(0), row_of(lanes), combined("sum", dtype, lanes)

    def softmax_grad_rows(out, dy, y):
        first, step, lane = here()
        n, inner = y.shape[1], y.shape[2]
        for row in range(first, y.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            total = zero
            for j in range(lane, n, lanes):
                total += dy[i, j, k] * y[i, j, k]
            total = total_of(total, lane)
            for j in range(lane, n, lanes):
                out[i, j, k] = y[i, j, k] * (dy[i, j, k] - total)

    return softmax_grad_rows


@functools.cache
def log_softmax_rows(dtype: str, lanes: int) -> Any:
    """out, x (outer, middle, inner)."""
    log_sum = _log_sum(dtype, lanes)
    here = row_of(lanes)

    def log_softmax_rows(out, x):
        first, step, lane = here()
        n, inner = x.shape[1], x.shape[2]
        for row in range(first, x.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            shift = log_sum(x, i, k, lane)
            for j in range(lane, n, lanes):
                out[i, j, k] = x[i, j, k] - shift

    return log_softmax_rows


@functools.cache
def _log_sum(dtype: str, lanes: int) -> Any:
    """log(sum(exp(x[i, :, k]))), the largest number taken out first."""
    zero = DTYPES[dtype].scalar(0)
    top_of, total_of = combined("max", dtype, lanes), combined("sum", dtype, lanes)

    def log_sum(x, i, k, lane):
        n = x.shape[1]
        top = x[i, min(lane, n - 1), k]
        for j in range(lane + lanes, n, lanes):
            top = max(top, x[i, j, k])
        top = top_of(top, lane)
        total = zero
        for j in range(lane, n, lanes):
            total += exp(x[i, j, k] - top)
        return top + log(total_of(total, lane))

    return log_sum


@functools.cache
def log_softmax_grad_rows(dtype: str, lanes: int) -> Any:
    """out, dy, y (outer, middle, inner)."""
    zero, here, total_of = DTYPES[dtype].scalar(0), row_of(lanes), combined("sum", dtype, lanes)

    def log_softmax_grad_rows(out, dy, y):
        first, step, lane = here()
        n, inner = y.shape[1], y.shape[2]
        for row in range(first, y.shape[0] * inner, step):
            i = row // inner
            k = row % inner
            total = zero
            for j in range(lane, n, lanes):
                total += dy[i, j, k]
            total = total_of(total, lane)
            for j in range(lane, n, lanes):
                out[i, j, k] = dy[i, j, k] - exp(y[i, j, k]) * total

    return log_softmax_grad_rows


# Cross-entropy -------------------------------------------------------------------------------------------


@cuda_launches
def cross_entropy(call: Call) -> list[CudaLaunch]:
    """-log softmax(x)[label] for each row, and log(sum(exp(x)))."""
    (x, labels), dtype = call.inputs, call.dtype
    rows, classes = matrix(x)
    if rows == 0:
        return []
    lanes = lanes_for(classes)
    loss, shift = (View(buffer, (rows,), dtype) for buffer in call.output_buffers)
    arguments = [
        loss,
        shift,
        View(call.input_buffers[0], (rows, classes, 1), dtype),
        View(call.input_buffers[1], (rows,), labels.dtype),
        DTYPES[dtype].scalar(call.op.smoothing),
        *ignored(call.op).values(),
        call.status(View(call.input_buffers[1], (rows,), labels.dtype)),
    ]
    return [over_rows(cross_entropy_rows(dtype, lanes), arguments, rows, lanes)]


@functools.cache
def cross_entropy_rows(dtype: str, lanes: int) -> Any:
    """loss, shift (rows,), x (rows, classes, 1), labels (rows,)."""
    number = DTYPES[dtype].scalar
    zero, one, here = number(0), number(1), row_of(lanes)
    log_sum, total_of, wrong = _log_sum(dtype, lanes), combined("sum", dtype, lanes), codes.LABEL_OUT_OF_RANGE

    def cross_entropy_rows(loss, shift, x, labels, smoothing, skips, skipped, status):
        first, step, lane = here()
        classes = x.shape[1]
        for i in range(first, x.shape[0], step):
            log_total = log_sum(x, i, 0, lane)
            plain = zero
            if smoothing != zero:
                for j in range(lane, classes, lanes):
                    plain += x[i, j, 0]
            plain = total_of(plain, lane)
            if lane == 0:
                label = labels[i]
                if skips != 0 and label == skipped:
                    loss[i] = zero
                    shift[i] = zero
                elif label < 0 or label >= classes:
                    report(status, wrong, classes, i)
                    loss[i] = zero
                    shift[i] = zero
                else:
                    shift[i] = log_total
                    even = smoothing * plain / number(classes)
                    loss[i] = log_total - (one - smoothing) * x[i, label, 0] - even

    return cross_entropy_rows


@cuda_launches
def cross_entropy_grad(call: Call) -> list[CudaLaunch]:
    """The gradient with respect to the logits, from dy, x, labels and log(sum(exp(x)))."""
    _, x, labels, _ = call.inputs
    (rows, classes), dtype = matrix(x), call.dtype
    if rows * classes == 0:
        return []
    lanes = lanes_for(classes)
    dy, x_buffer, labels_buffer, shift = call.input_buffers
    arguments = [
        View(call.output_buffers[0], (rows, classes), dtype),
        View(dy, (rows,), dtype),
        View(x_buffer, (rows, classes), dtype),
        View(labels_buffer, (rows,), labels.dtype),
        View(shift, (rows,), dtype),
        DTYPES[dtype].scalar(call.op.smoothing),
        *ignored(call.op).values(),
    ]
    return [over_rows(cross_entropy_grad_rows(dtype, lanes), arguments, rows, lanes)]


@functools.cache
def cross_entropy_grad_rows(dtype: str, lanes: int) -> Any:
    """out, x (rows, classes), dy, labels, shift (rows,)."""
    number = DTYPES[dtype].scalar
    zero, one, here = number(0), number(1), row_of(lanes)

    def cross_entropy_grad_rows(out, dy, x, labels, shift, smoothing, skips, skipped):
        first, step, lane = here()
        classes = x.shape[1]
        for i in range(first, x.shape[0], step):
            scale = dy[i]
            log_total = shift[i]
            even = scale * smoothing / number(classes)
            label = labels[i]
            if skips != 0 and label == skipped:
                for j in range(lane, classes, lanes):
                    out[i, j] = zero
                continue
            for j in range(lane, classes, lanes):
                value = exp(x[i, j] - log_total) * scale - even
                if j == label:
                    value -= scale * (one - smoothing)
                out[i, j] = value

    return cross_entropy_grad_rows
