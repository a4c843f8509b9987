"""What is known of the values of a program: whose memory they are, and which are the same in each run."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bigmodel_core.graph import Constant, Input, Node, Value, Variable


def root_of(value: Value) -> Value:
    """The value whose memory a value is: itself, or what it is a reshape of."""
    while value.node.op.alias:
        value = value.node.inputs[0]
    return value


def unchanging(
    nodes: Sequence[Node], changing: Collection[str], settled: Collection[str] = ()
) -> frozenset[int]:
    """The ids of values that depend on nothing but constants and variables that a program leaves alone, and
    have no free dimension, so that they are the same for all batches; loops are left out.

    Args:
        nodes: in an order they can be computed in.
        changing: the paths of variables that it gives new values.
        settled: the names of free dimensions that are the same in all runs, since variables have them.
    """
    found: set[int] = set()
    for node in nodes:
        if isinstance(node.op, Variable):
            stays = node.op.path not in changing
        else:
            stays = isinstance(node.op, Constant) or (
                not isinstance(node.op, Input)
                and node.op.inner() is None
                and all(id(value) in found for value in node.inputs)
            )
        if stays and not any(value.spec.names().difference(settled) for value in node.outputs):
            found.update(id(value) for value in node.outputs)
    return frozenset(found)
