"""Connectionist temporal classification on a CUDA device: a thread for each sample."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.alignments import backward, first_wrong, forward
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, flat, over_items
from bigmodel_core.kernels.cuda.status import report

LENGTH, TARGET_LENGTH = codes.LENGTH_OUT_OF_RANGE, codes.TARGET_LENGTH_OUT_OF_RANGE


@cuda_launches
def ctc_loss(call: Call) -> list[CudaLaunch]:
    """The loss of each sample, and what its gradient needs; first of all, lengths and labels are checked."""
    x, targets, _, _ = call.inputs
    (samples, most, classes), labels = x.sizes, targets.sizes[1]
    if samples == 0:
        return []
    number = DTYPES[x.dtype].scalar
    given = [
        View(buffer, spec.sizes, spec.dtype)
        for buffer, spec in zip(call.input_buffers, call.inputs, strict=True)
    ]
    launches = [
        over_items(
            wrapper(check_lengths, 1),
            [lengths, np.int64(code), np.int64(limit), call.status(lengths)],
            samples,
        )
        for lengths, code, limit in ((given[2], LENGTH, most), (given[3], TARGET_LENGTH, labels))
    ]
    status = call.status(flat(call.input_buffers[1], samples * labels, targets.dtype))
    blank = np.int64(call.op.blank)
    launches.append(
        over_items(wrapper(check_labels, 2), [*given[1::2], blank, np.int64(classes), status], samples)
    )
    outputs = [
        View(buffer, spec.sizes, x.dtype)
        for buffer, spec in zip(call.output_buffers, call.outputs, strict=True)
    ]
    numbers = [blank, call.op.zero_infinity, number(0), number(-math.inf)]
    return [*launches, over_items(wrapper(align_samples, 6), [*outputs, *given, *numbers], samples)]


def check_lengths(lengths, code, limit, thread, threads, status):
    """lengths (N,)."""
    for i in range(thread, lengths.shape[0], threads):
        if lengths[i] < 0 or lengths[i] > limit:
            report(status, code, limit, i)


def check_labels(targets, counts, blank, classes, thread, threads, status):
    """targets (N, L), counts (N,): the first wrong label of all that count is reported."""
    labels = targets.shape[1]
    for i in range(thread, targets.shape[0], threads):
        if 0 <= counts[i] <= labels:
            wrong = first_wrong(targets[i], counts[i], blank, classes)
            if wrong >= 0:
                is_blank = targets[i, wrong] == blank
                code = codes.TARGET_IS_BLANK if is_blank else codes.TARGET_OUT_OF_RANGE
                report(status, code, classes, i * labels + wrong)


def is_right(x, targets, steps, counts, i, blank):
    """Whether a sample can be computed."""
    if not (0 <= steps[i] <= x.shape[1] and 0 <= counts[i] <= targets.shape[1]):
        return False
    return first_wrong(targets[i], counts[i], blank, x.shape[2]) < 0


def align_samples(
    loss, paths, x, targets, steps, counts, blank, zero_infinity, nothing, never, thread, threads
):
    """loss (N,), paths (N, T, 2 L + 1), x (N, T, C), targets (N, L), steps and counts (N,)."""
    for i in range(thread, x.shape[0], threads):
        loss[i] = nothing
        if is_right(x, targets, steps, counts, i, blank):
            labels, count, total = targets[i], counts[i], nothing
            found = forward(paths[i], x[i], labels, steps[i], count, blank, nothing, never, total)
            if found != never or not zero_infinity:
                loss[i] = -found


@cuda_launches
def ctc_loss_grad(call: Call) -> list[CudaLaunch]:
    """The gradient of the logarithms of chances."""
    samples, _, states = call.inputs[5].sizes
    if samples == 0:
        return []
    number = DTYPES[call.dtype].scalar
    rows = call.temporary((samples, 3, states))
    arguments = [
        View(operand.buffer, operand.spec.sizes, operand.spec.dtype)
        for operand in (call.output(0), *(call.input(place) for place in range(6)), rows)
    ]
    numbers = [np.int64(call.op.blank), call.op.zero_infinity, number(0), number(-math.inf)]
    return [over_items(wrapper(align_grad_samples, 8), [*arguments, *numbers], samples)]


def align_grad_samples(
    out, dy, x, targets, steps, counts, paths, rows, blank, zero_infinity, nothing, never, thread, threads
):
    """out, x (N, T, C), dy (N,). rows (N, 3, 2 L + 1) is scratch."""
    for i in range(thread, x.shape[0], threads):
        if is_right(x, targets, steps, counts, i, blank):
            here, way, more, count, is_zero = out[i], paths[i], rows[i], counts[i], zero_infinity
            labels, total = targets[i], steps[i]
            backward(here, dy[i], x[i], labels, total, count, way, more, blank, is_zero, nothing, never)
