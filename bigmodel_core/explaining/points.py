"""Where in a model attributions are taken: at its inputs, or at the embeddings of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bigmodel_core.errors import UsageError
from bigmodel_core.graph import Graph, Node, Value, needed
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.carried import appended_to
from bigmodel_core.ops.comparison import Cast
from bigmodel_core.ops.indexing import Gather
from bigmodel_core.ops.shape import Reshape
from bigmodel_core.ops.slicing import Slice
from bigmodel_core.plan import Computation, replaced


@dataclass(frozen=True)
class Point:
    """Floats of a model that are varied and differentiated for.

    Args:
        number: of the input that they are, or that they are the embedding of.
        value: theirs, in the trace of the model.
        is_embedded: whether they are rows of a table, one for each token.
        path: the layer that looked them up.
        column: of the input, if they are the embedding of that alone.
        is_direct: whether tokens were looked up as they are, and not what was made of several.
    """

    number: int
    value: Value
    is_embedded: bool = False
    path: str = ""
    column: int | None = None
    is_direct: bool = True


def points_of(network: Network, trace: Trace) -> tuple[Point, ...]:
    """Where the inputs of a model become floats: float inputs themselves, and what tables have for tokens.

    Raises:
        UsageError: no input is or becomes floats in one of these ways.
    """
    nodes = needed(trace.outputs)
    lookups = [node for node in nodes if isinstance(node.op, Gather) and node.outputs[0].spec.is_float]
    found: list[Point] = []
    for number, given in enumerate(trace.inputs):
        if given.spec.is_float:
            found.append(Point(number, given))
            continue
        direct = carrying(given, nodes)
        own = [node for node in lookups if id(node.inputs[1]) in direct] or [
            node for node in lookups if given in _leaves(node.inputs[1])
        ]
        for node in own:
            column, is_direct = _column(node.inputs[1], given), id(node.inputs[1]) in direct
            found.append(Point(number, node.outputs[0], True, node.path, column, is_direct))
    if not found:
        inputs = ", ".join(
            f"{name} {spec}" for name, spec in zip(network.input_names, network.inputs, strict=True)
        )
        raise UsageError(
            f"the model takes {inputs}, and looks up no embedding of it.",
            fix="explain a model of floats, or one whose first layer is an embedding of tokens.",
        )
    return tuple(found)


def carrying(given: Value, nodes: Sequence[Node]) -> set[int]:
    """The ids of the values that hold the numbers of an input, reshaped or as another type."""
    found = {id(given)}
    for node in nodes:
        is_same = node.op.alias or isinstance(node.op, Cast)
        if is_same and id(node.inputs[0]) in found and node.outputs[0].spec.is_float == given.spec.is_float:
            found.add(id(node.outputs[0]))
    return found


def _column(value: Value, given: Value) -> int | None:
    """The column of a table of codes (N, m) that alone a value holds; None if it holds more."""
    node = value.node
    while (node.op.alias or isinstance(node.op, (Cast, Reshape))) and not isinstance(node.op, Slice):
        node = node.inputs[0].node
    op = node.op
    if not isinstance(op, Slice) or op.axis != 1 or op.length != 1 or not isinstance(op.start, int):
        return None
    return op.start if given.spec.ndim == 2 and node.inputs[0] is given else None


def _leaves(value: Value) -> set[Value]:
    return {node.outputs[0] for node in needed([value]) if not node.inputs}


def point_name(number: int) -> str:
    """What the graph calls the floats of a point."""
    return f"~point_{number}"


def from_points(trace: Trace, points: Sequence[Point], wanted: Sequence[Value]) -> tuple[Graph, list[Value]]:
    """A graph in which points are inputs, named by `point_name`, and what some values are in it."""
    numbers = {id(point.value): number for number, point in enumerate(points)}

    def rule(node: Node, inputs: Sequence[Value]) -> list[Value] | None:
        if appended_to(node) is not None:  # nothing is kept from call to call
            return [inputs[1]]
        number = numbers.get(id(node.outputs[0]))
        if number is None:
            return None
        return [inputs[0].node.graph.input(point_name(number), node.outputs[0].spec)]

    embedded = Computation(trace.graph, list(wanted), {}, ())
    found = replaced(embedded, rule)
    return found.graph, list(found.outputs)
