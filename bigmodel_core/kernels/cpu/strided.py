"""Copies between an array and one with arbitrary strides, on the CPU."""

from __future__ import annotations

from bigmodel_core.kernels.cpu.engine.memory import unsigned
from bigmodel_core.kernels.cpu.engine.runs import copy_run


def copy_strided(out, x, first, sizes, strides, start, stop):
    """out (rows, last) from x (all,): element (i..., j) of the output comes from first + sum(i * stride)."""
    row = start
    while row < stop:
        at, alike, between = strided_row(row, first, sizes, strides)
        step = strides[len(sizes) - 1]
        for number in range(row, min(stop, row + alike)):
            if step == 1:
                copy_run(out, number * out.shape[1], x, at, out.shape[1])
            elif step == -1:
                for j in range(out.shape[1]):
                    out[number, j] = x[unsigned(at - j)]
            else:
                for j in range(out.shape[1]):
                    out[number, j] = x[unsigned(at + j * step)]
            at += between
        row += alike


def put_strided(out, x, first, sizes, strides):
    """out (all,): element (i..., j) of x (rows, last) goes to first + sum(i * stride)."""
    row = 0
    while row < x.shape[0]:
        at, alike, between = strided_row(row, first, sizes, strides)
        step = strides[len(sizes) - 1]
        for number in range(row, row + alike):
            if step == 1:
                copy_run(out, at, x, number * x.shape[1], x.shape[1])
            else:
                for j in range(x.shape[1]):
                    out[unsigned(at + j * step)] = x[number, j]
            at += between
        row += alike


def strided_row(row, first, sizes, strides):
    """Where a row begins, for how many rows on from it they are equally far apart, and how far."""
    last = len(sizes) - 1
    if last < 1:
        return first, 1, 0
    alike = sizes[last - 1] - row % sizes[last - 1]
    at, rest = first, row
    for axis in range(last - 1, -1, -1):
        at += rest % sizes[axis] * strides[axis]
        rest = rest // sizes[axis]
    return at, alike, strides[last - 1]
