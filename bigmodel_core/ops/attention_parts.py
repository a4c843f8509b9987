"""Attention composed of matrix products and a softmax: what files hold, and what is differentiated twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, dim_divide, dim_multiply
from bigmodel_core.ops.arithmetic import maximum
from bigmodel_core.ops.comparison import less, less_equal, logical_and, not_equal, where
from bigmodel_core.ops.dropout import dropped
from bigmodel_core.ops.functions import exp, log, sqrt
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.positions import positions
from bigmodel_core.ops.random import RandomBits
from bigmodel_core.ops.reduce import max as largest
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import reshape
from bigmodel_core.ops.sizes import size_of
from bigmodel_core.ops.softmax import softmax

if TYPE_CHECKING:
    from bigmodel_core.ops.attention import _Attention


@dataclass(frozen=True)
class Parts:
    """The inputs of `Attention` by name."""

    q: Value
    k: Value
    v: Value
    mask: Value | None
    bias: Value | None
    lengths: Value | None
    random: tuple[Value, ...]


def composed(op: _Attention, parts: Parts) -> tuple[Value, Value]:
    """The outputs of `Attention`, for q, k and v (N, heads, T, width)."""
    q, v = parts.q, parts.v
    n, heads, steps, _ = q.shape
    keys = parts.k.shape[2]
    groups = (n, parts.k.shape[1])
    rows = dim_multiply(_heads_each(q, parts.k), steps)
    if parts.lengths is not None:  # what is behind may be anything: 0 times NaN is NaN
        v = where(less(_steps(v, 1), _of_samples(parts.lengths)), v, 0.0)
    scores, shown = _scores(op, parts)
    weights = softmax(scores)
    if op.draws:
        bits = RandomBits(op.stream, (n, heads, steps, keys))(*parts.random)
        weights = dropped(weights, bits, op.dropout)
    y = reshape(MatMul()(reshape(weights, (*groups, rows, keys)), v), (n, heads, steps, v.shape[3]))
    top = largest(scores, -1, keepdims=True)
    log_sum = reshape(log(sum_(exp(scores - top), -1, keepdims=True)) + top, (n, heads, steps))
    sees = _sees(op, parts, shown)
    if sees is None:
        return y, log_sum
    return where(sees, y, 0.0), where(reshape(sees, sees.shape[:-1]), log_sum, -math.inf)


def weights_of(op: _Attention, parts: Parts) -> Value:
    """What each step takes of each key, (N, heads, T, S), without dropout: rows add up to 1, or hold zeros
    where a step sees no key."""
    scores, shown = _scores(op, parts)
    weights = softmax(scores)
    sees = _sees(op, parts, shown)
    return weights if sees is None else where(sees, weights, 0.0)


def _scores(op: _Attention, parts: Parts) -> tuple[Value, Value | None]:
    """What the softmax is applied to, (N, heads, T, S), and where keys are seen; None if everywhere."""
    q, k = parts.q, parts.k
    n, heads, steps, width = q.shape
    rows = dim_multiply(_heads_each(q, k), steps)  # the heads of a key as more steps of one head
    if parts.lengths is not None:
        k = where(less(_steps(k, 1), _of_samples(parts.lengths)), k, 0.0)
    folded = (n, k.shape[1], rows, width)
    scores = reshape(MatMul(False, True)(reshape(_scaled(op, q), folded), k), (n, heads, steps, k.shape[2]))
    lowest = float(np.finfo(q.dtype).min)  # not -inf: a row of nothing else would have no softmax
    seen = [_causal(op, parts)] if op.causal else []
    if parts.lengths is not None:
        seen.append(less(_steps(k, 0), _of_samples(parts.lengths)))
    if parts.mask is not None:
        seen.append(parts.mask)
    if parts.bias is not None:
        scores = maximum(scores + parts.bias, lowest)
        seen.append(not_equal(parts.bias, -math.inf))
    shown = None
    for item in seen:
        shown = item if shown is None else logical_and(item, shown)
    return (scores if shown is None else where(shown, scores, lowest)), shown


def _sees(op: _Attention, parts: Parts, shown: Value | None) -> Value | None:
    """Whether a step sees any key, of four dimensions; None where each certainly does."""
    is_given = any(item is not None for item in (parts.mask, parts.bias, parts.lengths))
    if shown is None or not (is_given or (op.causal and parts.k.shape[2] != parts.q.shape[2])):
        return None
    sees = largest(shown.astype("int32"), -1, keepdims=True) > 0
    return reshape(sees, (1,) * (4 - sees.ndim) + sees.shape)


def _heads_each(q: Value, k: Value) -> Dim:
    """How many heads of the query a head of the key serves."""
    found = dim_divide(q.shape[1], k.shape[1])
    assert found is not None, "attention checks that it does"
    return found


def _scaled(op: _Attention, q: Value) -> Value:
    width = q.shape[3]
    if op.scale is not None:
        return q * op.scale
    if isinstance(width, int):
        return q * (1 / math.sqrt(width) if width else 1.0)
    return q / sqrt(size_of(q, (3,), q.dtype))


def _causal(op: _Attention, parts: Parts) -> Value:
    """Whether a step sees a key: none after its own, counted from the last key that counts."""
    q, k = parts.q, parts.k
    steps, keys = q.shape[2], k.shape[2]
    ends = _steps(q, 1)
    if parts.lengths is not None:
        ends = ends + (_of_samples(parts.lengths) - size_of(q, (2,), "int64"))
    elif isinstance(steps, int) and isinstance(keys, int):
        ends = ends + (keys - steps) if keys != steps else ends
    elif steps != keys:
        ends = ends + (size_of(k, (2,), "int64") - size_of(q, (2,), "int64"))
    return less_equal(_steps(k, 0), ends)


def _of_samples(lengths: Value) -> Value:
    return reshape(lengths, (lengths.shape[0], 1, 1, 1))


def _steps(x: Value, after: int) -> Value:
    """The numbers of the steps of x (N, heads, T, width), with so many axes after them."""
    return reshape(positions(x, 2), (x.shape[2],) + (1,) * after)
