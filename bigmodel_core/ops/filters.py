"""What convolutions over images and volumes share: shape rules, gradients and operators of files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Shape, Spec, dim_add, dim_multiply, dim_value, format_shape
from bigmodel_core.ops.channel_sum import channel_sum
from bigmodel_core.ops.images import (
    ImageOp,
    Numbers,
    Padding,
    bound_padding,
    by_times,
    onnx_pads,
    window_sizes,
)

FILTERS = {2: "(K, C, R, S)", 3: "(K, C, Q, R, S)"}


@dataclass(frozen=True)
class Convolution(ImageOp):
    """What all of them share.

    Args:
        stride: pixels between neighbouring windows along each axis.
        border: the padding, which counts as zeros: before each axis, then behind each.
        dilation: pixels between neighbouring taps of a filter.
        groups: channels and filters are split into this many independent groups.
    """

    stride: Numbers = (1, 1)
    border: Padding = (0, 0, 0, 0)
    dilation: Numbers = (1, 1)
    groups: int = 1

    @property
    def kinds(self) -> tuple[type[Any], type[Any], type[Any]]:
        """The convolution over so many axes, its transpose, and the gradient for its filters."""
        raise NotImplementedError

    @property
    def spatial(self) -> int:
        return len(self.stride)

    def span(self, taps: Sequence[int]) -> Numbers:
        """Pixels along each axis that a filter with so many taps covers."""
        return tuple((t - 1) * gap + 1 for t, gap in zip(taps, self.dilation, strict=True))

    def taps_of(self, weight: Spec) -> Numbers:
        """How many taps filters have along each axis.

        Raises:
            ShapeError: the filters have another number of axes.
        """
        if weight.ndim != self.spatial + 2:
            raise ShapeError(
                f"{type(self).__name__} needs filters {FILTERS[self.spatial]}, got"
                f" {format_shape(weight.shape)}."
            )
        return weight.sizes[2:]

    def checked_weight(self, weight: Spec, x: Spec, bias: Spec | None, filters: int) -> None:
        name = type(self).__name__
        kinds = {spec.dtype for spec in (x, weight, bias) if spec is not None}
        if len(kinds) > 1:
            raise DtypeError(f"{name} cannot mix {' and '.join(sorted(kinds))}.", fix="convert one side.")
        if bias is not None and bias.shape != (filters,):
            raise ShapeError(f"{name} needs a bias of ({filters},), got {format_shape(bias.shape)}.")

    def fields(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "border": self.border,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
        }

    def bind(self, sizes: Mapping[str, int]) -> Any:
        """The same with named dimensions replaced by sizes."""
        return replace(self, border=bound_padding(self.border, sizes))

    def onnx_fields(self, x: Spec, weight: Spec) -> dict[str, Any]:
        return {
            "kernel_shape": list(weight.shape[2:]),
            "strides": list(self.stride),
            **onnx_pads(self.border, x.shape[2:], self.span(weight.sizes[2:]), self.stride),
            "dilations": list(self.dilation),
            "group": self.groups,
        }


class ConvolutionForward(Convolution):
    """A convolution itself."""

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> Spec:
        name = type(self).__name__
        n, channels, *sizes = self.sizes(x)
        taps = self.taps_of(weight)
        filters, of_group = weight.sizes[:2]
        self.checked_weight(weight, x, bias, filters)
        if channels != of_group * self.groups or filters % self.groups:
            raise ShapeError(
                f"{name} with {self.groups} group(s) and filters {format_shape(weight.shape)} needs"
                f" {of_group * self.groups} channels and filters that divide by the groups, got {channels}"
                f" channels.",
                fix="channels and filters must both be multiples of groups.",
            )
        counts = window_sizes(name, sizes, self.span(taps), self.stride, self.border)
        return x.with_shape(self.arranged(n, filters, *counts))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(outputs[0].sizes) * math.prod(inputs[1].sizes[1:])

    def grad(self, dy: Value, y: Value, x: Value, weight: Value, *bias: Value) -> tuple[Value, ...]:
        _, transpose, weight_grad = self.kinds
        dx = transpose(size=self.sizes(x.spec)[2:], **self.fields())(dy, weight)
        dw = weight_grad(taps=weight.shape[2:], **self.fields())(x, dy)
        return (dx, dw, *(channel_sum(dy, self.layout) for _ in bias))

    def onnx(self, emit: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        return emit.Conv(x, weight, bias, **self.onnx_fields(*emit.inputs[:2]))


@dataclass(frozen=True)
class ConvolutionTranspose(Convolution):
    """The transpose of a convolution.

    Args:
        size: the output's along each axis, since several may lead to the same input under a stride.
    """

    size: Shape = (1, 1)

    def bind(self, sizes: Mapping[str, int]) -> Any:
        """The same with named dimensions replaced by sizes."""
        size = tuple(dim_value(dim, sizes) for dim in self.size)
        return replace(self, size=size, border=bound_padding(self.border, sizes))

    def infer(self, x: Spec, weight: Spec, bias: Spec | None = None) -> Spec:
        name = type(self).__name__
        n, channels, *sizes = self.sizes(x)
        taps = self.taps_of(weight)
        if channels != weight.shape[0] or weight.sizes[0] % self.groups:
            raise ShapeError(
                f"{name} of {channels} channels in {self.groups} group(s) got filters"
                f" {format_shape(weight.shape)}.",
                fix="filters are (channels of the input, channels of the output / groups, ...).",
            )
        of_group = weight.sizes[1]
        self.checked_weight(weight, x, bias, of_group * self.groups)
        expected = window_sizes(name, self.size, self.span(taps), self.stride, self.border)
        if expected != tuple(sizes):
            raise ShapeError(
                f"{name} to {by_times(self.size)} needs an input of {by_times(expected)}, got"
                f" {by_times(sizes)}."
            )
        return x.with_shape(self.arranged(n, of_group * self.groups, *self.size))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(inputs[0].sizes) * math.prod(inputs[1].sizes[1:])

    def grad(self, dy: Value, y: Value, x: Value, weight: Value, *bias: Value) -> tuple[Value, ...]:
        forward, _, weight_grad = self.kinds
        dx = forward(**self.fields())(dy, weight)
        dw = weight_grad(taps=weight.shape[2:], **self.fields())(dy, x)
        return (dx, dw, *(channel_sum(dy, self.layout) for _ in bias))

    def onnx(self, emit: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        taps, sizes = emit.inputs[1].shape[2:], emit.inputs[0].shape[2:]
        spans, ends = self.span(taps), (self.border[: self.spatial], self.border[self.spatial :])
        spare = [
            dim_add(dim_add(dim_add(size, step - span), dim_add(before, after)), dim_multiply(n, -step))
            for size, before, after, n, step, span in zip(
                self.size, *ends, sizes, self.stride, spans, strict=True
            )
        ]
        return emit.ConvTranspose(x, weight, bias, output_padding=spare, **self.onnx_fields(*emit.inputs[:2]))


@dataclass(frozen=True)
class ConvolutionWeightGrad(Convolution):
    """The gradient of a convolution for its filters.

    Args:
        taps: of a filter along each axis.
    """

    taps: Numbers = (1, 1)
    image_inputs: ClassVar[tuple[int, ...]] = (0, 1)
    image_outputs: ClassVar[tuple[int, ...]] = ()
    exported: ClassVar[bool] = False

    def infer(self, x: Spec, dy: Spec) -> Spec:
        channels, filters = self.sizes(x)[1], self.sizes(dy)[1]
        assert isinstance(channels, int)
        return x.with_shape((filters, channels // self.groups, *self.taps))

    def grad(self, dy: Value, y: Value, x: Value, upstream: Value) -> tuple[Value, Value]:
        """It is linear in both: the gradient of its output takes the place of the filters."""
        forward, transpose, _ = self.kinds
        dx = transpose(size=self.sizes(x.spec)[2:], **self.fields())(upstream, dy)
        return dx, forward(**self.fields())(x, dy)

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(inputs[1].sizes) * math.prod(outputs[0].sizes[1:])
