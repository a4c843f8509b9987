"""The way of units through a reshape: axes that stay, that become one, or that come of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigmodel_core.graph.spec import Dim, Shape
from bigmodel_core.shrinking.units import Axes, Axis, Units


def reshaped(units: Units, x: Axes, before: Shape, after: Shape) -> Axes:
    """The axes of an array in another shape.

    Axes that stay keep their units. Of several that become one, the first that has units keeps them, and the
    numbers along the others go with it; of one that becomes several, so does the first of those.

    Args:
        units: of the model.
        x: the axes.
        before, after: the shapes.
    """
    start, end = _equal_ends(before, after)
    middle = x[start : len(before) - end]
    found: Axes = [None] * (len(after) - start - end)
    olds = [place for place in range(len(middle)) if before[start + place] != 1]
    news = [place for place in range(len(found)) if after[start + place] != 1]
    sizes = [before[start + place] for place in olds]
    if all(isinstance(size, int) for size in sizes) and len(news) == 1:
        found[news[0]] = _merged(units, [middle[place] for place in olds], [int(size) for size in sizes])
    elif len(olds) == 1 and (whole := middle[olds[0]]) is not None:
        found[news[0]] = units.join_rows(whole.reshape(int(after[start + news[0]]), -1))
    else:
        for axis in middle:
            units.fix(axis)
    return [*x[:start], *found, *x[len(before) - end :]]


def _equal_ends(before: Sequence[Dim], after: Sequence[Dim]) -> tuple[int, int]:
    """How many sizes are the same at the beginning, and how many of the others at the end."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, end


def _merged(units: Units, axes: Axes, sizes: list[int]) -> Axis:
    first = next((place for place, axis in enumerate(axes) if axis is not None), None)
    if first is None:
        return None
    for axis in axes[first + 1 :]:
        units.fix(axis)
    whole = axes[first]
    assert whole is not None
    shape = [size if place == first else 1 for place, size in enumerate(sizes)]
    return np.broadcast_to(whole.reshape(shape), sizes).reshape(-1)
