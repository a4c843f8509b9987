"""Start and end of a Slice, of free sizes, too."""

from __future__ import annotations

from bigmodel_core.graph.dimensions import dim_min, dim_parts, dim_sides
from bigmodel_core.graph.spec import Dim, dim_add, dim_floor_divide, dim_multiply
from bigmodel_core.ops.slicing import bounded

END = 2**63 - 1
"""What a Slice that goes to the end of an axis stops at."""


def bounds(size: Dim, start: Dim, length: Dim, step: int) -> tuple[Dim, Dim]:
    """Start and end of a slice, as numbers where the operator makes the same of them in any size."""
    if step < 0:
        return _backward_bounds(size, start, length, step)
    if isinstance(start, int) and start < 0:
        start = dim_add(size, start)
    stop = dim_add(start, dim_add(dim_multiply(dim_add(length, -1), step), 1))
    first, end = _as_number(start, size), _as_number(stop, size)
    spare = _cut(dim_add(size, dim_multiply(length, -1)))
    if step == 1 and isinstance(first, int):
        for last in (end, first - spare if spare is not None else END):
            if isinstance(last, int) and bounded(size, first, last) == (start, length):
                return first, last
    return _to_end(start, size), _to_end(stop, size)


def _backward_bounds(size: Dim, start: Dim, length: Dim, step: int) -> tuple[int, int]:
    """Start and end of a slice that runs backwards: over all of a free axis."""
    if not (isinstance(size, int) and isinstance(start, int) and isinstance(length, int)):
        assert start == -1 and length == dim_floor_divide(dim_add(size, -step - 1), -step)
        return -1, -END
    first = start + size if start < 0 else start
    stop = first + length * step - (step + 1)
    return (0, 0) if length == 0 else (first, stop if stop >= 0 else -END)


def _to_end(bound: Dim, size: Dim) -> Dim:
    """A bound that is a fixed distance from the end of an axis as that number."""
    rest = dim_add(bound, dim_multiply(size, -1))
    return (rest or END) if isinstance(rest, int) and not isinstance(bound, int) else bound


def _as_number(bound: Dim, size: Dim) -> Dim:
    """A bound of a slice as the number that is cut to it at the ends of an axis, if there is one."""
    for part, sign in ((bound, 1), (dim_add(size, dim_multiply(bound, -1)), -1)):
        number = _cut(part)
        if number is not None and number > 0 and dim_min(size, number) == part:
            return sign * number
    return _to_end(bound, size)


def _cut(dim: Dim) -> int | None:
    """The number that a dimension is at most, which it says by a minimum."""
    parts = dim_parts(dim)
    shift = sum(number for number, factors in parts if not factors)
    found = [dim_sides(factors[0]) for number, factors in parts if number == len(factors) == 1]
    ends = [sides[1] for sides in found if sides is not None and isinstance(sides[1], int)]
    return ends[0] + shift if len(ends) == 1 else None
