"""Attention on a CUDA device: a thread for each query, and backward one for each key as well.

A thread keeps a running maximum and sum, and its output where it will stand; scores are computed again in the
backward pass. Nothing is shared between threads, so no sum depends on their number.
"""

from __future__ import annotations

import math
from math import exp, log
from typing import Any

import numpy as np

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.attention_sizes import scale_of, sizes_of
from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cuda.engine.array import wrapper
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, over_items
from bigmodel_core.kernels.cuda.status import report
from bigmodel_core.kernels.random_words import random_bits


def check_lengths(lengths, keys, thread, threads, status):
    for n in range(thread, lengths.shape[0], threads):
        if lengths[n] < 0 or lengths[n] > keys:
            report(status, codes.LENGTH_OUT_OF_RANGE, keys, n)


def place(first, h, t):
    """Where head h and step t are: the second and third index."""
    return (t, h) if first else (h, t)


def row_of(x, first, n, h, t):
    """A row of an operand, with heads or steps first."""
    a, b = place(first, h, t)
    return x[n, a, b]


def dot(x, y, total):
    """`total` plus the product of two rows."""
    for c in range(x.shape[0]):
        total += x[c] * y[c]
    return total


def is_seen(mask, bias, has_mask, has_bias, never, n, h, t, j):
    """Whether the mask and the bias show a key."""
    if (
        has_mask
        and not mask[
            min(n, mask.shape[0] - 1),
            min(h, mask.shape[1] - 1),
            min(t, mask.shape[2] - 1),
            min(j, mask.shape[3] - 1),
        ]
    ):
        return False
    return not has_bias or added(bias, has_bias, never, n, h, t, j) != never


def added(bias, has_bias, zero, n, h, t, j):
    """What the bias adds to a score."""
    if has_bias:
        return bias[
            min(n, bias.shape[0] - 1),
            min(h, bias.shape[1] - 1),
            min(t, bias.shape[2] - 1),
            min(j, bias.shape[3] - 1),
        ]
    return zero


def key_end(lengths, has_lengths, causal, n, t, steps, keys):
    """How many keys a query may see, of those that count; none of a length that is out of range."""
    count = keys
    if has_lengths:
        count = lengths[n] if 0 <= lengths[n] <= keys else 0
    return min(count, t + 1 + count - steps) if causal else count


def factor_of(seed, step, stream, threshold, index, drops, zero, one, grow):
    """What a weight is multiplied by: 0 where it is dropped."""
    if not drops:
        return one
    return grow if random_bits(index, seed[0], step[0], stream) >= threshold else zero


def attention_rows(
    y, log_sums, q, k, v, mask, bias, lengths, seed, step, flags, sizes, numbers, thread, threads
):
    """y, q, k, v of four dimensions, log_sums (N, heads, T); mask and bias of four, lengths (N,).

    `flags`, `sizes` and `numbers` are as `_launches` makes them.
    """
    q_first, k_first, v_first, has_mask, has_bias, has_lengths, causal, drops = flags
    heads, each, steps, keys, stream, threshold = sizes
    scale, grow, zero, one, never = numbers
    for item in range(thread, log_sums.shape[0] * heads * steps, threads):
        n, h, t = item // (heads * steps), item // steps % heads, item % steps
        out, query, g = row_of(y, q_first, n, h, t), row_of(q, q_first, n, h, t), h // each
        top, total = never, zero
        for c in range(out.shape[0]):
            out[c] = zero
        for j in range(key_end(lengths, has_lengths, causal, n, t, steps, keys)):
            if not is_seen(mask, bias, has_mask, has_bias, never, n, h, t, j):
                continue
            score = dot(query, row_of(k, k_first, n, g, j), zero) * scale
            score += added(bias, has_bias, zero, n, h, t, j)
            if not score <= top:  # NaN goes on, too
                shrink = exp(top - score) if total > zero else zero
                top = score
                total *= shrink
                for c in range(out.shape[0]):
                    out[c] *= shrink
            weight = exp(score - top)
            total += weight
            weight *= factor_of(seed, step, stream, threshold, item * keys + j, drops, zero, one, grow)
            value = row_of(v, v_first, n, g, j)
            for c in range(out.shape[0]):
                out[c] += weight * value[c]
        log_sums[n, h, t] = never
        if total != zero:
            log_sums[n, h, t] = top + log(total)
            for c in range(out.shape[0]):
                out[c] /= total


def query_gradients(
    dq,
    inner,
    dy,
    y,
    log_sums,
    q,
    k,
    v,
    mask,
    bias,
    lengths,
    seed,
    step,
    flags,
    sizes,
    numbers,
    thread,
    threads,
):
    """The gradient of each query, and `inner` (N, heads, T), the products of outputs and their gradients."""
    q_first, k_first, v_first, has_mask, has_bias, has_lengths, causal, drops = flags
    heads, each, steps, keys, stream, threshold = sizes
    scale, grow, zero, one, never = numbers
    for item in range(thread, log_sums.shape[0] * heads * steps, threads):
        n, h, t = item // (heads * steps), item // steps % heads, item % steps
        into, query, g = row_of(dq, q_first, n, h, t), row_of(q, q_first, n, h, t), h // each
        slope = row_of(dy, q_first, n, h, t)
        taken = dot(slope, row_of(y, q_first, n, h, t), zero)
        inner[n, h, t] = taken
        for c in range(into.shape[0]):
            into[c] = zero
        for j in range(key_end(lengths, has_lengths, causal, n, t, steps, keys)):
            if not is_seen(mask, bias, has_mask, has_bias, never, n, h, t, j):
                continue
            key = row_of(k, k_first, n, g, j)
            score = dot(query, key, zero) * scale + added(bias, has_bias, zero, n, h, t, j)
            factor = factor_of(seed, step, stream, threshold, item * keys + j, drops, zero, one, grow)
            of_weight = dot(slope, row_of(v, v_first, n, g, j), zero) * factor
            of_score = exp(score - log_sums[n, h, t]) * (of_weight - taken) * scale
            for c in range(into.shape[0]):
                into[c] += of_score * key[c]


