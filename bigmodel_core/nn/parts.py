"""A part of a built model, as a model of its own with the same parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import GraphError, ShapeError, UnknownNameError, close_matches
from bigmodel_core.graph import Constant, Input, Node, Value, Variable, needed
from bigmodel_core.nn.outputs import Form
from bigmodel_core.nn.parameters import Parameter
from bigmodel_core.nn.trace import Trace, current_trace

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer
    from bigmodel_core.nn.network import Network


@dataclass(frozen=True, eq=False)
class Subgraph:
    """What a trace computes under a path.

    Args:
        nodes: the applications of ops there.
        inputs: values from elsewhere that they use.
        outputs: values that are used elsewhere.
        updates: the new values of parameters and states under the path that layers assign.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    updates: Mapping[str, Value]


@dataclass(frozen=True, eq=False)
class ModelPart:
    """What a model computes under a path.

    Args:
        path: where in that model.
        parameters: those of the model, by path.
        subgraphs: what is computed there, in training and in inference.
    """

    path: str
    parameters: Mapping[str, Parameter]
    subgraphs: Mapping[bool, Subgraph]

    def inside(self, path: str) -> str:
        """A path of the model as it is within the part; that of a parameter elsewhere stays as it is."""
        is_own = path == self.path or path.startswith(f"{self.path}/")
        return path[len(self.path) :].lstrip("/") if is_own else path

    def borrowed(self) -> set[str]:
        """The layers elsewhere whose parameters the part uses, such as a table that is shared, by path."""
        used = (
            value.node.op for part in self.subgraphs.values() for node in part.nodes for value in node.inputs
        )
        paths = {op.path for op in used if isinstance(op, Variable)}
        return {path.rpartition("/")[0] for path in paths if not path.startswith(f"{self.path}/")}


def part_of(network: Network, path: str) -> Layer | ModelPart:
    """The layer at a path of a built model; of a loaded model, what is computed there.

    Raises:
        UnknownNameError: there is none; the message lists the nearest.
    """
    wanted = path.strip("/")
    if not wanted:
        return network.layer
    for training in (False, True):
        found = network.trace(training).layers.get(wanted)
        if found is not None:
            return found[0]
    subgraphs = {training: subgraph_at(network.trace(training), wanted) for training in (False, True)}
    if not subgraphs[False].nodes:
        raise UnknownNameError(
            f"the model has no part '{path}'.", fix=f"use one of {', '.join(_nearest(network, wanted))}."
        )
    ranks = {mode: [value.spec.ndim for value in found.inputs] for mode, found in subgraphs.items()}
    if ranks[True] != ranks[False]:
        raise GraphError(
            "this part takes other inputs in training than in inference.",
            fix="take the larger part around it.",
            where=path,
        )
    return ModelPart(wanted, network.parameters, subgraphs)


def _nearest(network: Network, path: str) -> list[str]:
    known = known_parts(network)
    return close_matches(path, known, n=3, cutoff=0.3) or sorted(known)[:5]


def known_parts(network: Network) -> set[str]:
    """The paths of all that is inside a model."""
    known = {*network.trace(training=False).layers, *network.trace(training=True).layers} - {""}
    for node in network.trace(training=False).graph.nodes:
        parts = node.path.split("/")
        known |= {"/".join(parts[:count]) for count in range(1, len(parts) + 1)} - {""}
    return known


def subgraph_at(trace: Trace, path: str) -> Subgraph:
    """What a trace computes under a path; nothing where there is no such path."""
    assigned = {**trace.updates, **trace.carried_updates}
    nodes = needed([*trace.outputs, *assigned.values()])
    inside = [
        node
        for node in nodes
        if (node.path == path or node.path.startswith(f"{path}/"))
        and not isinstance(node.op, (Input, Variable, Constant))
    ]
    known = {node.index for node in inside}
    given, inputs = set(trace.inputs), dict[Value, None]()
    for node in inside:
        for value in node.inputs:
            is_leaf = isinstance(value.node.op, (Variable, Constant))
            is_random = isinstance(value.node.op, Input) and value not in given
            if value.node.index not in known and not is_leaf and not is_random:
                inputs[value] = None
    updates = {name: value for name, value in assigned.items() if name.startswith(f"{path}/")}
    used = {value for node in nodes if node.index not in known for value in node.inputs} | set(trace.outputs)
    outputs = [value for node in inside for value in node.outputs if value in used]
    return Subgraph(tuple(inside), tuple(inputs), tuple(outputs), updates)


def replayed(part: ModelPart, request: Callable[[Parameter], Value], inputs: Sequence[Value]) -> Any:
    """What a part computes, in the trace of the layer that is being called.

    Args:
        part: which one.
        request: gives a parameter of that layer; its path is that inside the part.
        inputs: as many as the part takes.

    Raises:
        ShapeError: there are more or fewer.
        GraphError: a part of it is frozen alone.
    """
    trace = current_trace()
    graph, base = trace.graph, trace.graph.path
    subgraph = part.subgraphs[trace.training and not trace.is_frozen]
    if inner := [path for path in trace.frozen if path.startswith(f"{base}/")]:
        if not trace.is_frozen:
            raise GraphError(
                "a part of a part of a loaded model cannot be frozen alone.",
                fix=f"freeze all of it: '{base}/*'.",
                where=inner[0],
            )
    if len(inputs) != len(subgraph.inputs):
        raise ShapeError(f"the part takes {len(subgraph.inputs)} inputs, got {len(inputs)}.")
    made: dict[Value, Value] = dict(zip(subgraph.inputs, inputs, strict=True))

    def here(path: str) -> str:
        return f"{base}/{part.inside(path)}".strip("/")

    def value_of(value: Value) -> Value:
        if value not in made:
            op = value.node.op
            if isinstance(op, Variable):
                made[value] = request(replace(part.parameters[op.path], path=part.inside(op.path)))
            else:
                made[value] = graph.apply(op, ()).outputs[0]
        return made[value]

    parts: dict[int, int] = {}
    for node in subgraph.nodes:
        operands = [value_of(value) for value in node.inputs]
        again = node.graph.recomputed.get(node.index)
        with graph.scope(here(node.path), node.layer), graph.repeating(again, parts):
            results = trace.applied(node.op, operands, here)
        made.update(zip(node.outputs, results, strict=True))
    for path, value in subgraph.updates.items():
        trace.reassign(here(path), value_of(value))
    form = Form("single" if len(subgraph.outputs) == 1 else "tuple")
    return form.pack([value_of(value) for value in subgraph.outputs])
