"""Losses on the CPU: the check of labels, and the hinge over classes."""

from __future__ import annotations

from bigmodel_core.kernels.cpu.engine.kernels import kernel
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.status import LABEL_OUT_OF_RANGE
from bigmodel_core.kernels.views import matrix, vector


def label_number_items(out, labels, classes, start, stop, status):
    """out, labels (n,): each label as a float; one that is out of range is reported."""
    for i in range(start, stop):
        label = labels[i]
        if label < 0 or label >= classes:
            report(status, LABEL_OUT_OF_RANGE, label, classes, i)
        out[i] = label


def hinge_rows(loss, rival, x, labels, margin, start, stop, status):
    """loss, rival (rows,): how far the best wrong class comes within the margin, and which it is."""
    classes = x.shape[1]
    for i in range(start, stop):
        label = labels[i]
        if label < 0 or label >= classes:
            report(status, LABEL_OUT_OF_RANGE, label, classes, i)
            loss[i] = 0
            rival[i] = -1
            continue
        best = 0 if label != 0 else 1
        for j in range(best + 1, classes):
            if j != label and x[i, j] > x[i, best]:
                best = j
        gap = margin + x[i, best] - x[i, label]
        if gap > 0 or gap != gap:
            loss[i] = gap
            rival[i] = best
        else:
            loss[i] = 0
            rival[i] = -1


def hinge_grad_rows(out, dy, labels, rival, start, stop):
    """out (rows, classes): dy at the rival, -dy at the label, 0 elsewhere."""
    for i in range(start, stop):
        for j in range(out.shape[1]):
            out[i, j] = 0
        if rival[i] >= 0:
            out[i, rival[i]] = dy[i]
            out[i, labels[i]] = -dy[i]


label_numbers = kernel(label_number_items, views=lambda op, i, o: ([vector(o[0])], [vector(i[0])]))
hinge = kernel(
    hinge_rows,
    views=lambda op, i, o: ([vector(o[0]), vector(o[1])], [matrix(i[0]), vector(i[1])]),
    cost=2,
)
hinge_grad = kernel(
    hinge_grad_rows,
    views=lambda op, i, o: ([matrix(o[0])], [vector(i[0]), vector(i[1]), vector(i[2])]),
)
