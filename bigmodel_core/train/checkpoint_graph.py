"""Graphs as JSON: op names, fields and which value goes where; arrays of constants stand beside.

{"nodes": [{"input": "x"}, {"variable": "dense_1/weight"}, ...,
           {"op": "core:Affine", "fields": {}, "inputs": [[0, 0], [1, 0], [2, 0]], "path": "dense_1", ...}],
 "outputs": [[3, 0]], "single": true, "form": {"kind": "single", "names": []}, "updates": {}}
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError, CheckpointError, ConfigError, short
from bigmodel_core.graph import Body, Constant, Graph, Input, Node, Op, Value, Variable, needed
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.outputs import Form
from bigmodel_core.nn.parameters import Parameter
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.carried import Carried
from bigmodel_core.registry.field_values import convert, current_name, field_types
from bigmodel_core.train.checkpoint_ops import op_class, op_name

Reference = tuple[int, int]
"""A value: the position of its node, and which of the node's outputs it is."""


@dataclass(frozen=True)
class SavedNode:
    """One application of an op, as it was when the graph was saved.

    Args:
        op: what is applied; leaves are `Input`, `Variable` and `Constant`.
        inputs: to which values of earlier nodes.
        path, layer: the layer that requested it.
        part: the number of the part that gradients compute again, if it is of one.
    """

    op: Op
    inputs: tuple[Reference, ...]
    path: str
    layer: str
    part: int | None = None


@dataclass(frozen=True)
class SavedGraph:
    """The graph of a model in one mode.

    Args:
        nodes: in an order they can be computed in.
        outputs: the model's outputs.
        form: how the model returns them: one value, a tuple, a dict.
        updates: the new values of parameters that layers assign, by path.
        carried_updates: the values for the next call of states that layers carry, by path.
    """

    nodes: tuple[SavedNode, ...]
    outputs: tuple[Reference, ...]
    form: Form
    updates: Mapping[str, Reference]
    carried_updates: Mapping[str, Reference] = field(default_factory=dict)


