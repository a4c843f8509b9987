"""Products with a large vocabulary whose logits only a cross-entropy reads are computed by blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bigmodel_core.graph import Graph, Node, Value, needed
from bigmodel_core.ops.arithmetic import Add
from bigmodel_core.ops.linear import Affine, MatMul
from bigmodel_core.ops.reduce import Sum
from bigmodel_core.ops.shape import Reshape, reshape
from bigmodel_core.ops.softmax import CrossEntropyGrad, SoftmaxCrossEntropy
from bigmodel_core.ops.vocabulary import VocabularyLoss
from bigmodel_core.plan.passes import Computation, copied_inputs

if TYPE_CHECKING:
    from bigmodel_core.plan.device import Device

LARGE = 2048
"""Words of a vocabulary from which a block of logits costs less than all of them."""
LARGE_IN_PART = 256
"""The same, where some labels do not count: the rows of these are not multiplied."""

Users = Mapping[int, Sequence[Node]]


@dataclass
class _Found:
    """A product and its cross-entropy, and the nodes that one op stands for.

    Args:
        loss: the node of the cross-entropy.
        product: that of the product.
        bias: what is added to it.
        slopes: the node of the gradient of the logits, if it is asked for.
        gradients: the nodes that only the slopes lead to, each with the number of the gradient that it is.
    """

    loss: Node
    product: Node
    bias: Value | None
    slopes: Node | None = None
    gradients: dict[int, int] = field(default_factory=dict)

    @property
    def is_turned(self) -> bool:
        """Whether the weight is (V, K)."""
        return isinstance(self.product.op, MatMul) and self.product.op.transpose_b

    def nodes(self) -> Iterator[int]:
        """The indices of the nodes that are computed no more, but for those of gradients."""
        yield self.product.index
        yield self.loss.inputs[0].node.index
        if self.slopes is not None:
            yield self.slopes.index


def vocabulary_by_blocks(computation: Computation, device: Device) -> Computation:
    """Logits of a large vocabulary that only the loss and its gradient read are never kept as a whole; and
    rows whose label is ignored are not multiplied."""
    nodes = computation.nodes
    if not any(isinstance(node.op, SoftmaxCrossEntropy) for node in nodes):
        return computation
    users: dict[int, list[Node]] = {}
    for node in nodes:
        for value in node.inputs:
            users.setdefault(id(value), []).append(node)
    kept = {id(v) for v in (*computation.outputs, *computation.updates.values(), *computation.guards)}
    found = [each for node in nodes if (each := _found(node, users, kept))]
    return _rewritten(computation, found) if found else computation


def _found(loss: Node, users: Users, kept: set[int]) -> _Found | None:
    """The product before a cross-entropy, if nothing else needs its logits."""
    if not isinstance(loss.op, SoftmaxCrossEntropy):
        return None
    logits, labels = loss.inputs
    least = LARGE if loss.op.ignore is None else LARGE_IN_PART
    found = _product(loss, users)
    sizes = found.product.inputs[1].shape if found else ()
    if found is None or not all(isinstance(size, int) for size in sizes):
        return None
    classes = logits.shape[-1]
    if not isinstance(classes, int) or classes < least or id(logits) in kept:
        return None
    others = [node for node in users[id(logits)] if node is not loss]
    if not others:
        return None if users.get(id(loss.outputs[1])) else found
    (slopes, *more) = others
    if more or not isinstance(slopes.op, CrossEntropyGrad) or slopes.inputs[1] is not logits:
        return None
    if (slopes.op.smoothing, slopes.op.ignore) != (loss.op.smoothing, loss.op.ignore):
        return None
    if slopes.inputs[2] is not labels or any(node is loss for node in needed([slopes.inputs[0]])):
        return None
    if any(node is not slopes for node in users.get(id(loss.outputs[1]), ())) or id(loss.outputs[1]) in kept:
        return None
    found.slopes = slopes
    return found if _follow(found, slopes.outputs[0], users, kept) else None


def _product(loss: Node, users: Users) -> _Found | None:
    """The product, with a bias or without, that makes the logits of a loss."""
    node = loss.inputs[0].node
    if isinstance(node.op, Affine):
        return _Found(loss, node, node.inputs[2])
    bias = None
    if isinstance(node.op, Add) and node.inputs[1].ndim == 1 and len(users[id(node.inputs[0])]) == 1:
        bias, node = node.inputs[1], node.inputs[0].node
        if bias.shape != loss.inputs[0].shape[-1:]:
            return None
    is_product = isinstance(node.op, MatMul) and not node.op.transpose_a and node.inputs[1].ndim == 2
    return _Found(loss, node, bias) if is_product else None


def _follow(found: _Found, value: Value, users: Users, kept: set[int]) -> bool:
    """Find what the slopes of the logits, or a reshape of them, lead to; whether that is gradients alone."""
    x, weight = found.product.inputs[:2]
    turned = found.is_turned
    if id(value) in kept:
        return False
    for node in users.get(id(value), ()):
        if isinstance(node.op, Reshape):
            if node.outputs[0].shape[-1] != value.shape[-1] or not _follow(
                found, node.outputs[0], users, kept
            ):
                return False
            found.gradients[node.index] = -1
        elif isinstance(node.op, Sum) and found.bias is not None:
            if node.op.axes != tuple(range(value.ndim - 1)) or node.outputs[0].ndim != 1:
                return False
            found.gradients[node.index] = 3
        elif not isinstance(node.op, MatMul):
            return False
        elif node.op == MatMul(False, not turned) and node.inputs[0] is value and node.inputs[1] is weight:
            found.gradients[node.index] = 1
        elif value.ndim == 2 and node.op == MatMul(True, False):
            pair = node.inputs if turned else node.inputs[::-1]
            if pair[0] is not value or _source(pair[1]) is not _source(x) or pair[1].ndim != 2:
                return False
            found.gradients[node.index] = 2
        else:
            return False
    return True


def _source(value: Value) -> Value:
    """What a value is a reshape of that leaves rows as they are."""
    while isinstance(value.node.op, Reshape) and value.node.inputs[0].shape[-1:] == value.shape[-1:]:
        value = value.node.inputs[0]
    return value


def _rewritten(computation: Computation, found: Sequence[_Found]) -> Computation:
    """The computation with one op for each product, its cross-entropy and their gradients."""
    graph, new = copied_inputs(computation.graph)
    by_loss = {item.loss.index: item for item in found}
    made: dict[int, Sequence[Value]] = {}
    gone: dict[int, tuple[_Found, int]] = {}
    for item in found:
        gone.update(dict.fromkeys(item.nodes(), (item, -1)))
        gone.update({index: (item, number) for index, number in item.gradients.items()})

    def add(node: Node) -> None:
        if id(node.outputs[0]) in new:
            return
        if node.index in by_loss:
            item = by_loss[node.index]
            if item.slopes is not None:  # which the loss does not depend on
                for earlier in needed([item.slopes.inputs[0]]):
                    add(earlier)
            values = _applied(item, graph, new)
            made[id(item)] = values
            new[id(node.outputs[0])] = values[0]
        elif node.index in gone:
            item, number = gone[node.index]
            if number > 0:
                new[id(node.outputs[0])] = reshape(made[id(item)][number], node.outputs[0].shape)
        else:
            with graph.scope(node.path, node.layer):
                again = graph.repeat(node, [new[id(value)] for value in node.inputs])
            new.update(zip(map(id, node.outputs), again.outputs, strict=True))

    for node in computation.nodes:
        add(node)
    return computation.moved(graph, lambda value: new[id(value)])


def _applied(item: _Found, graph: Graph, new: Mapping[int, Value]) -> Sequence[Value]:
    loss, slopes, op = item.loss, item.slopes, item.loss.op
    assert isinstance(op, SoftmaxCrossEntropy)
    values = [*item.product.inputs[:2], loss.inputs[1]]
    if item.bias is not None:
        values.insert(2, item.bias)
    if slopes is not None:
        values.append(slopes.inputs[0])
    fused = VocabularyLoss(op.smoothing, op.ignore, item.is_turned, item.bias is not None, slopes is not None)
    with graph.scope(loss.path, loss.layer):
        return graph.apply(fused, [new[id(value)] for value in values]).outputs
