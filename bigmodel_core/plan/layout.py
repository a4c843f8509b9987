"""Physical layout: images with channels last.

Graphs mean (N, C, H, W). This pass rewrites a graph so that ops on images (`Op.channels_last`), and the ops
between them that can be computed in another order of axes (`Op.permuted`), work on (N, H, W, C). A value is
converted at most once in each direction, and only where something needs it: at the inputs, and where an op
such as a reshape needs the numbers in their logical order. Images of one channel or one pixel are the same
numbers either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bigmodel_core.graph import LEAVES, Node, Op, Value
from bigmodel_core.graph.spec import dim_product
from bigmodel_core.ops.images import TO_FIRST, TO_LAST, SwapPlanes
from bigmodel_core.ops.shape import reshape
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
        self.last: dict[int, Value] = {}
        self.device = device

    def logical(self, value: Value) -> Value:
        """A value in logical order."""
        found = self.first.get(id(value))
        if found is None:
            found = self.first[id(value)] = _converted(self.last[id(value)], False)
        return found

    def channels_last(self, value: Value) -> Value:
        """A value of up to four dimensions with channels last; fewer dimensions broadcast as they would."""
        found = self.last.get(id(value))
        if found is None:
            found = self._computed_again(value)
            if found is None:
                found = self._turned(value)
            self.last[id(value)] = found
        return found

    def _turned(self, value: Value) -> Value:
        logical = self.logical(value)
        if value.ndim < 4 and dim_product(value.shape) == 1:
            return reshape(logical, ())
        return _converted(reshape(logical, (1,) * (4 - value.ndim) + value.shape), True)

    def _computed_again(self, value: Value) -> Value | None:
        """An array that is made of single numbers, such as zeros, is made again rather than converted."""
        sources = value.node.inputs
        if value.ndim != 4 or not sources or any(dim_product(source.shape) != 1 for source in sources):
            return None
        op = value.node.op.permuted(TO_LAST, *(source.spec for source in sources))
        if op is None or dim_product(value.shape) == 1:
            return None
        return self.graph.apply(op, [self.channels_last(source) for source in sources]).outputs[value.number]

    def add(self, node: Node) -> None:
        """Put a node into the new graph."""
        with self.graph.scope(node.path, node.layer):
            if isinstance(node.op, LEAVES):
                if id(node.outputs[0]) not in self.first:
                    self.first[id(node.outputs[0])] = self.graph.apply(node.op, ()).outputs[0]
            elif (on_images := node.op.channels_last()) is not None:
                self._apply(node, on_images, node.op.image_inputs, node.op.image_outputs)
            elif self._has_images(node) and (turned := self._permuted(node)) is not None:
                full = [number for number, value in enumerate(node.outputs) if value.ndim == 4]
                self._apply(node, turned, range(len(node.inputs)), full)
            else:
                self._apply(node, node.op, (), ())

    def _apply(self, node: Node, op: Op, images: Sequence[int], image_outputs: Sequence[int]) -> None:
        """Apply an op that takes some inputs with channels last, and gives some outputs so."""
        inputs = [
            self.channels_last(value) if number in images else self.logical(value)
            for number, value in enumerate(node.inputs)
        ]
        made = self.graph.apply(op, inputs)
        for number, (before, after) in enumerate(zip(node.outputs, made.outputs, strict=True)):
            (self.last if number in image_outputs else self.first)[id(before)] = after

    def _has_images(self, node: Node) -> bool:
        """Whether inputs of a node lie channels last: for an elementwise op one that is as large as its
        output, since what is broadcast is cheap to convert."""
        is_elementwise = needs_kernel(node.op) and self.device.kernel_of(node).is_elementwise
        return any(
            value.ndim == 4
            and id(value) in self.last
            and (not is_elementwise or value.shape == node.outputs[0].shape)
            for value in node.inputs
        )

    def _permuted(self, node: Node) -> Op | None:
        return node.op.permuted(TO_LAST, *(value.spec for value in node.inputs))


def _converted(value: Value, to_last: bool) -> Value:
    """Images in the other layout; a reshape where the numbers lie the same."""
    order = TO_LAST if to_last else TO_FIRST
    channels, pixels = (1, (2, 3)) if to_last else (3, (1, 2))
    if value.shape[channels] == 1 or all(value.shape[axis] == 1 for axis in pixels):
        return reshape(value, tuple(value.shape[axis] for axis in order))
    return SwapPlanes(to_last)(value)