def encode_graph(trace: Trace, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """A model's graph in one mode as plain values; arrays of constants are added to `arrays`, by name.

    Raises:
        CheckpointError: an op belongs to no plugin, or has a field that cannot be written down.
    """
    states = [*trace.carried.values(), *trace.carried_updates.values()]
    roots = [*trace.outputs, *trace.updates.values(), *trace.inputs, *trace.values.values(), *states]
    found, reference = _encode_nodes(needed(roots), arrays)
    return {
        "nodes": found,
        "outputs": [reference(value) for value in trace.outputs],
        "single": trace.form.kind == "single",
        "form": {"kind": trace.form.kind, "names": list(trace.form.names)},
        "updates": {path: reference(value) for path, value in trace.updates.items()},
        "carried_updates": {path: reference(value) for path, value in trace.carried_updates.items()},
    }


def _encode_nodes(
    nodes: Sequence[Node], arrays: dict[str, np.ndarray]
) -> tuple[list[dict[str, Any]], Callable[[Value], list[int]]]:
    """Nodes as plain values, and a function that refers to their outputs."""
    position = {node.index: number for number, node in enumerate(nodes)}

    def reference(value: Value) -> list[int]:
        return [position[value.node.index], value.number]

    def described(op: Op) -> dict[str, Any]:
        if isinstance(op, Input):
            return {"input": op.name}
        if isinstance(op, Variable):
            return {"variable": op.path}
        if isinstance(op, Constant):
            return {"constant": _constant_name(op.array, arrays)}
        return {"op": op_name(type(op)), "fields": _encode_fields(op, arrays)}

    found = []
    for node in nodes:
        entry = described(node.op)
        if "op" in entry:
            entry |= {
                "inputs": [reference(value) for value in node.inputs],
                "path": node.path,
                "layer": node.layer,
            }
            if (part := node.graph.recomputed.get(node.index)) is not None:
                entry["part"] = part
        elif node.path:
            entry |= {"path": node.path, "layer": node.layer}
        found.append(entry)
    return found, reference


def op_names(nodes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The ops of encoded nodes, those inside of ops among them."""
    for node in nodes:
        if "op" in node:
            yield node["op"]
            for value in node["fields"].values():
                if _is_body(value):
                    yield from op_names(value["nodes"])


def _constant_name(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    key = Constant(array)
    for name, known in arrays.items():
        if name.startswith("~constant/") and Constant(known) == key:
            return name
    name = f"~constant/{sum(known.startswith('~constant/') for known in arrays)}"
    arrays[name] = array
    return name


def _encode_fields(op: Op, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    where = type(op).__name__
    values = {item.name: getattr(op, item.name) for item in fields(op) if item.init}  # type: ignore[arg-type]  # ops are dataclasses
    return {
        name: _encode_body(value, arrays)
        if isinstance(value, Body)
        else encode_value(value, f"{where}.{name}")
        for name, value in values.items()
    }


def _encode_body(body: Body, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The graph inside an op; its inputs are called by their positions."""
    nodes, reference = _encode_nodes(body.nodes, arrays)
    return {
        "nodes": nodes,
        "inputs": [encode_value(value.spec, "body") for value in body.inputs],
        "outputs": [reference(value) for value in body.outputs],
    }


def encode_value(value: Any, where: str) -> Any:
    """A plain value as JSON holds it: tuples become lists, numbers that are not finite {"number": "nan"}.

    Raises:
        CheckpointError: it is of another kind.
    """
    if value is None or isinstance(value, (str, bool, np.bool_)):
        return bool(value) if isinstance(value, np.bool_) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else {"number": repr(number)}
    if isinstance(value, (tuple, list)):
        return [encode_value(item, where) for item in value]
    if isinstance(value, Spec):
        return {"spec": list(value.shape), "dtype": value.dtype}
    raise CheckpointError(
        f"a value of type {type(value).__name__} cannot be saved.",
        where=where,
        fix="use numbers, strings, booleans, None and tuples of them.",
    )


def decode_value(value: Any) -> Any:
    """What `encode_value` was given; lists become tuples.

    Raises:
        CheckpointError: `encode_value` gives no such thing.
    """
    if isinstance(value, list):
        return tuple(decode_value(item) for item in value)
    if isinstance(value, dict):
        if value.keys() == {"number"} and value["number"] in ("nan", "inf", "-inf"):
            return float(value["number"])
        if value.keys() == {"spec", "dtype"} and isinstance(value["spec"], list):
            return Spec(tuple(value["spec"]), expect(value["dtype"], str, "dtype"))
        raise CheckpointError(f"{short(value)} does not refer to a value.")
    return value


# Reading ------------------------------------------------------------------------------------------------


def decode_graph(
    entry: Any,
    inputs: Mapping[str, Spec],
    parameters: Mapping[str, Parameter],
    arrays: Mapping[str, np.ndarray],
    packages: Mapping[str, Any],
) -> SavedGraph:
    """A graph from plain values; every op, field and reference is checked.

    Args:
        entry: what `encode_graph` gave.
        inputs: the specs of the inputs, by name.
        parameters: by path.
        arrays: those of constants, by name.
        packages: the package of each plugin, by the plugin's name.

    Raises:
        CheckpointError: something is malformed or unknown, or a plugin is missing.
    """
    nodes: list[SavedNode] = []
    for number, item in enumerate(expect(expect(entry, dict, "graph").get("nodes"), list, "nodes")):
        try:
            nodes.append(
                _decode_node(expect(item, dict, "node"), number, inputs, parameters, arrays, packages)
            )
        except BigmodelError as error:
            raise CheckpointError(f"node {number}: {error.message}", fix=error.fix) from None
    updates = _updates(entry.get("updates"), parameters, "updates", "parameter", len(nodes))
    states = {node.op.path for node in nodes if isinstance(node.op, Carried)}
    kept = _updates(entry.get("carried_updates", {}), states, "carried_updates", "state", len(nodes))
    outputs = _references(entry.get("outputs"), len(nodes))
    single = expect(entry.get("single"), bool, "single")
    if not outputs or (single and len(outputs) > 1):
        raise CheckpointError(f"outputs: expected {'one' if single else 'some'}, got {len(outputs)}.")
    form = _decode_form(entry.get("form"), single, len(outputs))
    return SavedGraph(tuple(nodes), outputs, form, updates, kept)


def _updates(entry: Any, known: Collection[str], where: str, kind: str, count: int) -> dict[str, Reference]:
    """New values by path, of what there is."""
    found = {path: _reference(value, count) for path, value in expect(entry, dict, where).items()}
    if unknown := set(found) - set(known):
        raise CheckpointError(f"{where}: there is no {kind} {sorted(unknown)[0]!r}.")
    return found


def _decode_form(entry: Any, single: bool, count: int) -> Form:
    """How a saved model returns its outputs; graphs of older files say only whether there is one."""
    if entry is None:
        return Form("single" if single else "tuple")
    kind, names = (expect(entry, dict, "form").get(key) for key in ("kind", "names"))
    names = [expect(name, str, "an output's name") for name in expect(names, list, "names")]
    if kind not in ("single", "tuple", "named", "dict") or single != (kind == "single"):
        raise CheckpointError(f"form: {short(kind)} is not a form of outputs.")
    if len(set(names)) != (count if kind in ("named", "dict") else 0) or len(names) != len(set(names)):
        raise CheckpointError(f"form: {short(names)} does not name {count} outputs.")
    return Form.named(kind, names)


def _decode_node(
    item: dict[str, Any],
    number: int,
    inputs: Mapping[str, Spec],
    parameters: Mapping[str, Parameter],
    arrays: Mapping[str, np.ndarray],
    packages: Mapping[str, Any],
) -> SavedNode:
    path, layer = expect(item.get("path", ""), str, "path"), expect(item.get("layer", ""), str, "layer")
    kinds = [kind for kind in ("op", "input", "variable", "constant") if kind in item]
    if len(kinds) != 1:
        raise CheckpointError("expected an op, an input, a variable or a constant.")
    allowed = {"path", "layer", kinds[0]} | ({"fields", "inputs", "part"} if kinds == ["op"] else set())
    if unknown := sorted(set(item) - allowed):
        raise CheckpointError(f"unknown key {unknown[0]!r}.")
    name = expect(item[kinds[0]], str, kinds[0])
    if kinds == ["op"]:
        package = packages.get(name.partition(":")[0])
        cls = op_class(name, package if isinstance(package, str) else None)
        values = expect(item.get("fields"), dict, "fields")
        decoded = {
            key: _decode_body(value, arrays, packages) if _is_body(value) else decode_value(value)
            for key, value in values.items()
        }
        op = _decode_op(cls, decoded)
        part = item.get("part")
        if part is not None:
            expect(part, int, "part")
        return SavedNode(op, _references(item.get("inputs"), number), path, layer, part)
    tables: dict[str, Mapping[str, Any]] = {"input": inputs, "variable": parameters, "constant": arrays}
    if name not in tables[kinds[0]]:
        raise CheckpointError(f"there is no {kinds[0]} {name!r}.")
    if kinds == ["input"]:
        return SavedNode(Input(name, inputs[name]), (), path, layer)
    if kinds == ["variable"]:
        return SavedNode(Variable(name, parameters[name].spec), (), path, layer)
    return SavedNode(Constant(arrays[name]), (), path, layer)


def _is_body(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"nodes", "inputs", "outputs"}


def _decode_body(
    entry: dict[str, Any], arrays: Mapping[str, np.ndarray], packages: Mapping[str, Any]
) -> Body:
    """What `_encode_body` was given, in a graph of its own."""
    specs = [decode_value(item) for item in expect(entry["inputs"], list, "inputs")]
    named = {str(number): expect(spec, Spec, "an input") for number, spec in enumerate(specs)}
    graph = Graph()
    inputs = tuple(graph.input(name, spec) for name, spec in named.items())
    made: list[tuple[Value, ...]] = []
    for number, item in enumerate(expect(entry["nodes"], list, "nodes")):
        node = _decode_node(expect(item, dict, "node"), number, named, {}, arrays, packages)
        operands = [picked(made, *reference) for reference in node.inputs]
        with graph.scope(node.path, node.layer):
            made.append(graph.apply(node.op, operands).outputs)
    outputs = [picked(made, *item) for item in _references(entry["outputs"], len(made))]
    return Body(graph, inputs, tuple(outputs))


def _decode_op(cls: type[Op], values: Mapping[str, Any]) -> Op:
    known = [item for item in fields(cls) if item.init]  # type: ignore[arg-type]  # ops are dataclasses
    names = {item.name for item in known}
    required = {item.name for item in known if item.default is MISSING and item.default_factory is MISSING}
    found = {current_name(cls, name): value for name, value in values.items()}
    if odd := sorted((found.keys() - names) | (required - found.keys())):
        raise CheckpointError(
            f"{cls.__name__} has the fields {', '.join(sorted(names)) or '(none)'}; '{odd[0]}' does not fit.",
            fix="use the version that the checkpoint was written with.",
        )
    annotations = field_types(cls)
    for name, value in found.items():
        if isinstance(value, Body) != (annotations[name] is Body):
            raise CheckpointError(f"{cls.__name__}.{name}: expected {annotations[name]}, got {short(value)}.")
        if not isinstance(value, Body) and not (isinstance(value, float) and math.isnan(value)):
            convert(value, annotations[name], text=False, where=f"{cls.__name__}.{name}", resolve=_no_objects)
    try:
        return cls(**found)
    except BigmodelError:
        raise
    except Exception as error:
        raise CheckpointError(f"{cls.__name__} cannot be made of its fields: {error}.") from None


def _no_objects(kind: str, annotation: type[Any], value: object) -> object:
    raise ConfigError(f"a {kind} cannot be a field of an op.")


def expect(value: Any, kind: type[Any], what: str) -> Any:
    """A value that must be of a type.

    Raises:
        CheckpointError: it is not.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CheckpointError(f"{what}: expected {kind.__name__}, got {short(value)}.")
    return value


def picked(made: Sequence[tuple[Value, ...]], node: int, number: int) -> Value:
    """A value by its reference, given the outputs of each node.

    Raises:
        CheckpointError: the node has no such output.
    """
    if number >= len(made[node]):
        raise CheckpointError(f"node {node} has {len(made[node])} outputs, but no output {number}.")
    return made[node][number]


def _references(items: Any, count: int) -> tuple[Reference, ...]:
    return tuple(_reference(item, count) for item in expect(items, list, "references"))


def _reference(item: Any, count: int) -> Reference:
    if (
        not isinstance(item, list)
        or len(item) != 2
        or not all(type(part) is int for part in item)
        or not 0 <= item[0] < count
        or item[1] < 0
    ):
        raise CheckpointError(f"{short(item)} does not refer to an earlier value.")
    return item[0], item[1]
