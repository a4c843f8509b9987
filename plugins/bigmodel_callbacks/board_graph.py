"""A model's graph as TensorBoard draws it: ops and parameters within their layers, with shapes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import bigmodel_core as bm


def graph_of(model: Any) -> bytes:
    """The graph of a built model's prediction, as a serialised GraphDef.

    Layers are the scopes of names: TensorBoard shows a box for each, with its output shape on the edge.
    """
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.versions_pb2 import VersionDef

    found = bm.prediction_graph(model)
    names: dict[Any, str] = {value: name for name, value in found.inputs.items()}
    nodes = [_node(name, "Input", [], [value.spec]) for name, value in found.inputs.items()]
    taken = Counter(names.values())
    for node in found.nodes:
        op = type(node.op).__name__
        inputs = []
        for value in node.inputs:
            if value not in names and value in found.arrays:
                name = found.names.get(value)
                kind = "Constant" if name is None else "Parameter"
                names[value] = _free(name or _inside(node.path, "constant"), taken)
                nodes.append(_node(names[value], kind, [], [value.spec]))
            inputs.append(names[value])
        name = _free(_inside(node.path, op), taken)
        names.update(
            {value: name if not place else f"{name}:{place}" for place, value in enumerate(node.outputs)}
        )
        nodes.append(_node(name, op, inputs, [value.spec for value in node.outputs]))
    for name, value in found.outputs.items():
        nodes.append(_node(_free(name, taken), "Output", [names[value]], [value.spec]))
    graph: bytes = GraphDef(node=nodes, versions=VersionDef(producer=22)).SerializeToString()
    return graph


def _inside(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _free(name: str, taken: Counter[str]) -> str:
    """A name that no other node has."""
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _node(name: str, op: str, inputs: list[str], specs: list[Any]) -> Any:
    from tensorboardX.proto.attr_value_pb2 import AttrValue
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

    shapes = [
        TensorShapeProto(
            dim=[TensorShapeProto.Dim(size=size if isinstance(size, int) else -1) for size in spec.shape]
        )
        for spec in specs
    ]
    attributes = {
        "_output_shapes": AttrValue(list=AttrValue.ListValue(shape=shapes)),
        "type": AttrValue(s=", ".join(map(repr, specs)).encode()),
    }
    return NodeDef(name=name, op=op, input=inputs, attr=attributes)
