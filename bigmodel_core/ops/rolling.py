"""Axes that are rolled: what leaves at one end comes in at the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import (
    Dim,
    Spec,
    dim_floor_divide,
    dim_multiply,
    dim_subtract,
    dim_value,
    format_shape,
)
from bigmodel_core.kernels.cpu import rolling as cpu_kernels
from bigmodel_core.kernels.cuda import rolling as cuda_kernels
from bigmodel_core.ops.axes import dimensions, normal_axis, several
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.ops.shape import flatten, reshape
from bigmodel_core.ops.slicing import Slice


@dataclass(frozen=True)
class Roll(Op):
    """Numbers moved along one axis, those that leave at its end coming in in front.

    Args:
        axis: along which.
        moved: by how many places; fewer than the axis has.
    """

    axis: int
    moved: Dim
    cpu = cpu_kernels.roll
    cuda = cuda_kernels.roll

    def bind(self, sizes: Mapping[str, int]) -> Roll:
        """The same with named dimensions replaced by sizes."""
        return replace(self, moved=dim_value(self.moved, sizes))

    def infer(self, x: Spec) -> Spec:
        size = x.shape[self.axis]
        if isinstance(size, int) and isinstance(self.moved, int) and not 0 <= self.moved <= size:
            raise ShapeError(f"axis {self.axis} of {format_shape(x.shape)} is rolled by {self.moved}.")
        return x

    def permuted(self, order: tuple[int, ...], x: Spec) -> Roll:
        return replace(self, axis=order.index(self.axis))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (replace(self, moved=dim_subtract(x.shape[self.axis], self.moved))(dy),)

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """What leaves, then what stays."""
        (x,) = inputs
        first = dim_subtract(x.shape[self.axis], self.moved)
        parts = [Slice(self.axis, first, self.moved)(x), Slice(self.axis, 0, first)(x)]
        return (concatenate(parts, self.axis),)


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
    axes, shifts = several(axis), dimensions("roll", shift)
    shifts = shifts * len(axes) if shifts == (shift,) else shifts
    if len(shifts) != len(axes):
        raise ConfigError(f"roll has {len(shifts)} shifts for {len(axes)} axes.", fix="pass one for each.")
    for place, by in zip(axes, shifts, strict=True):
        place = normal_axis(place, x.ndim)
        size = x.shape[place]
        turns = dim_floor_divide(by, size) if size != 0 else 0
        end = dim_subtract(by, dim_multiply(turns, size)) if size != 0 else 0  # how many come in
        if end != 0:
            x = Roll(place, end)(x)
    return x


__all__ = ["roll"]
