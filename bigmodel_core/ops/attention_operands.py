"""The operands of attention: whether they go together, and as arrays of four dimensions."""

from __future__ import annotations

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Shape, broadcast, dim_divide, dim_product, format_shape
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.shape import broadcast_to, reshape


def of_four(x: Value, batch: Shape) -> Value:
    """An array of four dimensions: ones in front, or those of the batch as one."""
    if x.ndim <= 4:
        return reshape(x, (1,) * (4 - x.ndim) + x.shape)
    inner = x.shape[-3:]
    if any(dim != 1 for dim in x.shape[:-3]):
        x = broadcast_to(x, (*batch, *inner))
    return reshape(x, (dim_product(x.shape[:-3]), *inner))


def check_operands(query: Value, key: Value, value: Value) -> None:
    """Raise ShapeError or DtypeError as `attention` says."""
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


def check_mask(name: str, mask: Value, shape: Shape, dtype: str) -> None:
    """Raise where a mask or a bias does not fit scores of a shape."""
    allowed = (dtype,) if name == "bias" else ("bool", dtype)
    if mask.dtype not in allowed:
        raise DtypeError(
            f"the {name} of attention is {mask.dtype}, expected {' or '.join(allowed)}.",
            fix="compare it, as in mask > 0, so that it is true where a key is seen."
            if name == "mask"
            else f"convert it: bias.astype('{dtype}'); truth values are a mask.",
        )
    try:
        fits = broadcast(mask.shape, shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"the {name} {format_shape(mask.shape)} does not broadcast to {format_shape(shape)}.",
            fix=f"add axes: {name}[:, None, None, :] for a {name} of keys (N, S).",
        )


def checked_lengths(lengths: Value, query: Value) -> Value:
    """The number of keys of each sample as int64 (N,)."""
    if not lengths.spec.is_integer:
        raise DtypeError(
            f"the lengths of attention are {lengths.dtype}, expected integers.", fix="convert them."
        )
    batch = query.shape[:-3]
    if lengths.shape != batch or not batch:
        raise ShapeError(
            f"the lengths of attention are {format_shape(lengths.shape)} for queries"
            f" {format_shape(query.shape)}.",
            fix="pass queries (N, heads, T, width) and the number of keys of each sample, (N,).",
        )
    return reshape(lengths.astype("int64"), (dim_product(batch),))
