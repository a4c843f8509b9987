"""Groups of ops that one ONNX operator computes: means, Gemm, indexing, implicit broadcasts.

Each pattern looks at a node and says what to write in place of it and of the nodes that only it uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph import Constant, Node, Value
from bigmodel_core.graph.spec import dim_product
from bigmodel_core.ops import arithmetic, elementwise, reduce, shape, slicing
from bigmodel_core.ops.sizes import SizeOf
from bigmodel_onnx.attention_patterns import remembering
from bigmodel_onnx.emit import broadcasts_to
from bigmodel_onnx.image_patterns import enlarged, windows
from bigmodel_onnx.matching import Match, Uses, before_broadcast
from bigmodel_onnx.matrix_patterns import gemm, matrix_product
from bigmodel_onnx.recurrent_patterns import Pairs, joined


def match(node: Node, uses: Uses, together: Pairs) -> Match:
    """What to write for a node: the first pattern that fits, else the op's own lowering.

    Args:
        node: the node.
        uses: how often each value is used.
        together: the recurrent ops that are written two by two.
    """
    found = joined(node, uses, together)
    if found is not None:
        return found
    for pattern in PATTERNS:
        found = pattern(node, uses)
        if found is not None:
            return found
    return Match(node, _without_broadcasts(node), node.op.onnx)


# Reductions ----------------------------------------------------------------------------------------------

_REDUCTIONS = {reduce.Sum: "ReduceSum", reduce.Max: "ReduceMax", reduce.Min: "ReduceMin"}


@dataclass
class _Reduction:
    operator: str
    x: Value
    axes: tuple[int, ...]
    keepdims: bool


def _reduction(node: Node, uses: Uses) -> Match | None:
    found = _reduced(node, uses)
    if found is None or (type(node.op) in _REDUCTIONS and found.x is node.inputs[0]):
        return None
    return Match(node, (found.x,), lambda emit, x: emit.reduce(found.operator, x, found.axes, found.keepdims))


def _reduced(node: Node, uses: Uses) -> _Reduction | None:
    """The reduction that a node completes: with axes out of order, kept axes, or a division by the count."""
    op = node.op
    if type(op) in _REDUCTIONS:
        return _direct(node, uses)
    if isinstance(op, shape.Reshape):
        found = _reduced_source(node.inputs[0], uses)
        if found and not found.keepdims and op.shape == reduce.Sum(found.axes).kept(found.x.spec):
            return _Reduction(found.operator, found.x, found.axes, True)
    if isinstance(op, arithmetic.Multiply):
        for total, factor in (node.inputs, node.inputs[::-1]):
            found = _reduced_source(total, uses)
            if found and found.operator == "ReduceSum" and _is_reciprocal(factor, found):
                return _Reduction("ReduceMean", found.x, found.axes, found.keepdims)
    if isinstance(op, arithmetic.Divide) and isinstance(node.inputs[1].node.op, SizeOf):
        count = node.inputs[1].node
        found = _reduced_source(node.inputs[0], uses)
        if found and found.operator == "ReduceSum":
            counted = dim_product(count.inputs[0].shape[axis] for axis in count.op.axes)  # type: ignore[attr-defined]  # an op SizeOf, as asked above
            if counted == dim_product(found.x.shape[axis] for axis in found.axes):
                return _Reduction("ReduceMean", found.x, found.axes, found.keepdims)
    return None


def _reduced_source(value: Value, uses: Uses) -> _Reduction | None:
    return _reduced(value.node, uses) if uses.once(value) else None


def _direct(node: Node, uses: Uses) -> _Reduction:
    op = node.op
    assert isinstance(op, reduce.Reduction)
    operator, x = _REDUCTIONS[type(op)], node.inputs[0]
    moved = x.node.op
    if isinstance(moved, shape.Transpose) and uses.once(x) and not op.keepdims:
        axes = tuple(sorted(moved.permutation[axis] for axis in op.axes))
        rest = [axis for place, axis in enumerate(moved.permutation) if place not in op.axes]
        if rest == sorted(rest):
            return _Reduction(operator, x.node.inputs[0], axes, False)
    return _Reduction(operator, x, op.axes, op.keepdims)


def _is_reciprocal(factor: Value, found: _Reduction) -> bool:
    count = dim_product(found.x.shape[axis] for axis in found.axes)
    op = factor.node.op
    if not isinstance(op, Constant) or op.array.shape != () or not isinstance(count, int) or not count:
        return False
    return bool(op.array == np.asarray(1.0 / count, op.array.dtype))


# Indexing and shapes -------------------------------------------------------------------------------------


def _index(node: Node, uses: Uses) -> Match | None:
    """One element of an axis, which then disappears: x[:, 3]."""
    if not isinstance(node.op, shape.Reshape) or not uses.once(node.inputs[0]):
        return None
    part = node.inputs[0].node
    op = part.op
    if not isinstance(op, slicing.Slice) or op.length != 1 or not isinstance(op.start, int):
        return None
    x = part.inputs[0]
    if node.op.shape != (*x.shape[: op.axis], *x.shape[op.axis + 1 :]):
        return None
    place, axis = np.asarray(op.start, np.int64), op.axis
    return Match(node, (x,), lambda emit, name: emit.Gather(name, emit.array(place), axis=axis))


def _slices(node: Node, uses: Uses) -> Match | None:
    """Slices along several axes, one after the other."""
    parts: list[tuple[int, Any, Any, int]] = []
    source = node.outputs[0]
    while isinstance(op := source.node.op, slicing.Slice) and op.axis not in [part[0] for part in parts]:
        if parts and not uses.once(source):
            break
        parts.insert(0, (op.axis, op.start, op.length, op.step))
        source = source.node.inputs[0]
    if len(parts) < 2:
        return None
    return Match(node, (source,), lambda emit, name: emit.slices(name, parts))


def _reshape(node: Node, uses: Uses) -> Match | None:
    """Reshapes one after the other; nothing if they lead back to the shape there was."""
    x = node.inputs[0] if isinstance(node.op, shape.Reshape) else None
    if x is None or not isinstance(x.node.op, shape.Reshape) or not uses.once(x):
        return None
    while isinstance(x.node.op, shape.Reshape) and uses.once(x):
        x = x.node.inputs[0]
    if x.shape == node.outputs[0].shape:
        return Match(node, (x,), lambda emit, name: name)
    return Match(node, (x,), node.op.onnx)


# Broadcasts ----------------------------------------------------------------------------------------------


def _without_broadcasts(node: Node) -> tuple[Value, ...]:
    """The inputs of an elementwise node before they were broadcast, if the operator broadcasts itself."""
    if not isinstance(node.op, elementwise.ElementwiseOp) or len(node.inputs) < 2:
        return node.inputs
    sources = tuple(before_broadcast(value) for value in node.inputs)
    shapes = [source.shape for source in sources]
    return sources if broadcasts_to(shapes, node.outputs[0].shape) else node.inputs


PATTERNS = (remembering, _reduction, gemm, matrix_product, windows, enlarged, _index, _slices, _reshape)
"""What is tried, in this order."""
