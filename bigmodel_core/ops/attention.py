"""Scaled dot-product attention, composed of matrix products and a softmax."""

from __future__ import annotations

import math

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Shape, broadcast, dim_divide, dim_multiply, format_shape
from bigmodel_core.ops.arithmetic import maximum
from bigmodel_core.ops.comparison import less_equal, logical_and, not_equal, where
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.functions import sqrt
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.positions import positions
from bigmodel_core.ops.reduce import max as largest
from bigmodel_core.ops.shape import reshape
from bigmodel_core.ops.sizes import size_of
from bigmodel_core.ops.softmax import softmax


def attention(
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Value:
    """softmax(query @ key.T * scale) @ value, for each sample and head (Vaswani et al., 2017).

    Args:
        query: (..., heads, T, width).
        key: (..., heads, S, width); fewer heads serve as many neighbouring heads of the query each, as in
            grouped queries.
        value: (..., heads, S, width of the output), with as many heads as the key.
        mask: broadcasts to (..., heads, T, S): truth values, true where a key is seen, or numbers that are
            added to the scaled products, -inf where a key is not seen.
        causal: whether step t sees the keys 0 to t only.
        scale: 1 / sqrt(width) if None.

    Returns:
        (..., heads, T, width of the output); zeros where a step sees no key.

    Raises:
        ShapeError: the shapes do not go together.
        DtypeError: they are not of one float type.
    """
    heads = _check(query, key, value)
    batch, (steps, width), keys = query.shape[:-2], query.shape[-2:], key.shape[-2]
    folded = (*key.shape[:-2], dim_multiply(heads, steps))  # the heads of a key as more steps of one head
    factor = 1 / math.sqrt(width) if isinstance(width, int) and width else None
    if scale is not None:
        scaled = query * float(scale)
    elif factor is not None:
        scaled = query * factor
    else:
        scaled = query / sqrt(size_of(query, (query.ndim - 1,), query.dtype))
    shape: Shape = (*batch, steps, keys)
    scores = reshape(MatMul(False, True)(reshape(scaled, (*folded, width)), key), shape)
    lowest = float(np.finfo(query.dtype).min)  # not -inf: a row of nothing else would have no softmax
    seen = less_equal(_steps(key, 0), _steps(query, 1)) if causal else None
    shown = None  # what a step may see, where some may see nothing
    if mask is not None:
        _check_mask(mask, shape, query.dtype)
        if mask.dtype == "bool":
            shown = seen = mask if seen is None else logical_and(mask, seen)
        else:
            scores = maximum(scores + mask, lowest)
            is_open = not_equal(mask, -math.inf)
            shown = is_open if seen is None else logical_and(is_open, seen)
    if seen is not None:
        scores = where(seen, scores, lowest)
    weights = reshape(softmax(scores), (*folded, keys))
    found = reshape(MatMul()(weights, value), (*batch, steps, value.shape[-1]))
    if shown is None:
        return found
    rows = reshape(shown, (1,)) if shown.ndim == 0 else shown
    return where(largest(rows.astype("int32"), -1, keepdims=True) > 0, found, 0.0)


def _steps(x: Value, after: int) -> Value:
    """The numbers of the steps of x, with so many axes after them."""
    return reshape(positions(x, x.ndim - 2), (x.shape[-2],) + (1,) * after)


def _check(query: Value, key: Value, value: Value) -> Dim:
    """How many heads of the query a head of the key serves.

    Raises:
        ShapeError, DtypeError: as `attention` says.
    """
    check_floats("attention", query.spec)
    kinds = {query.dtype, key.dtype, value.dtype}
    if len(kinds) > 1:
        raise DtypeError(f"attention cannot mix {' and '.join(sorted(kinds))}.", fix="convert one side.")
    shapes = " and ".join(format_shape(item.shape) for item in (query, key, value))
    fits = min(query.ndim, key.ndim, value.ndim) >= 2 and query.ndim == key.ndim
    fits = fits and query.shape[-1] == key.shape[-1] and key.shape[:-1] == value.shape[:-1]
    heads: Dim | None = 1
    if fits and query.shape[:-2] != key.shape[:-2]:
        fits = query.ndim > 2 and query.shape[:-3] == key.shape[:-3]
        heads = dim_divide(query.shape[-3], key.shape[-3]) if fits else None
    if not fits or heads is None:
        raise ShapeError(
            f"attention got queries, keys and values of {shapes}.",
            fix="pass (..., heads, T, width), (..., heads, S, width) and (..., heads, S, any); the heads of"
            " the query are as many as those of the key, or a multiple.",
        )
    return heads


def _check_mask(mask: Value, shape: Shape, dtype: str) -> None:
    if mask.dtype not in ("bool", dtype):
        raise DtypeError(
            f"the mask of attention is {mask.dtype}, expected bool or {dtype}.",
            fix="compare it, as in mask > 0, so that it is true where a key is seen.",
        )
    try:
        fits = broadcast(mask.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"the mask {format_shape(mask.shape)} does not broadcast to {format_shape(shape)}.",
            fix="add axes: mask[:, None, None, :] for a mask of keys (N, S).",
        )


__all__ = ["attention"]
