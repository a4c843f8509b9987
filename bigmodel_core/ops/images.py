"""What ops on images (N, C, H, W) and volumes (N, C, D, H, W) have in common: the layout they compute in, and
sizes of windows.

In a graph, an `ImageOp` works with channels first. The planner may hand it images with channels last instead:
it sets `layout` to "NHWC", and shapes, inputs and outputs are then (N, H, W, C), of volumes (N, D, H, W, C).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from bigmodel_core.errors import ConfigError, ExportError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import (
    Dim,
    Shape,
    Spec,
    dim_add,
    dim_floor_divide,
    dim_max,
    dim_multiply,
    dim_subtract,
    dim_value,
    format_shape,
)
from bigmodel_core.kernels.cpu import images as cpu_kernels
from bigmodel_core.kernels.cuda import images as cuda_kernels
from bigmodel_core.ops.elementwise import check_floats

Pair = tuple[int, int]
Numbers = tuple[int, ...]
"""A number for each axis of an image or volume: (down, across), or (deep, down, across)."""
Padding = tuple[Dim, ...]
"""What is added before each axis, then behind each: rows above, columns left, rows below, columns right. Ops
call the field `border`, since checkpoints do.

Padding "same" with a stride along a free axis depends on its size, and is an expression of it."""

CHANNELS_FIRST, CHANNELS_LAST = "NCHW", "NHWC"
MEANT = {
    2: ("images (N, C, H, W)", "(N, 1, H, W)"),
    3: ("volumes (N, C, D, H, W)", "(N, 1, D, H, W)"),
}
"""What an op takes, and how one channel is given, by how many axes each channel has."""


def to_last(rank: int) -> tuple[int, ...]:
    """The axes of (N, C, ...) in the order (N, ..., C)."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The axes of (N, ..., C) in the order (N, C, ...)."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True, kw_only=True)
class ImageOp(Op):
    """An op defined on (N, C, H, W) that can also compute on (N, H, W, C); on volumes likewise."""

    layout: str = CHANNELS_FIRST
    image_inputs: ClassVar[tuple[int, ...]] = (0,)
    image_outputs: ClassVar[tuple[int, ...]] = (0,)

    @property
    def spatial(self) -> int:
        """How many axes each channel has: 2 in images, 3 in volumes."""
        return 2

    def channels_last(self) -> Self | None:
        return replace(self, layout=CHANNELS_LAST) if self.layout == CHANNELS_FIRST else None

    def sizes(self, x: Spec) -> Shape:
        """(N, C, H, W) of an image input; (N, C, D, H, W) of volumes.

        Raises:
            ShapeError: it has another number of dimensions.
            DtypeError: it is not of a float type.
        """
        name = type(self).__name__
        if x.ndim != self.spatial + 2:
            meant, of_one = MEANT[self.spatial]
            raise ShapeError(
                f"{name} needs {meant}, got {format_shape(x.shape)}.",
                fix=f"reshape the input; {meant.split()[0]} of one channel are {of_one}.",
            )
        check_floats(name, x)
        if self.layout == CHANNELS_FIRST:
            return x.shape
        return tuple(x.shape[axis] for axis in to_first(x.ndim))

    def arranged(self, n: Dim, channels: Dim, *sizes: Dim) -> Shape:
        """A shape in the op's layout."""
        return (n, channels, *sizes) if self.layout == CHANNELS_FIRST else (n, *sizes, channels)


def output_size(size: Dim, window: int, stride: int, before: Dim, after: Dim) -> Dim:
    """How many windows fit along an axis; 0 or less where none does."""
    spare = dim_add(dim_add(size, -window), dim_add(before, after))
    return dim_add(dim_floor_divide(spare, stride), 1)


def by_times(sizes: Sequence[Dim]) -> str:
    """Sizes as people write them: 3 x 3."""
    return " x ".join(map(str, sizes))


def window_sizes(name: str, sizes: Sequence[Dim], span: Numbers, stride: Numbers, padding: Padding) -> Shape:
    """The size along each axis of what windows over an image or volume give.

    Raises:
        ShapeError: the window is larger than the padded image.
    """
    ends = padding[: len(sizes)], padding[len(sizes) :]
    counts = tuple(output_size(*axis) for axis in zip(sizes, span, stride, *ends, strict=True))
    if any(isinstance(count, int) and count < 1 for count in counts):
        raise ShapeError(
            f"{name}: a window of {by_times(span)} does not fit {('an image', 'a volume')[len(sizes) - 2]} of"
            f" {by_times(sizes)} with padding {padding}.",
            fix=f"use larger {MEANT[len(sizes)][0]}, a smaller window or more padding.",
        )
    return counts


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """A number for both axes of an image or one for each, as two integers.

    Raises:
        ConfigError: it is neither, or below `least`.
    """
    down, across = per_axis(value, name, 2, least)
    return down, across


