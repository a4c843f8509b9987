"""How convolutions and pools are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Dim, Shape, dim_add, dim_multiply, dim_subtract
from bigmodel_core.ops.convolution import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from bigmodel_core.ops.images import Numbers, Padding, around, same_padding
from bigmodel_core.ops.pooling import AveragePool, MaxPool
from bigmodel_onnx.nodes import Call, reads


@dataclass
class _Windows:
    """The windows of a node, on volumes, or on images (N, C, H, W) that a sequence (N, C, T) becomes.

    Args:
        call: the node.
        taps: the size of a window; that of the weight's filters if the node does not say.
    """

    call: Call
    taps: Sequence[Any]

    def __post_init__(self) -> None:
        call = self.call
        given = call.value(0)
        self.rank = given.ndim - 2
        if self.rank not in (1, 2, 3):
            raise ExportError(
                f"{call.operator} over {self.rank} axes cannot be read.",
                fix="use sequences, images or volumes.",
            )
        self.x = given if self.rank > 1 else ops.reshape(given, (*given.shape[:2], 1, given.shape[2]))
        self.axes = max(self.rank, 2)
        self.taps = self.numbers("kernel_shape", 1, list(self.taps))
        self.stride, self.dilation = self.numbers("strides", 1), self.numbers("dilations", 1)
        taps = zip(self.taps, self.dilation, strict=True)
        self.span: Numbers = tuple((n - 1) * gap + 1 for n, gap in taps)

    def numbers(self, name: str, least: int, otherwise: Sequence[Any] = ()) -> Numbers:
        """An attribute with a number for each axis; of a sequence, the rows are added."""
        values = list(self.call.get(name) or otherwise or [least] * self.rank)
        if len(values) != self.rank:
            raise ExportError(f"{name} of {self.call.operator} is {values}, expected {self.rank} numbers.")
        return (*[least] * (self.axes - self.rank), *values)

    @property
    def auto_pad(self) -> str:
        """The rule for pads that are not given as numbers."""
        found: str = self.call.get("auto_pad", "NOTSET")
        if found not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise ExportError(f"auto_pad {found} cannot be read.")
        return found

    def given_padding(self) -> Padding:
        """The pads as stored in the file."""
        pads = list(self.call.get("pads") or [0] * 2 * self.rank)
        if len(pads) != 2 * self.rank or min(pads) < 0:
            raise ExportError(f"pads of {self.call.operator} are {pads}.")
        return (0, pads[0], 0, pads[1]) if self.rank == 1 else tuple(pads)

    def padding(self) -> Padding:
        """The pads before each axis, then behind each."""
        if not self.auto_pad.startswith("SAME"):
            return self.given_padding()
        pads = same_padding(self.x.shape[2:], self.span, self.stride)
        is_upper = self.auto_pad == "SAME_UPPER"
        return pads if is_upper else (*pads[self.axes :], *pads[: self.axes])

    def ceiled(self, padding: Padding) -> Padding:
        """The padding that lets a last window in, which begins on the image but does not fit."""
        if not self.call.get("ceil_mode", 0) or self.auto_pad.startswith("SAME"):
            return padding
        ends = []
        for axis, (size, step, span) in enumerate(zip(self.x.shape[2:], self.stride, self.span, strict=True)):
            before, after = int(padding[axis]), int(padding[axis + self.axes])
            if step == 1:  # every window fits
                ends.append(after)
                continue
            if not isinstance(size, int):
                raise ExportError(
                    f"{self.call.operator} with ceil_mode along the free dimension {size} cannot be read.",
                    fix="fix that size in the file.",
                )
            count = -(-(size + before + after - span) // step) + 1
            if (count - 1) * step >= size + before:
                count -= 1
            ends.append(max((count - 1) * step + span - size - before, 0))
        return (*padding[: self.axes], *ends)

    def result(self, y: Value) -> Value:
        """Images as what the node takes."""
        return y if self.rank > 1 else ops.reshape(y, (*y.shape[:2], y.shape[3]))


def _known(total: Dim | None) -> int:
    """A total of pads, at least 0.

    Raises:
        ExportError: it depends on a free dimension.
    """
    if not isinstance(total, int):
        raise ExportError("pads that depend on a free dimension cannot be read.", fix="fix it in the file.")
    return max(total, 0)


def _apart(totals: Sequence[int], less_first: bool) -> Padding:
    """Totals of axes on both of their sides; what is odd goes to the end, or to the beginning."""
    before = [total // 2 if less_first else total - total // 2 for total in totals]
    return (*before, *(total - first for total, first in zip(totals, before, strict=True)))


def _filters(weight: Value) -> Value:
    """Filters of sequences as those of images."""
    return weight if weight.ndim > 3 else ops.reshape(weight, (*weight.shape[:2], 1, *weight.shape[2:]))


@reads("Conv")
def _conv(call: Call) -> Value:
    w = _Windows(call, call.value(1).shape[2:])
    weight = _filters(call.value(1))
    op = (Conv2d if w.axes == 2 else Conv3d)(
        stride=w.stride, border=w.padding(), dilation=w.dilation, groups=call.get("group", 1)
    )
    return w.result(op(w.x, weight, *([call.value(2)] if call.has(2) else [])))


@reads("ConvTranspose")
def _conv_transpose(call: Call) -> Value:
    w = _Windows(call, call.value(1).shape[2:])
    padding, more = w.given_padding(), w.numbers("output_padding", 0)
    largest = [
        dim_add(dim_multiply(size, step), span + extra - step)
        for size, step, span, extra in zip(w.x.shape[2:], w.stride, w.span, more, strict=True)
    ]
    wanted: list[Dim] = [dim_multiply(size, step) for size, step in zip(w.x.shape[2:], w.stride, strict=True)]
    if call.get("output_shape") is not None:
        wanted = [*[1] * (w.axes - w.rank), *call.get("output_shape")[-w.rank :]]
    if call.get("output_shape") is not None or w.auto_pad.startswith("SAME"):
        totals = [_known(dim_subtract(a, b)) for a, b in zip(largest, wanted, strict=True)]
        padding = _apart(totals, less_first=w.auto_pad == "SAME_UPPER")
        size: Shape = tuple(wanted)
    else:
        ends = padding[: w.axes], padding[w.axes :]
        pads = [dim_add(before, after) for before, after in zip(*ends, strict=True)]
        size = tuple(dim_subtract(a, b) for a, b in zip(largest, pads, strict=True))
    op = (ConvTranspose2d if w.axes == 2 else ConvTranspose3d)(
        stride=w.stride,
        border=padding,
        dilation=w.dilation,
        groups=call.get("group", 1),
        size=size,
    )
    return w.result(op(w.x, _filters(call.value(1)), *([call.value(2)] if call.has(2) else [])))


# Pools ---------------------------------------------------------------------------------------------------


def _pool(call: Call) -> _Windows:
    if call.get("kernel_shape") is None:
        raise ExportError(f"{call.operator} has no kernel_shape.")
    w = _Windows(call, ())
    if any(gap != 1 for gap in w.dilation):
        raise ExportError(f"{call.operator} with dilations cannot be read.")
    return w


@reads("MaxPool")
def _max_pool(call: Call) -> Value:
    if call.outputs > 1:
        raise ExportError("MaxPool with its second output, the indices of the maxima, cannot be read.")
    w = _pool(call)
    return w.result(MaxPool(tuple(w.taps), w.stride, w.ceiled(w.padding()))(w.x)[0])


@reads("AveragePool")
def _average_pool(call: Call) -> Value:
    w = _pool(call)
    padding, counts = w.padding(), bool(call.get("count_include_pad", 0))
    whole = w.ceiled(padding)
    x = w.x
    if counts and whole != padding:  # pads count, what is behind them does not
        x = ops.pad(x, around(padding))
        ends = whole[w.axes :], padding[w.axes :]
        more = [max(int(end) - int(given), 0) for end, given in zip(*ends, strict=True)]
        whole, counts = (*[0] * w.axes, *more), False
    return w.result(AveragePool(tuple(w.taps), w.stride, whole, counts)(x))


@reads("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(call: Call) -> Value:
    x = call.value(0)
    function = ops.mean if call.operator == "GlobalAveragePool" else ops.max
    return function(x, tuple(range(2, x.ndim)), True)
