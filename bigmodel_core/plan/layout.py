"""Physical layout: images with channels last.

Graphs mean (N, C, H, W). This pass rewrites a graph so that ops on images (`Op.channels_last`), and the ops
between them that can be computed in another order of axes (`Op.permuted`), work on (N, H, W, C). A value is
converted at most once in each direction, and only where something needs it: at the inputs, and where an op
such as a transpose needs the numbers in their logical order. Images of one channel or one pixel are the same
numbers either way.

A reshape that only arranges pixels in another way, (N, C, 1, T) to (N, C, T), is a reshape of the images with
channels last, too: so sequences between one-dimensional convolutions are (N, T, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bigmodel_core.graph import LEAVES, Node, Op, Value
from bigmodel_core.graph.spec import dim_product
from bigmodel_core.ops.images import SwapPlanes, to_first, to_last
from bigmodel_core.ops.shape import Reshape, reshape
from bigmodel_core.plan.kernel_table import needs_kernel
from bigmodel_core.plan.passes import Computation, copied_inputs

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device


def channels_last(computation: Computation, device: Device) -> Computation:
    """A computation with images laid out channels last; itself if it has no ops on images."""
    nodes = computation.nodes
    if all(node.op.channels_last() is None for node in nodes):
        return computation
    rewriting = _Rewriting(computation, device)
    for node in nodes:
        rewriting.add(node)
    return computation.moved(rewriting.graph, rewriting.logical)


class _Rewriting:
    """The new graph, and the old one's values in it: in logical order, channels last, or both."""

    def __init__(self, old: Computation, device: Device) -> None:
        self.graph, self.first = copied_inputs(old.graph)
        self.last: dict[tuple[int, int], Value] = {}
        """By id and rank: one of fewer dimensions is broadcast to arrays of that rank."""
        self.device = device

    def logical(self, value: Value) -> Value:
        """A value in logical order."""
        found = self.first.get(id(value))
        if found is None:
            source = _of_same_pixels(value)
            if source is None:
                found = _converted(self.last[id(value), value.ndim], False)
            else:
                found = reshape(self.logical(source), value.shape)
            self.first[id(value)] = found
        return found

    def channels_last(self, value: Value, rank: int) -> Value:
        """A value with channels last, in arrays of a rank; fewer dimensions broadcast as they would."""
        found = self.last.get((id(value), rank))
        if found is None:
            source = _of_same_pixels(value)
            if value.ndim == rank:
                found = self._computed_again(value) if source is None else self._regrouped(value, source)
            if found is None:
                found = self._turned(value, rank)
            self.last[id(value), rank] = found
        return found

    def _turned(self, value: Value, rank: int) -> Value:
        logical = self.logical(value)
        if value.ndim < rank and dim_product(value.shape) == 1:
            return reshape(logical, ())
        return _converted(reshape(logical, (1,) * (rank - value.ndim) + value.shape), True)

    def _regrouped(self, value: Value, source: Value) -> Value:
        """The pixels of a source that lies channels last in another shape."""
        n, channels, *pixels = value.shape
        return reshape(self.channels_last(source, source.ndim), (n, *pixels, channels))

    def _computed_again(self, value: Value) -> Value | None:
        """What is broadcast from smaller arrays, such as zeros or the gradient of a mean, is made again
        rather than converted."""
        node = value.node
        if not node.inputs or dim_product(value.shape) == 1:
            return None
        is_broadcast = self._is_elementwise(node) and all(each.shape != value.shape for each in node.inputs)
        if not is_broadcast and any(dim_product(source.shape) != 1 for source in node.inputs):
            return None
        op = self._permuted(node, value.ndim)
        if op is None:
            return None
        sources = [self.channels_last(source, value.ndim) for source in node.inputs]
        return self.graph.apply(op, sources).outputs[value.number]

    def add(self, node: Node) -> None:
        """Put a node into the new graph."""
        with self.graph.scope(node.path, node.layer):
            if isinstance(node.op, LEAVES):
                if id(node.outputs[0]) not in self.first:
                    self.first[id(node.outputs[0])] = self.graph.apply(node.op, ()).outputs[0]
                return
            if (on_images := node.op.channels_last()) is not None:
                self._apply(node, on_images, node.op.image_inputs, node.op.image_outputs)
                return
            rank = self._rank_of_images(node)
            if rank and _of_same_pixels(node.outputs[0]) is not None:
                self.channels_last(node.outputs[0], node.outputs[0].ndim)
            elif rank and (turned := self._permuted(node, rank)) is not None:
                full = [number for number, value in enumerate(node.outputs) if value.ndim == rank]
                self._apply(node, turned, range(len(node.inputs)), full, rank)
            else:
                self._apply(node, node.op, (), ())

    def _apply(
        self, node: Node, op: Op, images: Sequence[int], image_outputs: Sequence[int], rank: int = 0
    ) -> None:
        """Apply an op that takes some inputs with channels last, and gives some outputs so.

        Args:
            rank: to which images are broadcast; 0 leaves each its own.
        """
        inputs = [
            self.channels_last(value, rank or value.ndim) if number in images else self.logical(value)
            for number, value in enumerate(node.inputs)
        ]
        made = self.graph.apply(op, inputs)
        for number, (before, after) in enumerate(zip(node.outputs, made.outputs, strict=True)):
            if number in image_outputs:
                self.last[id(before), before.ndim] = after
            else:
                self.first[id(before)] = after

    def _rank_of_images(self, node: Node) -> int:
        """The rank of the inputs that lie channels last, 0 where none does. For an elementwise op only one
        counts that is as large as its output, since what is broadcast is cheap to convert."""
        is_elementwise = self._is_elementwise(node)
        for value in node.inputs:
            if (id(value), value.ndim) in self.last and (
                not is_elementwise or value.shape == node.outputs[0].shape
            ):
                return value.ndim
        return 0

    def _is_elementwise(self, node: Node) -> bool:
        return needs_kernel(node.op) and self.device.kernel_of(node).is_elementwise

    def _permuted(self, node: Node, rank: int) -> Op | None:
        if any(value.ndim > rank for value in node.inputs):
            return None
        return node.op.permuted(to_last(rank), *(value.spec for value in node.inputs))


def _of_same_pixels(value: Value) -> Value | None:
    """What a value is a reshape of that leaves images and channels as they are."""
    if not isinstance(value.node.op, Reshape):
        return None
    (source,) = value.node.inputs
    is_same = value.ndim > 2 and source.ndim > 2 and value.shape[:2] == source.shape[:2]
    return source if is_same else None


def _converted(value: Value, is_last: bool) -> Value:
    """Images in the other layout; a reshape where the numbers lie the same."""
    order = to_last(value.ndim) if is_last else to_first(value.ndim)
    channels, pixels = (value.shape[1], value.shape[2:]) if is_last else (value.shape[-1], value.shape[1:-1])
    if channels == 1 or all(size == 1 for size in pixels):
        return reshape(value, tuple(value.shape[axis] for axis in order))
    return SwapPlanes(is_last)(value)
