"""Physical layouts: images are computed with channels last on the CPU.

Graphs mean (N, C, H, W). Before a program is planned for the CPU, this pass rewrites its graph so that
convolutions, pools and normalisations, and the elementwise ops, concatenations and reductions between them,
work on (N, H, W, C). A value is converted at most once in each direction, and only where something needs it:
at the inputs, and where an op such as a reshape needs the numbers in their logical order. Images of one
channel or one pixel are the same numbers either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bigmodel_core.graph import LEAVES, Graph, Input, Node, Value, needed
from bigmodel_core.graph.spec import Shape, dim_product
from bigmodel_core.kernels.fused import Elementwise
from bigmodel_core.kernels.scalar import parameters
from bigmodel_core.ops.activations import Relu, _ReluGrad
from bigmodel_core.ops.arithmetic import add, multiply, subtract
from bigmodel_core.ops.batch_normalization import FixedNorm, KnownMoments
from bigmodel_core.ops.images import CHANNELS_FIRST, CHANNELS_LAST, TO_FIRST, TO_LAST, ImageOp, SwapPlanes
from bigmodel_core.ops.pooling import _MaxPoolGrad
from bigmodel_core.ops.reduce import Reduction, normal_axes
from bigmodel_core.ops.shape import BroadcastTo, SizeOf, reshape
from bigmodel_core.ops.slicing import Concatenate, Slice, _SliceGrad

Roots = tuple[Graph, list[Value], dict[str, Value], list[Value]]


def channels_last(
    graph: Graph, outputs: Sequence[Value], updates: Mapping[str, Value], guards: Sequence[Value]
) -> Roots:
    """The graph with images laid out channels last, and its roots there; itself where it has no such ops."""
    roots = [*outputs, *updates.values(), *guards]
    nodes = needed(roots)
    if not any(isinstance(node.op, ImageOp) and node.op.layout == CHANNELS_FIRST for node in nodes):
        return graph, list(outputs), dict(updates), list(guards)
    rewriting = _Rewriting(graph)
    for node in nodes:
        rewriting.add(node)
    logical = rewriting.logical
    return (
        rewriting.graph,
        [logical(value) for value in outputs],
        {path: logical(value) for path, value in updates.items()},
        [logical(value) for value in guards],
    )


class _Rewriting:
    """The new graph, and the old one's values in it: in logical order, channels last, or both."""

    def __init__(self, old: Graph) -> None:
        self.graph = Graph()
        self.first: dict[int, Value] = {}
        self.last: dict[int, Value] = {}
        for node in old.nodes:  # inputs that nothing reads may still give a size
            if isinstance(node.op, Input):
                self.first[id(node.outputs[0])] = self.graph.apply(node.op, ()).outputs[0]

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
            op = value.node.op
            logical = self.logical(value)
            if isinstance(op, BroadcastTo) and dim_product(value.node.inputs[0].shape) == 1:
                single = reshape(self.logical(value.node.inputs[0]), ())
                found = BroadcastTo(_moved(value.shape))(single)
            elif value.ndim < 4 and dim_product(value.shape) == 1:
                found = reshape(logical, ())
            else:
                found = _converted(reshape(logical, (1,) * (4 - value.ndim) + value.shape), True)
            self.last[id(value)] = found
        return found

    def add(self, node: Node) -> None:
        """Put a node into the new graph."""
        with self.graph.scope(node.path, node.layer):
            op: Any = node.op
            if isinstance(op, LEAVES):
                if id(node.outputs[0]) not in self.first:
                    self.first[id(node.outputs[0])] = self.graph.apply(op, ()).outputs[0]
            elif isinstance(op, FixedNorm) and op.layout == CHANNELS_FIRST:
                self._fixed_norm(node, op)
            elif isinstance(op, ImageOp) and op.layout == CHANNELS_FIRST:
                self._image(node, op)
            elif self._pooled_relu(node):
                pass
            elif self._elementwise(node):
                self._keep(node, op, [self.channels_last(value) for value in node.inputs])
            elif isinstance(op, (Concatenate, Slice, _SliceGrad)) and self._is_last(node.inputs):
                changes = {"shape": _moved(op.shape)} if isinstance(op, _SliceGrad) else {}
                turned: Any = replace(op, axis=TO_FIRST[op.axis], **changes)  # type: ignore[arg-type]  # ops are dataclasses
                self._keep(node, turned, [self.channels_last(value) for value in node.inputs])
            elif isinstance(op, SizeOf) and self._is_last(node.inputs):
                sized = replace(op, axes=tuple(sorted(TO_FIRST[axis] for axis in op.axes)))
                made = self.graph.apply(sized, [self.last[id(node.inputs[0])]])
                self.first[id(node.outputs[0])] = made.outputs[0]
            elif not self._reduction(node):
                made = self.graph.apply(op, [self.logical(value) for value in node.inputs])
                for before, after in zip(node.outputs, made.outputs, strict=True):
                    self.first[id(before)] = after

    def _is_last(self, values: Sequence[Value]) -> bool:
        return any(value.ndim == 4 and id(value) in self.last for value in values)

    def _keep(self, node: Node, op: Any, inputs: Sequence[Value]) -> None:
        self.last[id(node.outputs[0])] = self.graph.apply(op, inputs).outputs[0]

    def _image(self, node: Node, op: ImageOp) -> None:
        inputs = [
            self.channels_last(value) if number in op.image_inputs else self.logical(value)
            for number, value in enumerate(node.inputs)
        ]
        made = self.graph.apply(replace(op, layout=CHANNELS_LAST), inputs)
        for number, (before, after) in enumerate(zip(node.outputs, made.outputs, strict=True)):
            (self.last if number in op.image_outputs else self.first)[id(before)] = after

    def _fixed_norm(self, node: Node, op: FixedNorm) -> None:
        """A normalisation by given moments is elementwise, and may follow a convolution's tiles."""
        scale, shift, mean, variance = (self.logical(value) for value in node.inputs[1:])
        (slope,) = self.graph.apply(KnownMoments(op.epsilon), [variance, scale]).outputs
        y = add(multiply(subtract(self.channels_last(node.inputs[0]), mean), slope), shift)
        self.last[id(node.outputs[0])] = y

    def _pooled_relu(self, node: Node) -> bool:
        """The gradient of a ReLU that a max-pool follows: taken before the pixels are spread, not after.

        The largest number under a window passed the ReLU, or none did; there are fewer windows than pixels.
        """
        if not isinstance(node.op, _ReluGrad) or not isinstance(node.inputs[0].node.op, _MaxPoolGrad):
            return False
        spread: Any = node.inputs[0].node
        pool = spread.inputs[1].node
        if pool.inputs[0] is not node.inputs[1] or not isinstance(pool.inputs[0].node.op, Relu):
            return False
        dy, largest = self.channels_last(spread.inputs[0]), self.channels_last(pool.outputs[0])
        passed = self.graph.apply(node.op, [dy, largest]).outputs[0]
        turned: Any = replace(spread.op, layout=CHANNELS_LAST)
        self._keep(node, turned, [passed, self.channels_last(spread.inputs[1])])
        return True

    def _elementwise(self, node: Node) -> bool:
        """Whether a node computes each number from those at the same place, channels last among them.

        Ops that use the place itself, such as the draw of a random mask, need the logical order: a gradient
        may draw the same mask."""
        kernel = node.op.cpu
        return (
            isinstance(kernel, Elementwise)
            and not isinstance(node.op, BroadcastTo)
            and len(node.outputs) == 1
            and node.outputs[0].ndim == 4
            and any(value.shape == node.outputs[0].shape and id(value) in self.last for value in node.inputs)
            and "index" not in parameters(kernel.function)
        )

    def _reduction(self, node: Node) -> bool:
        """Reduce channels last, if the reduced axes are neighbours there and the others keep their order."""
        op: Any = node.op
        if not isinstance(op, Reduction) or not self._is_last(node.inputs):
            return False
        axes = tuple(sorted(TO_FIRST[axis] for axis in normal_axes(op.axes, 4)))
        rest = [axis for axis in TO_LAST if TO_FIRST[axis] not in axes]
        if not axes or axes[-1] - axes[0] + 1 != len(axes) or rest != sorted(rest):
            return False
        made = self.graph.apply(replace(op, axes=axes), [self.last[id(node.inputs[0])]]).outputs[0]
        (self.last if op.keepdims else self.first)[id(node.outputs[0])] = made
        return True


def _moved(shape: Shape) -> Shape:
    return tuple(shape[axis] for axis in TO_LAST)


def _converted(value: Value, to_last: bool) -> Value:
    """Images in the other layout; a reshape where the numbers lie the same."""
    order = TO_LAST if to_last else TO_FIRST
    channels, pixels = (1, (2, 3)) if to_last else (3, (1, 2))
    if value.shape[channels] == 1 or all(value.shape[axis] == 1 for axis in pixels):
        return reshape(value, tuple(value.shape[axis] for axis in order))
    return SwapPlanes(to_last)(value)
