"""Losses on a CUDA device: the check of labels, and the hinge over classes, one thread per row."""

from __future__ import annotations

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, over_items
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.views import matrix, vector

WRONG = codes.LABEL_OUT_OF_RANGE


@cuda_launches
def label_numbers(call: Call) -> list[CudaLaunch]:
    """Integer labels as floats; those out of range are reported."""
    (labels,), (out,) = call.inputs, call.outputs
    (count,) = vector(labels)
    if count == 0:
        return []
    given = View(call.input_buffers[0], (count,), labels.dtype)
    arguments = [
        View(call.output_buffers[0], (count,), out.dtype),
        given,
        call.op.classes,
        call.status(given),
    ]
    return [over_items(wrapper(label_number_items, 2), arguments, count)]


def label_number_items(out, labels, classes, thread, threads, status):
    """out, labels (n,)."""
    for i in range(thread, out.shape[0], threads):
        label = labels[i]
        if label < 0 or label >= classes:
            report(status, WRONG, classes, i)
        out[i] = label


@cuda_launches
def hinge(call: Call) -> list[CudaLaunch]:
    """max(0, margin + best wrong score - right score) of each row, and which class is the best wrong one."""
    (x, labels), (loss, _) = call.inputs, call.outputs
    rows, classes = matrix(x)
    if rows == 0:
        return []
    given = View(call.input_buffers[1], (rows,), labels.dtype)
    arguments = [
        View(call.output_buffers[0], (rows,), loss.dtype),
        View(call.output_buffers[1], (rows,), "int64"),
        View(call.input_buffers[0], (rows, classes), x.dtype),
        given,
        DTYPES[x.dtype].scalar(call.op.margin),
        call.status(given),
    ]
    return [over_items(wrapper(hinge_rows, 4), arguments, rows)]


def hinge_rows(loss, rival, x, labels, margin, thread, threads, status):
    """loss, rival, labels (rows,), x (rows, classes)."""
    classes = x.shape[1]
    for i in range(thread, x.shape[0], threads):
        label = labels[i]
        loss[i] = 0
        rival[i] = -1
        if label < 0 or label >= classes:
            report(status, WRONG, classes, i)
        else:
            best = 0 if label != 0 else 1
            for j in range(best + 1, classes):
                if j != label and x[i, j] > x[i, best]:
                    best = j
            gap = margin + x[i, best] - x[i, label]
            if gap > 0 or gap != gap:
                loss[i] = gap
                rival[i] = best


@cuda_launches
def hinge_grad(call: Call) -> list[CudaLaunch]:
    """dy at the best wrong class, -dy at the right one, 0 elsewhere."""
    dy, labels, rival = call.inputs
    (rows, classes), dtype = matrix(call.outputs[0]), call.dtype
    if rows == 0:
        return []
    arguments = [
        View(call.output_buffers[0], (rows, classes), dtype),
        View(call.input_buffers[0], (rows,), dy.dtype),
        View(call.input_buffers[1], (rows,), labels.dtype),
        View(call.input_buffers[2], (rows,), rival.dtype),
    ]
    items = rows * classes
    return [over_items(wrapper(hinge_grad_items, 4), arguments, items)]


def hinge_grad_items(out, dy, labels, rival, thread, threads):
    """out (rows, classes), dy, labels, rival (rows,)."""
    classes = out.shape[1]
    for element in range(thread, out.shape[0] * classes, threads):
        i = element // classes
        j = element % classes
        out[i, j] = 0
        if rival[i] >= 0 and j == rival[i]:
            out[i, j] = dy[i]
        elif rival[i] >= 0 and j == labels[i]:
            out[i, j] = -dy[i]
