"""What ops on images (N, C, H, W) have in common: the layout they compute in, and sizes of windows.

In a graph, an `ImageOp` works on (N, C, H, W). The planner may hand it images with channels last
instead: it sets `layout` to "NHWC", and shapes, inputs and outputs are then (N, H, W, C).
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
Padding = tuple[Dim, Dim, Dim, Dim]
"""Rows above, columns left, rows below, columns right. Ops call the field `border`, since checkpoints do.

Padding "same" with a stride along a free axis depends on its size, and is an expression of it."""

CHANNELS_FIRST, CHANNELS_LAST = "NCHW", "NHWC"


def to_last(rank: int) -> tuple[int, ...]:
    """The axes of (N, C, ...) in the order (N, ..., C)."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The axes of (N, ..., C) in the order (N, C, ...)."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass(frozen=True, kw_only=True)
class ImageOp(Op):
    """An op defined on (N, C, H, W) that can also compute on (N, H, W, C)."""

    layout: str = CHANNELS_FIRST
    image_inputs: ClassVar[tuple[int, ...]] = (0,)
    image_outputs: ClassVar[tuple[int, ...]] = (0,)

    def channels_last(self) -> Self | None:
        return replace(self, layout=CHANNELS_LAST) if self.layout == CHANNELS_FIRST else None

    def sizes(self, x: Spec) -> tuple[Dim, Dim, Dim, Dim]:
        """(N, C, H, W) of an image input.

        Raises:
            ShapeError: it has not four dimensions.
            DtypeError: it is not of a float type.
        """
        name = type(self).__name__
        if x.ndim != 4:
            raise ShapeError(
                f"{name} needs images (N, C, H, W), got {format_shape(x.shape)}.",
                fix="reshape the input; images of one channel are (N, 1, H, W).",
            )
        check_floats(name, x)
        order = (0, 1, 2, 3) if self.layout == CHANNELS_FIRST else to_first(4)
        n, channels, height, width = (x.shape[axis] for axis in order)
        return n, channels, height, width

    def arranged(self, n: Dim, channels: Dim, height: Dim, width: Dim) -> Shape:
        """A shape in the op's layout."""
        if self.layout == CHANNELS_FIRST:
            return n, channels, height, width
        return n, height, width, channels


def output_size(size: Dim, window: int, stride: int, before: Dim, after: Dim) -> Dim:
    """How many windows fit along an axis; 0 or less where none does."""
    spare = dim_add(dim_add(size, -window), dim_add(before, after))
    return dim_add(dim_floor_divide(spare, stride), 1)


def window_sizes(
    name: str, height: Dim, width: Dim, span: Pair, stride: Pair, padding: Padding
) -> tuple[Dim, Dim]:
    """Height and width of what windows over an image give.

    Raises:
        ShapeError: the window is larger than the padded image.
    """
    down = output_size(height, span[0], stride[0], padding[0], padding[2])
    across = output_size(width, span[1], stride[1], padding[1], padding[3])
    if any(isinstance(count, int) and count < 1 for count in (down, across)):
        raise ShapeError(
            f"{name}: a window of {span[0]} x {span[1]} does not fit an image of {height} x {width} with"
            f" padding {padding}.",
            fix="use larger images (N, C, H, W), a smaller window or more padding.",
        )
    return down, across


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """A number for both axes or one for each, as two integers.

    Raises:
        ConfigError: it is neither, or below `least`.
    """
    given = (value, value) if isinstance(value, int) else value if isinstance(value, (tuple, list)) else ()
    if len(given) != 2 or any(not isinstance(i, int) or isinstance(i, bool) or i < least for i in given):
        raise ConfigError(
            f"{name} is {value!r}, expected an integer of at least {least} or two of them.",
            fix=f"pass {name}={max(least, 1)} or {name}=({max(least, 1)}, {max(least, 1)}).",
        )
    return int(given[0]), int(given[1])


def padding_of(
    padding: Any, height: Dim, width: Dim, window: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Padding:
    """Padding as a layer takes it, as numbers for the four sides.

    Args:
        padding: a number, one for (height, width), or "same": outputs of ceil(size / stride), what is odd
            going below and right.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(padding, str):
        if padding != "same":
            raise ConfigError(f"padding is {padding!r}.", fix='pass a number, two numbers or "same".')
        spans = [(taps - 1) * gap + 1 for taps, gap in zip(window, dilation, strict=True)]
        return same_padding((height, width), spans, stride)
    down, across = pair(padding, "padding", 0)
    return down, across, down, across


def same_padding(sizes: Sequence[Dim], spans: Sequence[int], stride: Pair) -> Padding:
    """Padding that lets ceil(size / stride) windows in, what is odd going below and right."""
    before, after = [], []
    for size, span, step in zip(sizes, spans, stride, strict=True):
        windows = dim_floor_divide(dim_add(size, step - 1), step)
        missing = dim_subtract(dim_add(dim_multiply(windows, step), span - step), size)
        total = dim_max(missing, 0)
        before.append(dim_floor_divide(total, 2))
        after.append(dim_subtract(total, before[-1]))
    return before[0], before[1], after[0], after[1]


def bound_padding(padding: Padding, sizes: Mapping[str, int]) -> Padding:
    """Padding with named dimensions replaced by sizes."""
    top, left, below, right = (dim_value(side, sizes) for side in padding)
    return top, left, below, right


def onnx_pads(padding: Padding, sizes: Sequence[Dim], spans: Sequence[int], stride: Pair) -> dict[str, Any]:
    """Padding as attributes of a window operator, on an image of such (H, W).

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
