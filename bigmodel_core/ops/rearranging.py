"""Arrays cut, stacked, turned and repeated: compositions of slices, reshapes and concatenations."""

from __future__ import annotations

from collections.abc import Sequence

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, dim_divide, dim_multiply, format_shape
from bigmodel_core.ops.axes import Axes, dimensions, integer, normal_axes, normal_axis, several
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.ops.operands import as_values
from bigmodel_core.ops.shape import broadcast_to, reshape
from bigmodel_core.ops.slicing import Slice, index


def split(x: Value, sections: int | Sequence[Dim], axis: int = 0) -> list[Value]:
    """An array cut along an axis, as NumPy's `split` does it.

    Args:
        x: what is cut.
        sections: how many equal parts; or the places where it is cut, so that `(2, 5)` gives `x[:2]`,
            `x[2:5]` and `x[5:]`.
        axis: along which axis.

    Raises:
        ShapeError: the axis does not divide into equal parts, or a place is behind the next one.
        ConfigError: a place is no integer.
    """
    axis = normal_axis(axis, x.ndim)
    size, count = x.shape[axis], integer(sections)
    if count is not None:
        width = dim_divide(size, count) if count > 0 else None
        if width is None:
            raise ShapeError(
                f"axis {axis} of {format_shape(x.shape)} cannot be split into {sections} equal parts.",
                fix="pass the places where to cut: ops.split(x, (2, 5)).",
            )
        bounds: list[Dim] = [dim_multiply(width, number) for number in range(count)]
    else:
        bounds = [0, *dimensions("split", sections)]
        ordered = [bound for bound in bounds if isinstance(bound, int)]
        if ordered != sorted(ordered):
            raise ShapeError(f"the places {tuple(bounds[1:])} to cut are not in order.")
    everything = [slice(None)] * axis
    return [
        index(x, (*everything, slice(first, last)))
        for first, last in zip(bounds, [*bounds[1:], None], strict=True)
    ]


def stack(values: Sequence[Value], axis: int = 0) -> Value:
    """Arrays of one shape joined along a new axis.

    Raises:
        ShapeError: there are none, or they differ in shape.
    """
    found = as_values(values, "stack")
    if not found:
        raise ShapeError("there is nothing to stack.", fix="pass at least one value.")
    for value in found:
        if value.shape != found[0].shape:
            raise ShapeError(
                f"cannot stack {format_shape(found[0].shape)} and {format_shape(value.shape)}.",
                fix="stack arrays of one shape; ops.concatenate joins along an axis that is there.",
            )
    return concatenate([expand_dims(value, axis) for value in found], axis)


def squeeze(x: Value, axis: Axes = None) -> Value:
    """Without axes of size 1: those named, or all.

    Raises:
        ShapeError: a named axis has another size.
    """
    axes = (
        normal_axes(axis, x.ndim)
        if axis is not None
        else tuple(place for place, dim in enumerate(x.shape) if dim == 1)
    )
    for place in axes:
        if x.shape[place] != 1:
            raise ShapeError(
                f"cannot squeeze axis {place} of {format_shape(x.shape)}: its size is {x.shape[place]}.",
                fix="name axes of size 1.",
            )
    return reshape(x, tuple(dim for place, dim in enumerate(x.shape) if place not in axes))


def expand_dims(x: Value, axis: int | tuple[int, ...]) -> Value:
    """With new axes of size 1, which have these places in the result.

    Raises:
        ShapeError: a place is no integer, out of range or named twice.
    """
    places = several(axis)
    rank = x.ndim + len(places)
    axes, rest = normal_axes(places, rank), iter(x.shape)
    return reshape(x, tuple(1 if place in axes else next(rest) for place in range(rank)))


def flip(x: Value, axis: Axes = None) -> Value:
    """The numbers in reverse order along axes (all by default)."""
    for place in normal_axes(axis, x.ndim):
        if x.shape[place] not in (0, 1):
            x = Slice(place, -1, x.shape[place], -1)(x)
    return x


def tile(x: Value, repeats: Dim | Sequence[Dim]) -> Value:
    """An array repeated along its axes.

    Args:
        x: any array.
        repeats: how often along each axis. Where there are fewer than axes, the first axes are not
            repeated; where there are more, axes of size 1 come first.

    Raises:
        ConfigError: a number of repeats is below 0, or no integer.
    """
    counts = dimensions("tile", repeats)
    if any(isinstance(count, int) and count < 0 for count in counts):
        raise ConfigError(f"tile by {counts} repeats less than never.", fix="pass 0 or more for each axis.")
    rank = max(x.ndim, len(counts))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + x.shape
    apart = [part for dim in shape for part in (1, dim)]
    repeated = [part for dim, count in zip(shape, counts, strict=True) for part in (count, dim)]
    tiled = tuple(dim_multiply(dim, count) for dim, count in zip(shape, counts, strict=True))
    return reshape(broadcast_to(reshape(x, apart), tuple(repeated)), tiled)


__all__ = ["expand_dims", "flip", "split", "squeeze", "stack", "tile"]