def key_gradients(
    dk,
    dv,
    inner,
    dy,
    log_sums,
    q,
    k,
    v,
    mask,
    bias,
    lengths,
    seed,
    step,
    flags,
    sizes,
    numbers,
    thread,
    threads,
):
    """The gradients of each key and value, over all queries of all heads that it serves."""
    q_first, k_first, v_first, has_mask, has_bias, has_lengths, causal, drops = flags
    heads, each, steps, keys, stream, threshold = sizes
    scale, grow, zero, one, never = numbers
    groups = heads // each
    for item in range(thread, log_sums.shape[0] * groups * keys, threads):
        n, g, j = item // (groups * keys), item // keys % groups, item % keys
        key, value = row_of(k, k_first, n, g, j), row_of(v, v_first, n, g, j)
        of_key, of_value = row_of(dk, k_first, n, g, j), row_of(dv, v_first, n, g, j)
        for c in range(of_key.shape[0]):
            of_key[c] = zero
        for c in range(of_value.shape[0]):
            of_value[c] = zero
        for h in range(g * each, g * each + each):
            for t in range(steps):
                if j >= key_end(lengths, has_lengths, causal, n, t, steps, keys):
                    continue
                if not is_seen(mask, bias, has_mask, has_bias, never, n, h, t, j):
                    continue
                query, slope = row_of(q, q_first, n, h, t), row_of(dy, q_first, n, h, t)
                score = dot(query, key, zero) * scale + added(bias, has_bias, zero, n, h, t, j)
                index = ((n * heads + h) * steps + t) * keys + j
                factor = factor_of(seed, step, stream, threshold, index, drops, zero, one, grow)
                weight = exp(score - log_sums[n, h, t])
                of_score = weight * (dot(slope, value, zero) * factor - inner[n, h, t]) * scale
                for c in range(of_value.shape[0]):
                    of_value[c] += weight * factor * slope[c]
                for c in range(of_key.shape[0]):
                    of_key[c] += of_score * query[c]


def _launches(function: Any, call: Call, first: int, arrays: list[Operand], items: int) -> list[CudaLaunch]:
    """The launch of a kernel on arrays, outputs first, then the inputs of `Attention`, which are those of
    the application from a position on; what lacks among these is a number that is not read."""
    op = call.op
    q, k, v, *rest = (call.input(place) for place in range(first, len(call.inputs)))
    given = op.has_mask, op.has_bias, op.has_lengths, op.draws, op.draws
    lacking = ((1, 1, 1, 1), "bool"), ((1, 1, 1, 1), call.dtype), *(((1,), "int64"),) * 3
    others = [rest.pop(0) if has else call.temporary(*what) for has, what in zip(given, lacking, strict=True)]
    operands = [*arrays, q, k, v, *others]
    views = [View(x.buffer, x.spec.sizes, x.spec.dtype) for x in operands]
    sizes, number = sizes_of(op, (q.spec, k.spec, v.spec)), DTYPES[call.dtype].scalar
    if items == 0:
        return []
    whole = (
        sizes.heads,
        sizes.heads // max(sizes.kv_heads, 1),
        sizes.steps,
        sizes.keys,
        op.stream,
        op.threshold,
    )
    arguments = [
        (*op.steps_first, op.has_mask, op.has_bias, op.has_lengths, op.causal, op.draws),
        tuple(np.int64(x) for x in whole),
        tuple(number(x) for x in (scale_of(op, sizes), 1 / (1 - op.dropout), 0, 1, -math.inf)),
    ]
    return [over_items(wrapper(function, len(views)), [*views, *arguments], items)]


@cuda_launches
def attention(call: Call) -> list[CudaLaunch]:
    """The output and the log-sums; first of all, lengths are checked."""
    sizes = sizes_of(call.op, call.inputs)
    launches = []
    if call.op.has_lengths and sizes.samples:
        lengths = call.input(3 + call.op.has_mask + call.op.has_bias)
        view = View(lengths.buffer, lengths.spec.sizes, lengths.spec.dtype)
        arguments = [view, np.int64(sizes.keys), call.status(view)]
        launches.append(over_items(wrapper(check_lengths, 1), arguments, sizes.samples))
    rows = sizes.samples * sizes.heads * sizes.steps
    return [*launches, *_launches(attention_rows, call, 0, [call.output(0), call.output(1)], rows)]


@cuda_launches
def attention_gradient(call: Call) -> list[CudaLaunch]:
    """The gradients of queries, keys and values."""
    sizes = sizes_of(call.op, call.inputs[3:])
    inner = call.temporary((sizes.samples, sizes.heads, sizes.steps))
    (dy, y, log_sums), (dq, dk, dv) = (map(x, range(3)) for x in (call.input, call.output))
    queries = sizes.samples * sizes.heads * sizes.steps
    keys = sizes.samples * sizes.kv_heads * sizes.keys
    return [
        *_launches(query_gradients, call, 3, [dq, inner, dy, y, log_sums], queries),
        *_launches(key_gradients, call, 3, [dk, dv, inner, dy, log_sums], keys),
    ]
