"""Reverse-mode differentiation: gradients are more ops of the same graph."""

from __future__ import annotations

from collections.abc import Sequence

from bigmodel_core.errors import GraphError, ShapeError
from bigmodel_core.graph import Node, Value, needed
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
    graph, zeros = output.node.graph, operations().zeros_like
    nodes = needed([output])
    wanted = {id(value) for value in wrt}
    reaches = _reaching(nodes, wanted)
    collected: dict[int, Value] = {id(output): graph.constant(1.0, output.dtype)}
    for node in reversed(nodes):
        if node.index not in reaches or not node.inputs:
            continue
        upstream = [collected.get(id(value)) for value in node.outputs]
        if all(value is None for value in upstream):
            continue
        with graph.scope(node.path, node.layer):
            filled = [
                zeros(value) if up is None and value.spec.is_float else up
                for up, value in zip(upstream, node.outputs, strict=True)
            ]
            single = len(node.outputs) == 1
            given = node.op.grad(
                filled[0] if single else tuple(filled),
                node.outputs[0] if single else node.outputs,
                *node.inputs,
            )
            if len(given) != len(node.inputs):
                raise GraphError(
                    f"the gradient of {type(node.op).__name__} returned {len(given)} values for"
                    f" {len(node.inputs)} inputs.",
                    fix="return one gradient (or None) for each input.",
                )
            for value, gradient in zip(node.inputs, given, strict=True):
                if gradient is None or (value.node.index not in reaches and id(value) not in wanted):
                    continue
                if gradient.shape != value.shape:
                    raise ShapeError(
                        f"the gradient of {type(node.op).__name__} has shape {format_shape(gradient.shape)} "
                        f"for an input of shape {format_shape(value.shape)}."
                    )
                before = collected.get(id(value))
                collected[id(value)] = gradient if before is None else before + gradient
    return [
        collected[id(value)] if id(value) in collected else operations().zeros_like(value) for value in wrt
    ]


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
