"""The cross-entropy of a product with a large vocabulary on the CPU: its logits exist for a block of rows.

Rows whose label counts are first listed. Of so many of them at a time the logits are computed, turned into
losses and, in the same memory, into the gradients of the logits, which the products of the gradients then
meet. How many rows there are is known when the plan runs only: the products find the number where their
context holds their size.
"""

from __future__ import annotations

import math
from math import exp, log
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch, Item
from bigmodel_core.kernels.cpu.engine.memory import load_int, store_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.status import report
from bigmodel_core.kernels.extremes import larger
from bigmodel_core.kernels.matrix_product import MatrixProduct
from bigmodel_core.kernels.status import LABEL_OUT_OF_RANGE
from bigmodel_core.kernels.views import ignored

BLOCK_BYTES = 16 * 1024 * 1024
"""Of the logits of a block of rows."""
FEWEST, MOST = 252, 1020
"""Rows of a block."""
GROUP = 64
"""Rows that are summed up before their sum is added to others."""
WIDTH = 512
"""Columns that are summed side by side."""


@cpu_launches(over_reads=lambda op, *inputs: (1, 2) if op.biased else (1,))
def vocabulary_loss(call: Call) -> list[CpuLaunch]:
    op, dtype = call.op, call.dtype
    depth = call.inputs[0].sizes[-1]
    total = math.prod(call.inputs[0].sizes[:-1])
    vocabulary = call.inputs[1].sizes[0 if op.transposed else 1]
    each = min(block_rows(vocabulary, dtype), total)
    if each == 0:
        return _of_no_rows(call)
    x, labels = call.input(0).reshape(total, depth), call.input(2 + op.biased).reshape(total)
    losses, weight = call.output(0).reshape(total), call.input_buffers[1]
    bias = call.input_buffers[2] if op.biased else None
    of_x, of_weight, of_bias = (op.graded and n < 3 + op.biased and n not in call.unread for n in (1, 2, 3))
    order, count = call.temporary((total,), "int64"), call.temporary((1,), "int64")
    some, logits = call.temporary((each, depth)), call.temporary((each, vocabulary))
    found = call.launch(listed, [order, count, losses], [labels], vocabulary=vocabulary, **ignored(op))
    if of_x:
        found += call.launch(cleared, [call.output(1).reshape(total, depth)], [labels], **ignored(op))
    partial = call.temporary((vocabulary,)) if of_bias else losses
    sized: list[Item] = []
    found.append(CpuLaunch(set_rows, sized))
    for first in range(0, total, each):
        place: dict[str, Any] = {"first": first}
        p = MatrixProduct(each, vocabulary, depth, dtype, False, op.transposed)
        scores = gemm.block_of_rows(p, some.buffer, weight, logits.buffer, bias, call.scratch)
        found += [*call.launch(picked, [some], [x, order, count], **place), scores]
        if not op.graded:
            found += call.launch(scored, [logits, losses], [labels, order, count], **place)
            sized += [scores, 0, 0]
            continue
        upstream = call.input(3 + op.biased).reshape(total)
        found += call.launch(graded, [logits, losses], [labels, upstream, order, count], **place)
        products: list[Item] = [scores, 0, 0]
        if of_weight:
            pair = (logits, some) if op.transposed else (some, logits)
            sizes = (vocabulary, depth) if op.transposed else (depth, vocabulary)
            p = MatrixProduct(*sizes, each, dtype, True, False)
            products[1] = gemm.block_of_rows(
                p, pair[0].buffer, pair[1].buffer, call.output_buffers[2], None, call.scratch, adds=first > 0
            )
            found.append(products[1])
        if of_bias:
            found += call.launch(summed, [call.output(3), partial], [logits, count], width=WIDTH, **place)
        if of_x:  # in the place of the rows, which the weight's gradient has read
            p = MatrixProduct(each, depth, vocabulary, dtype, False, not op.transposed)
            products[2] = gemm.block_of_rows(
                p, logits.buffer, weight, some.buffer, None, call.scratch, narrow=True
            )
            found.append(products[2])
            found += call.launch(put, [call.output(1).reshape(total, depth)], [some, order, count], **place)
        sized += products
    sized[:0] = [count.buffer, each, len(sized) // 3]
    return found


def block_rows(vocabulary: int, dtype: str) -> int:
    """Rows of a block."""
    return max(FEWEST, min(MOST, BLOCK_BYTES // (vocabulary * SIZES[dtype]) // 12 * 12))


def _of_no_rows(call: Call) -> list[CpuLaunch]:
    """Of no rows, the gradients of weight and bias are zero."""
    sizes = {number: math.prod(call.outputs[number].sizes) for number in range(2, len(call.outputs))}
    return [
        item
        for number, size in sizes.items()
        for item in call.launch(zero, [call.output(number).reshape(size)], [])
    ]


def set_rows_of(ctx, chunk):
    """Write how many rows of each block there are to where its products find it: two count down them, that of
    the weight's gradient sums them up. The first block has a row, be it of zeros."""
    count, each = load_int(load_int(ctx, 0), 0), load_int(ctx, 1)
    for block in range(load_int(ctx, 2)):
        rows = max(min(count - block * each, each), 1 if block == 0 else 0)
        for number in range(3):
            context = load_int(ctx, 3 + 3 * block + number)
            if context != 0:
                store_int(context, gemm.K_SLOT if number == 1 else gemm.M_SLOT, rows)


set_rows = NativeFunction(set_rows_of)


# Rows that count ------------------------------------------------------------------------------------------


def list_rows(order, count, losses, labels, vocabulary, skips, skipped, status):
    """order (rows,): the rows whose label counts; count (1,): how many; the losses of the others are 0."""
    found = 0
    for i in range(labels.shape[0]):
        label = labels[i]
        if skips != 0 and label == skipped:
            losses[i] = 0
        elif label < 0 or label >= vocabulary:
            report(status, LABEL_OUT_OF_RANGE, label, vocabulary, i)
            losses[i] = 0
        else:
            order[found] = i
            found += 1
    count[0] = found


def clear_rows(out, labels, skips, skipped, start, stop):
    """out (rows, depth): zeros where the label does not count."""
    if skips != 0:
        for i in range(start, stop):
            if labels[i] == skipped:
                for j in range(out.shape[1]):
                    out[i, j] = 0


def pick_rows(out, x, order, count, first, start, stop):
    """out (each, depth): the rows of a block; where it has none, its first row is zeros."""
    for i in range(start, stop):
        if first + i < count[0]:
            row = order[first + i]
            for j in range(out.shape[1]):
                out[i, j] = x[row, j]
        elif i == 0:
            for j in range(out.shape[1]):
                out[i, j] = 0


def put_rows(out, some, order, count, first, start, stop):
    """out (rows, depth): the rows of a block back to where they come from."""
    for i in range(start, min(stop, count[0] - first)):
        row = order[first + i]
        for j in range(out.shape[1]):
            out[row, j] = some[i, j]


def zero_numbers(out, start, stop):
    for i in range(start, stop):
        out[i] = 0


zero = kernel(zero_numbers)
listed, cleared, picked = kernel(list_rows), kernel(clear_rows), kernel(pick_rows)
put = kernel(put_rows, items=lambda op, i, o: i[0].sizes[0])


# Losses and slopes ----------------------------------------------------------------------------------------


def score_rows(logits, losses, labels, order, count, first, smoothing, start, stop):
    """losses (rows,): those of the rows of a block, logits (each, vocabulary)."""
    for i in range(start, min(stop, count[0] - first)):
        row = order[first + i]
        top = largest(logits, i)
        total = top - top
        for j in range(logits.shape[1]):
            total += exp(logits[i, j] - top)
        losses[row] = loss_of(logits, i, labels[row], top + log(total), smoothing)


def grade_rows(logits, losses, labels, upstream, order, count, first, smoothing, start, stop):
    """The same; and the logits become their own gradients."""
    n = logits.shape[1]
    for i in range(start, stop):
        if first + i >= count[0]:
            if i == 0:
                for j in range(n):
                    logits[i, j] = 0
            return
        row = order[first + i]
        label, scale = labels[row], upstream[row]
        top = largest(logits, i)
        here = logits[i, label]
        plain = top - top
        if smoothing != 0:
            for j in range(n):
                plain += logits[i, j]
        total = top - top
        for j in range(n):
            e = exp(logits[i, j] - top)
            logits[i, j] = e
            total += e
        losses[row] = top + log(total) - (1 - smoothing) * here - smoothing * plain / n
        share, even = scale / total, scale * smoothing / n
        for j in range(n):
            logits[i, j] = logits[i, j] * share - even
        logits[i, label] -= scale * (1 - smoothing)


def largest(x, i):
    """The largest number of a row."""
    top = x[i, 0]
    for j in range(1, x.shape[1]):
        top = larger(top, x[i, j])
    return top


def loss_of(x, i, label, log_sum, smoothing):
    """The loss of a row of logits."""
    plain = log_sum - log_sum
    if smoothing != 0:
        for j in range(x.shape[1]):
            plain += x[i, j]
    return log_sum - (1 - smoothing) * x[i, label] - smoothing * plain / x.shape[1]


def sum_rows(out, partial, slopes, count, first, width, start, stop):
    """out (vocabulary,): the sums of the slopes of all blocks; an item is so many columns, summed up group by
    group of rows."""
    rows = min(count[0] - first, slopes.shape[0])
    for item in range(start, stop):
        here = out[item * width : min(item * width + width, out.shape[0])]
        group = partial[item * width : min(item * width + width, out.shape[0])]
        if first == 0:
            for j in range(here.shape[0]):
                here[j] = 0
        for begin in range(0, rows, GROUP):
            for j in range(group.shape[0]):
                group[j] = 0
            for i in range(begin, min(begin + GROUP, rows)):
                row = slopes[i, item * width : item * width + group.shape[0]]
                for j in range(group.shape[0]):
                    group[j] += row[j]
            for j in range(here.shape[0]):
                here[j] += group[j]


scored, graded = kernel(score_rows, cost=8), kernel(grade_rows, cost=8)
summed = kernel(sum_rows, items=lambda op, i, o: -(-o[0].sizes[0] // WIDTH))
