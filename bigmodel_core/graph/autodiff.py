"""Reverse-mode differentiation: gradients are more ops of the same graph."""

from __future__ import annotations

from collections.abc import Sequence

from bigmodel_core.errors import BigmodelError, GraphError, ShapeError
from bigmodel_core.graph import Constant, Graph, Node, Op, Value, Variable, between, needed, parts_of
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import format_shape


def gradients(output: Value, wrt: Sequence[Value]) -> list[Value]:
    """The gradient of a scalar with respect to each of some values; zeros if it does not depend on one.

    Raises:
        GraphError: the output is no float, or an op on the way has no gradient.
        ShapeError: the output is not a scalar, or a gradient has not the shape of its value.

    >>> from bigmodel_core import ops
    >>> from bigmodel_core.graph import Graph
    >>> from bigmodel_core.graph.spec import Spec
    >>> x = Graph().input("x", Spec((3,)))
    >>> gradients(ops.sum(x * x), [x])[0].shape
    (3,)
    """
    if output.shape != ():
        raise ShapeError(
            f"only a scalar can be differentiated, got shape {format_shape(output.shape)}.",
            fix="reduce it first, for instance with bm.ops.mean.",
        )
    if not output.spec.is_float:
        raise GraphError(f"a value of type {output.dtype} cannot be differentiated.", fix="use a float loss.")
    found = _collected([output], [output.node.graph.constant(1.0, output.dtype)], wrt, needed([output]))
    return [
        operations().zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(found, wrt, strict=True)
    ]


def pulled_back(
    outputs: Sequence[Value], upstream: Sequence[Value | None], inputs: Sequence[Value]
) -> list[Value | None]:
    """The gradients of an op's inputs, given what it is made of and the gradients of its outputs.

    Args:
        outputs: made of the inputs, which stand on their own even where one is computed from another.
        upstream: the gradient of each output; None stands for zeros.
        inputs: for what.
    """
    return _collected(outputs, upstream, inputs, between(inputs, outputs))


def _collected(
    outputs: Sequence[Value], upstream: Sequence[Value | None], wrt: Sequence[Value], nodes: Sequence[Node]
) -> list[Value | None]:
    """The gradients of some values, given those of outputs.

    Args:
        outputs: what is differentiated, of any shapes.
        upstream: the gradient of each output; None stands for zeros.
        wrt: for what.
        nodes: those between the two, in the order of their making.
    """
    zeros = operations().zeros_like
    wanted = {id(value) for value in wrt}
    reaches = _reaching(nodes, wanted)
    recomputed = Recomputed(nodes)
    collected: dict[int, Value] = {}
    for value, up in zip(outputs, upstream, strict=True):
        if up is not None:
            before = collected.get(id(value))
            collected[id(value)] = up if before is None else before + up
    for node in reversed(nodes):
        if node.index not in reaches or not node.inputs:
            continue
        given_up = [collected.get(id(value)) for value in node.outputs]
        if all(value is None for value in given_up):
            continue
        with node.graph.scope(node.path, node.layer):
            filled = [
                zeros(value) if up is None and value.spec.is_float else up
                for up, value in zip(given_up, node.outputs, strict=True)
            ]
            there = recomputed.there(node, filled)
            for value, gradient in zip(node.inputs, _gradients_of(there, filled), strict=True):
                if gradient is None or (value.node.index not in reaches and id(value) not in wanted):
                    continue
                if gradient.shape != value.shape:
                    raise ShapeError(
                        f"the gradient of {type(node.op).__name__} has shape {format_shape(gradient.shape)} "
                        f"for an input of shape {format_shape(value.shape)}."
                    )
                before = collected.get(id(value))
                collected[id(value)] = gradient if before is None else before + gradient
    return [collected.get(id(value)) for value in wrt]


class Recomputed:
    """Parts of a graph whose values are computed again where gradients need them, rather than kept (Chen et
    al., 2016).

    Args:
        nodes: all that are differentiated, in the order of their making.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._made: dict[int, dict[int, Node]] = {}

    def there(self, node: Node, upstream: Sequence[Value | None]) -> Node:
        """The node whose inputs and outputs a gradient reads: a copy, computed when the first gradient of its
        part is there, if the node is one of a part; else itself."""
        part = node.graph.recomputed.get(node.index)
        if part is None:
            return node
        if part not in self._made:
            after = next(value for value in upstream if value is not None)
            self._made[part] = self._copies(node.graph, part, after)
        return self._made[part][node.index]

    def _copies(self, graph: Graph, part: int, after: Value) -> dict[int, Node]:
        again = operations().differentiation.again
        own = [node for node in self._nodes if graph.recomputed.get(node.index) == part]
        inside = {node.index for node in own}
        new: dict[int, Value] = {}
        made = {}
        for node in own:
            for value in node.inputs:
                if value.node.index not in inside and id(value) not in new:
                    is_kept = isinstance(value.node.op, (Variable, Constant))
                    new[id(value)] = value if is_kept else again(value, part, after)
            with graph.scope(node.path, node.layer):
                copied = graph.repeat(node, [new[id(value)] for value in node.inputs])
            made[node.index] = copied
            new.update(zip((id(value) for value in node.outputs), copied.outputs, strict=True))
        return made


def _gradients_of(node: Node, upstream: Sequence[Value | None]) -> Sequence[Value | None]:
    """The gradients of a node's inputs; an op that does not define `grad` is differentiated as what it is
    made of (`Op.decomposed`)."""
    try:
        own = type(node.op)
        is_made_of = own.grad is Op.grad and own.decomposed is not Op.decomposed
        if is_made_of and (parts := parts_of(node.op, node.inputs)) is not None:
            return pulled_back(parts, upstream, node.inputs)
        single = len(node.outputs) == 1
        given = node.op.grad(
            upstream[0] if single else tuple(upstream),
            node.outputs[0] if single else node.outputs,
            *node.inputs,
        )
        if len(given) != len(node.inputs):
            raise GraphError(
                f"the gradient of {type(node.op).__name__} returned {len(given)} values for"
                f" {len(node.inputs)} inputs.",
                fix="return one gradient (or None) for each input.",
            )
    except BigmodelError as error:
        error.where = error.where or node.place or None
        raise
    return given


def _reaching(nodes: Sequence[Node], wanted: set[int]) -> set[int]:
    """The indices of the nodes whose outputs depend on a wanted value (or are one)."""
    reaches: set[int] = set()
    for node in nodes:
        values = (*node.inputs, *node.outputs)
        if any(id(value) in wanted for value in values) or any(
            value.node.index in reaches for value in node.inputs
        ):
            reaches.add(node.index)
    return reaches
