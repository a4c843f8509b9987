"""Arrays cut, stacked, turned and repeated: compositions of slices, reshapes and concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import (
    Dim,
    dim_divide,
    dim_floor_divide,
    dim_multiply,
    dim_subtract,
    format_shape,
)
from bigmodel_core.ops.axes import Axes, integer, normal_axes, normal_axis, several
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.ops.operands import as_values
from bigmodel_core.ops.shape import broadcast_to, flatten, reshape
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
        bounds = [0, *_numbers("split", sections)]
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
    """With new axes of size 1, which have these places in the result."""
    rank = x.ndim + len(several(axis))
    axes, rest = normal_axes(axis, rank), iter(x.shape)
    return reshape(x, tuple(1 if place in axes else next(rest) for place in range(rank)))


def roll(x: Value, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Value:
    """The numbers moved along axes, those that leave at one end coming in at the other.

    Args:
        x: any array.
        shift: by how many places, to higher ones if it is above 0; for several axes, each.
        axis: along which; None rolls the flattened array.

    Raises:
        ConfigError: there are not as many shifts as axes, or one is no integer.
    """
    if axis is None:
        return reshape(roll(flatten(x, 0), shift, 0), x.shape)
    axes, shifts = several(axis), _numbers("roll", shift)
    shifts = shifts * len(axes) if shifts == (shift,) else shifts
    if len(shifts) != len(axes):
        raise ConfigError(f"roll has {len(shifts)} shifts for {len(axes)} axes.", fix="pass one for each.")
    for place, by in zip(axes, shifts, strict=True):
        place = normal_axis(place, x.ndim)
        size = x.shape[place]
        turns = dim_floor_divide(by, size) if size != 0 else 0
        end = dim_subtract(by, dim_multiply(turns, size)) if size != 0 else 0  # how many come in
        if end != 0:
            first = dim_subtract(size, end)
            x = concatenate([Slice(place, first, end)(x), Slice(place, 0, first)(x)], place)
    return x


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
    counts = _numbers("tile", repeats)
    if any(isinstance(count, int) and count < 0 for count in counts):
        raise ConfigError(f"tile by {counts} repeats less than never.", fix="pass 0 or more for each axis.")
    rank = max(x.ndim, len(counts))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + x.shape
    apart = [part for dim in shape for part in (1, dim)]
    repeated = [part for dim, count in zip(shape, counts, strict=True) for part in (count, dim)]
    tiled = tuple(dim_multiply(dim, count) for dim, count in zip(shape, counts, strict=True))
    return reshape(broadcast_to(reshape(x, apart), tuple(repeated)), tiled)


def _numbers(name: str, given: Any) -> tuple[Dim, ...]:
    """Integers and dimensions, given alone or as a sequence."""
    found = []
    for item in several(given):
        number = item if isinstance(item, str) else integer(item)
        if number is None:
            raise ConfigError(f"{name} takes integers, not {item!r}.")
        found.append(number)
    return tuple(found)


__all__ = ["expand_dims", "flip", "roll", "split", "squeeze", "stack", "tile"]