def per_axis(value: Any, name: str, axes: int, least: int = 1) -> Numbers:
    """A number for all axes or one for each, as integers.

    Raises:
        ConfigError: it is neither, or below `least`.
    """
    given = (value,) * axes if isinstance(value, int) else value if isinstance(value, (tuple, list)) else ()
    if len(given) != axes or any(not isinstance(i, int) or isinstance(i, bool) or i < least for i in given):
        example = max(least, 1)
        raise ConfigError(
            f"{name} is {value!r}, expected an integer of at least {least} or {('two', 'three')[axes - 2]} of"
            " them.",
            fix=f"pass {name}={example} or {name}={(example,) * axes}.",
        )
    return tuple(int(i) for i in given)


def padding_of(
    padding: Any, sizes: Sequence[Dim], window: Numbers, stride: Numbers, dilation: Numbers | None = None
) -> Padding:
    """Padding as a layer takes it, as numbers for all sides.

    Args:
        padding: a number, one for each axis, or "same": outputs of ceil(size / stride), what is odd going
            behind (below and right).

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(padding, str):
        if padding != "same":
            numbers = "two numbers" if len(sizes) == 2 else "three numbers"
            raise ConfigError(f"padding is {padding!r}.", fix=f'pass a number, {numbers} or "same".')
        gaps = dilation or (1,) * len(sizes)
        spans = [(taps - 1) * gap + 1 for taps, gap in zip(window, gaps, strict=True)]
        return same_padding(sizes, spans, stride)
    return per_axis(padding, "padding", len(sizes), 0) * 2


def same_padding(sizes: Sequence[Dim], spans: Sequence[int], stride: Numbers) -> Padding:
    """Padding that lets ceil(size / stride) windows in, what is odd going behind."""
    before, after = [], []
    for size, span, step in zip(sizes, spans, stride, strict=True):
        windows = dim_floor_divide(dim_add(size, step - 1), step)
        missing = dim_subtract(dim_add(dim_multiply(windows, step), span - step), size)
        total = dim_max(missing, 0)
        before.append(dim_floor_divide(total, 2))
        after.append(dim_subtract(total, before[-1]))
    return *before, *after


def around(padding: Padding) -> tuple[tuple[Dim, Dim], ...]:
    """Padding as the widths of borders of (N, C, ...)."""
    half = len(padding) // 2
    return ((0, 0), (0, 0), *zip(padding[:half], padding[half:], strict=True))


def bound_padding(padding: Padding, sizes: Mapping[str, int]) -> Padding:
    """Padding with named dimensions replaced by sizes."""
    return tuple(dim_value(side, sizes) for side in padding)


def onnx_pads(
    padding: Padding, sizes: Sequence[Dim], spans: Sequence[int], stride: Numbers
) -> dict[str, Any]:
    """Padding as attributes of a window operator, on an image or volume of such sizes.

    Raises:
        ExportError: it depends on a size in a way that a file cannot say.
    """
    if all(isinstance(side, int) for side in padding):
        return {"pads": list(padding)}
    if padding == same_padding(sizes, spans, stride):
        return {"auto_pad": "SAME_UPPER"}
    raise ExportError(
        f"padding {format_shape(padding)} depends on the size of the image in a way that no file can say.",
        fix='use padding "same" or numbers, or fix that size in the input\'s spec.',
    )


@dataclass(frozen=True)
class SwapPlanes(Op):
    """(N, A, B) to (N, B, A), given as images of any rank: between channels first and channels last.

    Args:
        to_last: from (N, C, ...) to (N, ..., C); else the other way.
    """

    to_last: bool
    exported: ClassVar[bool] = False
    cpu = cpu_kernels.swap_planes
    cuda = cuda_kernels.swap_planes

    def infer(self, x: Spec) -> Spec:
        order = to_last(x.ndim) if self.to_last else to_first(x.ndim)
        return x.with_shape(x.shape[axis] for axis in order)

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        return (SwapPlanes(not self.to_last)(dy),)
