"""Attention composed of matrix products and a softmax: what files hold, and what is differentiated twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Shape, dim_divide, dim_multiply
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
    q, k, v = parts.q, parts.k, parts.v
    n, heads, steps, width = q.shape
    keys = k.shape[2]
    groups = (n, k.shape[1])
    rows = dim_multiply(_heads_each(q, k), steps)  # the heads of a key as more steps of one head
    folded = (*groups, rows, width)
    shape: Shape = (n, heads, steps, keys)
    if parts.lengths is not None:  # what is behind may be anything: 0 times NaN is NaN
        counts = less(_steps(k, 1), _of_samples(parts.lengths))
        k, v = where(counts, k, 0.0), where(counts, v, 0.0)
    scores = reshape(MatMul(False, True)(reshape(_scaled(op, q), folded), k), shape)
    lowest = float(np.finfo(q.dtype).min)  # not -inf: a row of nothing else would have no softmax
    seen = [_causal(op, parts)] if op.causal else []
    if parts.lengths is not None:
        seen.append(less(_steps(k, 0), _of_samples(parts.lengths)))
    if parts.mask is not None:
        seen.append(parts.mask)
    may_be_blind = bool(parts.mask is not None or parts.bias is not None or parts.lengths is not None)
    may_be_blind = may_be_blind or (op.causal and keys != steps)
    if parts.bias is not None:
        scores = maximum(scores + parts.bias, lowest)
        seen.append(not_equal(parts.bias, -math.inf))
    shown = None
    for item in seen:
        shown = item if shown is None else logical_and(item, shown)
    if shown is not None:
        scores = where(shown, scores, lowest)
    weights = softmax(scores)
    if op.draws:
        bits = RandomBits(op.stream, shape)(*parts.random)
        weights = dropped(weights, bits, op.dropout)
    y = reshape(MatMul()(reshape(weights, (*groups, rows, keys)), v), (n, heads, steps, v.shape[3]))
    top = largest(scores, -1, keepdims=True)
    log_sum = reshape(log(sum_(exp(scores - top), -1, keepdims=True)) + top, shape[:-1])
    if shown is None or not may_be_blind:
        return y, log_sum
    sees = largest(shown.astype("int32"), -1, keepdims=True) > 0
    sees = reshape(sees, (1,) * (4 - sees.ndim) + sees.shape)
    return where(sees, y, 0.0), where(reshape(sees, sees.shape[:-1]), log_sum, -math.inf)


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
