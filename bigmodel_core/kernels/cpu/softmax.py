"""Softmax, log-softmax and cross-entropy on the CPU: a row in a few passes, while it is in the cache."""

from __future__ import annotations

from math import exp, log
from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.extremes import larger
from bigmodel_core.kernels.status import LABEL_OUT_OF_RANGE
from bigmodel_core.kernels.views import ignored, matrix, split_axes, vector


def _rows(op: Any, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...]) -> tuple[list[Any], list[Any]]:
    view = split_axes(inputs[0].sizes, (op.axis,))
    return [view] * len(outputs), [view] * len(inputs)


def softmax_rows(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            top = x[i, 0, k]
            for j in range(1, x.shape[1]):
                top = larger(top, x[i, j, k])
            total = top - top
            for j in range(x.shape[1]):
                e = exp(x[i, j, k] - top)
                out[i, j, k] = e
                total += e
            for j in range(x.shape[1]):
                out[i, j, k] /= total


def softmax_grad_rows(out, dy, y, start, stop):
    for i in range(start, stop):
        for k in range(y.shape[2]):
            total = 0.0
            for j in range(y.shape[1]):
                total += dy[i, j, k] * y[i, j, k]
            for j in range(y.shape[1]):
                out[i, j, k] = y[i, j, k] * (dy[i, j, k] - total)


def log_softmax_rows(out, x, start, stop):
    for i in range(start, stop):
        for k in range(x.shape[2]):
            top = x[i, 0, k]
            for j in range(1, x.shape[1]):
                top = larger(top, x[i, j, k])
            total = top - top
            for j in range(x.shape[1]):
                total += exp(x[i, j, k] - top)
            shift = top + log(total)
            for j in range(x.shape[1]):
                out[i, j, k] = x[i, j, k] - shift


def log_softmax_grad_rows(out, dy, y, start, stop):
    for i in range(start, stop):
        for k in range(y.shape[2]):
            total = dy[i, 0, k]
            for j in range(1, y.shape[1]):
                total += dy[i, j, k]
            for j in range(y.shape[1]):
                out[i, j, k] = dy[i, j, k] - exp(y[i, j, k]) * total


softmax = kernel(softmax_rows, views=_rows, cost=8)
softmax_grad = kernel(softmax_grad_rows, views=_rows, cost=2)
log_softmax = kernel(log_softmax_rows, views=_rows, cost=8)
log_softmax_grad = kernel(log_softmax_grad_rows, views=_rows, cost=8)


# Cross-entropy -------------------------------------------------------------------------------------------


def cross_entropy_rows(loss, shift, x, labels, smoothing, skips, skipped, start, stop, status):
    """loss (rows,): -log softmax(x)[label]; shift (rows,): log(sum(exp(x))), which the gradient needs
    again."""
    classes = x.shape[1]
    for i in range(start, stop):
        label = labels[i]
        if skips != 0 and label == skipped:
            loss[i] = 0
            shift[i] = 0
            continue
        if label < 0 or label >= classes:
            report(status, LABEL_OUT_OF_RANGE, label, classes, i)
            loss[i] = 0
            shift[i] = 0
            continue
        top = x[i, 0]
        for j in range(1, classes):
            top = larger(top, x[i, j])
        total = top - top
        for j in range(classes):
            total += exp(x[i, j] - top)
        log_sum = top + log(total)
        shift[i] = log_sum
        if smoothing == 0:
            loss[i] = log_sum - x[i, label]
        else:
            plain = x[i, 0]
            for j in range(1, classes):
                plain += x[i, j]
            loss[i] = log_sum - (1 - smoothing) * x[i, label] - smoothing * plain / classes


def cross_entropy_grad_rows(out, dy, x, labels, shift, smoothing, skips, skipped, start, stop):
    classes = x.shape[1]
    for i in range(start, stop):
        if skips != 0 and labels[i] == skipped:
            for j in range(classes):
                out[i, j] = 0
            continue
        scale = dy[i]
        log_sum = shift[i]
        even = scale * smoothing / classes
        for j in range(classes):
            out[i, j] = exp(x[i, j] - log_sum) * scale - even
        label = labels[i]
        if 0 <= label < classes:
            out[i, label] -= scale * (1 - smoothing)


cross_entropy = kernel(
    cross_entropy_rows,
    views=lambda op, i, o: ([vector(o[0]), vector(o[1])], [matrix(i[0]), vector(i[1])]),
    extras=lambda op, i, o: ignored(op),
    cost=8,
)
cross_entropy_grad = kernel(
    cross_entropy_grad_rows,
    views=lambda op, i, o: ([matrix(o[0])], [vector(i[0]), matrix(i[1]), vector(i[2]), vector(i[3])]),
    extras=lambda op, i, o: ignored(op),
    cost=8,
)
