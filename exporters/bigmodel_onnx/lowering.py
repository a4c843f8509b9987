"""From the graph of a model in inference mode to the nodes of a file."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import BigmodelError, ExportError, ShapeError
from bigmodel_core.graph import (
    LEAVES,
    Body,
    Constant,
    Graph,
    Input,
    Node,
    Op,
    Value,
    Variable,
    needed,
    parts_of,
)
from bigmodel_core.nn.fitting import input_spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import taken_apart
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.carried import Carried, appended_to
from bigmodel_core.ops.random import RandomBits
from bigmodel_core.plan import Computation, Program, replaced
from bigmodel_onnx.bodies import BodyEmitter
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.intermediate import check_outputs, raised
from bigmodel_onnx.matching import Match, Uses
from bigmodel_onnx.operations import Inner
from bigmodel_onnx.patterns import match
from bigmodel_onnx.recurrent_patterns import pairs

if TYPE_CHECKING:
    from bigmodel_core.graph.spec import Spec


@dataclass
class Lowered:
    """The nodes of a model, still without the outputs' final names.

    Args:
        emitter: the file under construction.
        names: what each value of the graph is called, for those that the file has.
        outputs: the names of the model's outputs, and then of the states for the next call.
    """

    emitter: Emitter
    names: dict[Value, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


def lower(
    network: Network,
    emitter: Emitter,
    inputs: Mapping[str, str],
    states: Mapping[str, str] | None = None,
    grown: Mapping[str, str] | None = None,
) -> Lowered:
    """Write a model's nodes.

    Args:
        network: the built model.
        emitter: where to; names that the model must not use are reserved.
        inputs: the values that stand for the model's inputs, by input name.
        states: the same for what layers carry from call to call, by path.
        grown: values that stand for states that grow, with what this call appends, by path.

    Raises:
        ExportError: layers cannot be exported; the message names all of them.
    """
    trace = network.trace(training=False)
    roots = [*trace.outputs, *(trace.carried_updates.get(*item) for item in trace.carried.items())]
    roots = _with_lowerings(roots, emitter.opset)
    nodes = needed(roots)
    _refuse_draws(list(_with_bodies(nodes, emitter.opset)))
    refuse_missing(missing_in(nodes, emitter.opset))
    arrays = {path: array for path, array in network.state().items() if path in trace.parameters}
    folded = _folded(network, nodes, roots)
    result = Lowered(emitter)
    weights = {path: emitter.weight(path, array) for path, array in arrays.items()}

    def named(node: Node) -> Any:
        if grown and (state := appended_to(node)) is not None and state.path in grown:
            return grown[state.path]
        if isinstance(node.op, Input):
            return inputs[node.op.name]
        if isinstance(node.op, Carried):
            return (states or {})[node.op.path]
        if isinstance(node.op, Variable):
            return weights[node.op.path]
        return _folded_names(node, folded[node], emitter) if node in folded else None

    emitter.write_body = _body
    _write(_matches(nodes, roots, folded), result, named)
    result.outputs = [result.names[value] for value in roots]
    return result


def _write(matches: Sequence[Match], result: Lowered, named: Callable[[Node], Any]) -> None:
    """Write nodes.

    Args:
        matches: what is written, in order.
        result: where to.
        named: gives the names of nodes that are there, None for others.
    """
    emitter = result.emitter
    for chosen in matches:
        node = chosen.node
        names = emitter.array(node.op.array) if isinstance(node.op, Constant) else named(node)
        if names is None:
            names = _written(chosen, emitter, [_named(result, value) for value in chosen.sources])
        given = names if isinstance(names, tuple) else (names,)
        for value, name in zip(chosen.outputs, given, strict=True):
            if name is not None:
                result.names[value] = name
                emitter.specs[name] = value.spec


def _body(emitter: Emitter, body: Body, shared: Sequence[str], further: Sequence[Spec]) -> Inner:
    """The body of an op, as `Emit.body` describes it."""
    inside = BodyEmitter(emitter)
    own = body.inputs[: len(body.inputs) - len(shared)]
    names = [*(inside.taken(value.spec) for value in own), *shared]
    for spec in further:
        inside.taken(spec)
    roots = _with_lowerings(body.outputs, emitter.opset)
    result = Lowered(inside)
    matches = _matches(needed(roots), roots, {})
    _write(matches, result, lambda node: names[int(node.op.name)] if isinstance(node.op, Input) else None)
    return inside.graph([result.names[value] for value in roots])


def _with_bodies(nodes: Iterable[Node], opset: int) -> Iterator[Node]:
    """Nodes, and those that are written for the bodies of ops."""
    for node in nodes:
        yield node
        body = node.op.inner()
        if body is not None:
            yield from _with_bodies(needed(_with_lowerings(body.outputs, opset)), opset)


def _with_lowerings(roots: Sequence[Value], opset: int) -> list[Value]:
    """The same values, where ops without a lowering in an operator set, such as the gradients of activations,
    are computed by those that they are made of."""

    def parts(op: Op, inputs: Sequence[Value]) -> Sequence[Value] | None:
        is_written = type(op).onnx is not Op.onnx and op.onnx_opset <= opset
        is_written = is_written and not op.is_spelled_out(*(x.spec for x in inputs))
        return None if is_written else parts_of(op, inputs)

    found = list(roots)
    while any(parts(node.op, node.inputs) is not None for node in needed(found)):
        whole = Computation(found[0].node.graph, found, {}, ())
        found = list(replaced(whole, lambda node, inputs: parts(node.op, inputs)).outputs)
    return found


def _named(lowered: Lowered, value: Value) -> str:
    """What a value is called in the file.

    Raises:
        ExportError: its operator does not give it, such as the gates of a recurrent layer.
    """
    if value not in lowered.names:
        raise ExportError(
            "a gradient needs what this op keeps for it, which its ONNX operator does not give.",
            fix="leave gradients of this layer out of the model's outputs.",
            where=value.node.place,
        )
    return lowered.names[value]


def _written(chosen: Match, emitter: Emitter, names: Sequence[str]) -> Any:
    node = chosen.node
    emitter.path = node.path
    emitter.inputs = tuple(value.spec for value in chosen.sources)
    emitter.outputs = tuple(value.spec for value in node.outputs)
    try:
        return check_outputs(emitter, node.op, chosen.lower(emitter, *names), len(chosen.outputs))
    except BigmodelError as error:
        error.where = error.where or node.place
        raise
    except Exception as error:  # of an author's lowering
        raise raised(node.op, error, node.place) from error


def _matches(nodes: Sequence[Node], outputs: Sequence[Value], folded: Mapping[Node, Any]) -> list[Match]:
    """What to write, in order; nodes that a pattern swallows are left out."""
    uses = Uses(nodes, outputs)
    for together in (pairs(nodes), {}):
        found: dict[int, Match] = {}
        stack = [value.node for value in outputs]
        while stack:
            node = stack.pop()
            if node.index in found:
                continue
            if isinstance(node.op, (*LEAVES, Carried)) or node in folded:
                chosen = Match(node, (), node.op.onnx)
            elif node in together:
                chosen = together[node].match()
            else:
                chosen = match(node, uses, together)
            for written in (chosen.node, *chosen.others):
                found[written.index] = chosen
            stack.extend(value.node for value in chosen.sources)
        ordered = _ordered(found)
        if ordered is not None:
            return ordered
    raise AssertionError("a graph is free of cycles")


def _ordered(found: Mapping[int, Match]) -> list[Match] | None:
    """Matches behind what they read, otherwise as in the graph; None if that cannot be.

    Nodes that are written together may read what the graph has after the first of them.
    """
    waiting: dict[int, int] = {}
    readers: dict[int, list[Match]] = {}
    ready: list[tuple[int, Match]] = []
    for index, chosen in found.items():
        if index != chosen.node.index:
            continue
        needs = {found[value.node.index].node.index for value in chosen.sources}
        waiting[index] = len(needs)
        for need in needs:
            readers.setdefault(need, []).append(chosen)
        if not needs:
            ready.append((index, chosen))
    heapq.heapify(ready)
    ordered = []
    while ready:
        index, chosen = heapq.heappop(ready)
        ordered.append(chosen)
        for reader in readers.get(index, ()):
            waiting[reader.node.index] -= 1
            if not waiting[reader.node.index]:
                heapq.heappush(ready, (reader.node.index, reader))
    return ordered if len(ordered) == len(waiting) else None


# What does not depend on the input ------------------------------------------------------------------------


def _folded(
    network: Network, nodes: Sequence[Node], outputs: Sequence[Value]
) -> dict[Node, tuple[np.ndarray, ...]]:
    """The results of nodes that only parameters and constants go into, unless the file would grow."""
    fixed: set[Node] = set()
    foldable: list[Node] = []
    for node in nodes:
        if isinstance(node.op, (Variable, Constant)):
            fixed.add(node)
        elif (
            not isinstance(node.op, (Input, Carried))
            and node.inputs
            and all(value.node in fixed for value in node.inputs)
            and not _needs_sizes(node.op)
        ):
            if sum(map(_elements, node.outputs)) <= max(1024, sum(map(_elements, node.inputs))):
                fixed.add(node)
                foldable.append(node)
    inner = {value.node for node in foldable for value in node.inputs}
    outer = {value.node for node in nodes if node not in fixed for value in node.inputs} | {
        v.node for v in outputs
    }
    wanted = [node for node in foldable if node not in inner or node in outer]
    wanted = [node for node in wanted if not _stays_beside(node, outer)]
    values = [value for node in wanted for value in node.outputs]
    if not values:
        return {}
    graph = values[0].node.graph  # where ops are written by their parts, not that of the trace
    results = iter(Program(graph, values, device=network.device).run(network.variables, {}))
    return {node: tuple(next(results) for _ in node.outputs) for node in wanted}


def _stays_beside(node: Node, used: Collection[Node]) -> bool:
    """Whether the file would have large weights twice: as they are, and as what a node makes of them, such as
    a table of tokens that also gives their scores."""
    if sum(map(_elements, node.outputs)) <= 1024:
        return False
    weights = (item for item in needed(node.outputs) if isinstance(item.op, Variable))
    return any(item in used and _elements(item.outputs[0]) > 1024 for item in weights)


def _needs_sizes(op: Op) -> bool:
    """Whether a free dimension is among the fields of an op."""
    try:
        op.bind({})
    except ShapeError:
        return True
    return False


def _folded_names(node: Node, arrays: Sequence[np.ndarray], emitter: Emitter) -> tuple[str, ...]:
    """Folded weights are called after the parameter they come from."""
    origins = [item.op.path for item in needed(node.outputs) if isinstance(item.op, Variable)]
    if not origins:
        return tuple(emitter.array(array) for array in arrays)
    return tuple(emitter.weight(f"{origins[0]}_folded", array) for array in arrays)


def _elements(value: Value) -> int:
    """How many numbers a value has; if a dimension is free, more than anything that is folded."""
    sizes = [dim for dim in value.shape if isinstance(dim, int)]
    return math.prod(sizes) if len(sizes) == value.ndim else 2**40


# Layers without a lowering --------------------------------------------------------------------------------


def missing_lowerings(layer: Layer, specs: Sequence[Any], *, opset: int = 17) -> list[str]:
    """The places of a layer that cannot be exported, "path (Layer): Op" each; empty if all can.

    Args:
        layer: any layer; it need not be built.
        specs: the spec, shape or example array of each input.
        opset: the operator set to write.
    """
    from bigmodel_onnx.emit import Emitter

    found = getattr(layer, "_network", None)
    dtype = found.dtype if found is not None else "float32"
    inputs: list[Spec] = [input_spec(item, dtype) for item in specs]
    trace = Trace(Graph(), False, dtype)
    with trace.active():
        values = [trace.graph.input(f"x_{number}", spec) for number, spec in enumerate(inputs, 1)]
        result = layer(*values)
    _, outputs = taken_apart(result, type(layer).__name__)
    outputs = tuple(_with_lowerings(outputs, opset))
    nodes = needed(outputs)
    missing = missing_in(nodes, opset)
    if missing:
        return missing
    emitter = Emitter(opset)
    emitter.write_body = _body
    names: dict[Value, str] = {}
    for node in nodes:  # each op's own lowering is tried, on names alone
        if isinstance(node.op, LEAVES):
            results: Any = f"leaf_{node.index}"
            if isinstance(node.op, Input):
                emitter.port(results, node.op.spec.dtype, node.op.spec.shape)
        else:
            try:
                results = _written(
                    Match(node, node.inputs, node.op.onnx), emitter, [names[item] for item in node.inputs]
                )
            except Exception as error:
                missing.append(f"{_place(node)} ({error})")
                results = (f"missing_{node.index}",) * len(node.outputs)
        for value, name in zip(
            node.outputs, results if isinstance(results, tuple) else (results,), strict=True
        ):
            names[value] = name or f"internal_{node.index}.{value.number}"
            emitter.specs[names[value]] = value.spec
    return missing


def missing_in(nodes: Sequence[Node], opset: int) -> list[str]:
    """The nodes without a lowering, "path (Layer): Op" each; the opset is that of the file."""
    found = []
    for node in _with_bodies(nodes, opset):
        if not isinstance(node.op, LEAVES) and type(node.op).onnx is Op.onnx:
            found.append(_place(node))
    return list(dict.fromkeys(found))


def _place(node: Node) -> str:
    return f"{node.place}: {type(node.op).__name__}".lstrip(": ")


def _refuse_draws(nodes: Sequence[Node]) -> None:
    """Raise where random numbers are drawn: no two runtimes draw the same, and nothing could be compared."""
    drawing = (x for x in nodes if isinstance(x.op, RandomBits) or getattr(x.op, "draws", False))
    places = dict.fromkeys(node.place or "the model" for node in drawing)
    if places:
        raise ExportError(
            f"random numbers are drawn in inference mode by {', '.join(places)}; what a file draws could not"
            " be compared with the model.",
            fix="pass the noise as an input of the model, or draw it in training only: if self.training.",
        )


def refuse_missing(missing: Sequence[str]) -> None:
    """Raise ExportError if something is missing."""
    if missing:
        raise ExportError(
            f"{len(missing)} op{'s' * (len(missing) > 1)} cannot be written as ONNX: {'; '.join(missing)}.",
            fix="define onnx(self, emit, ...) in the op, or build the layer from ops that have it.",
        )
