"""Axes and whole numbers as they are given: Python's, NumPy's, counted from either end."""

from __future__ import annotations

import contextlib
import operator
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph.spec import Dim, Shape

Axes = int | tuple[int, ...] | None


def integer(item: Any) -> int | None:
    """An integer of any kind as Python's own; None for what is none, such as a truth value."""
    if type(item) is int:
        return item
    if not isinstance(item, (bool, np.bool_, str)) and hasattr(item, "__index__"):
        with contextlib.suppress(TypeError):  # of arrays, those that are one integer
            return operator.index(item)
    return None


def several(given: Any) -> tuple[Any, ...]:
    """What may be given alone or as a sequence, such as a size or a shape, as a tuple."""
    is_array = isinstance(given, np.ndarray) and given.ndim > 0
    return tuple(given) if is_array or isinstance(given, (tuple, list, range)) else (given,)


def dimensions(name: str, given: Any) -> tuple[Dim, ...]:
    """Integers and dimensions, given alone or as a sequence to what `name` says.

    Raises:
        ConfigError: one is neither.
    """
    found = []
    for item in several(given):
        number = item if isinstance(item, str) else integer(item)
        if number is None:
            raise ConfigError(f"{name} takes integers, not {item!r}.", fix="use whole numbers, such as 2.")
        found.append(number)
    return tuple(found)


def normal_axes(axes: Axes, rank: int) -> tuple[int, ...]:
    """Axes as sorted numbers from 0; None means all.

    Raises:
        ShapeError: an axis is no integer, out of range or named twice.
    """
    if axes is None:
        return tuple(range(rank))
    given = several(axes)
    found = tuple(sorted(normal_axis(axis, rank) for axis in given))
    if len(set(found)) != len(found):
        raise ShapeError(f"the axes {given} name one axis twice.")
    return found


def normal_axis(axis: int, rank: int) -> int:
    """One axis as a number from 0.

    Raises:
        ShapeError: it is no integer, or out of range.
    """
    place = integer(axis)
    if place is None:
        raise ShapeError(f"{axis!r} is no axis.", fix="use an integer, from the end if it is below 0.")
    if not -rank <= place < rank:
        raise ShapeError(
            f"axis {place} is out of range for {rank} dimensions.",
            fix=f"use {-rank} to {rank - 1}." if rank else "use an array: a number has no axes.",
        )
    return place % rank


def with_axis(shape: Shape, axis: int, size: Dim) -> Shape:
    """A shape with another size of one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])
