"""The graph of a file as plain values: nodes, inputs, constants, and what is trained."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph.dtypes import COMPUTED
from bigmodel_core.ops.carried import PAST
from bigmodel_onnx import reading
from bigmodel_onnx.nodes import dtype_of
from bigmodel_onnx.plain import Structure, read_by, with_inner
from bigmodel_onnx.reader import refuse_unknown
from bigmodel_onnx.weights import KnownArrays, known_arrays, weight_names

_WHOLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_STATES = slice(5, 7)
_STATISTICS = {"BatchNormalization": slice(3, 5), "RNN": _STATES, "LSTM": _STATES, "GRU": _STATES}
"""The inputs of operators that training does not change: moments and initial states."""


def structure_of(model: Any, path: Path) -> tuple[Structure, dict[str, np.ndarray]]:
    """The graph as plain values, and the weights by name.

    Raises:
        ExportError: the file has something that cannot be read; the message names it.
    """
    graph = model.graph
    if graph.sparse_initializer:
        raise ExportError(
            "sparse weights cannot be read.",
            where=graph.sparse_initializer[0].values.name,
            fix="store the weights densely.",
        )
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    refuse_unknown(_operators(graph))
    names: set[str] = set()
    found = KnownArrays({})
    nodes = _nodes(graph, found, names, path)
    every = list(with_inner(nodes))
    trained = weight_names(every, found, names, own=model.producer_name == "bigmodel")
    kept = {name for node in every for name in node["inputs"][_STATISTICS.get(node["operator"], slice(0, 0))]}
    used = read_by({"nodes": nodes, "outputs": [item.name for item in graph.output]})
    constants, parameters, weights = {}, {}, {}
    lazy = {node["outputs"][0] for node in every if node["operator"] == "ConstantOfShape"}
    nodes = [node for node in nodes if not set(node["outputs"]) & lazy & trained]
    for name, array in found.arrays.items():
        if name not in used or name in lazy - trained:
            continue
        if array.dtype.name not in COMPUTED:
            raise ExportError(
                f"numbers of type {array.dtype.name} cannot be read.",
                where=name,
                fix=f"convert them to one of {', '.join(COMPUTED)}.",
            )
        if name not in trained:
            constants[name] = array
            continue
        parameters[name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "trainable": name not in kept,
        }
        weights[name] = array
    inputs = [item for item in graph.input if item.name not in names]
    alone = {dim.dim_param for item in inputs for dim in item.type.tensor_type.shape.dim}
    structure = {
        "opset": opset,
        "inputs": [_input(item, place, alone) for place, item in enumerate(inputs)],
        "outputs": [item.name for item in graph.output],
        "nodes": nodes,
        "constants": {name: _plain(array) for name, array in constants.items()},
        "parameters": parameters,
    }
    return structure, weights


def _operators(graph: Any) -> list[str]:
    """The operators that compute something in a graph, and in those of its nodes."""
    found = []
    for node in graph.node:
        if _operator(node) != "Constant":
            found.append(_operator(node))
        for item in node.attribute:
            for inner in (*([item.g] if item.HasField("g") else ()), *item.graphs):
                found += _operators(inner)
    return found


def _operator(node: Any) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _nodes(graph: Any, found: KnownArrays, names: set[str], path: Path) -> list[dict[str, Any]]:
    """The nodes of a graph as plain values. Names are unique in a file, whichever of its graphs they are in.

    Args:
        graph: of the file, or of a node.
        found: the arrays that are known so far, to which its own are added.
        names: the names of initializers, likewise.
    """
    names |= {tensor.name for tensor in graph.initializer}
    found.arrays.update({tensor.name: reading.array(tensor, path) for tensor in graph.initializer})
    known = known_arrays(graph, found.arrays, path)
    found.arrays.update(known.arrays)
    nodes = []
    for node in known.nodes:
        made = _node(node, path)
        for item in node.attribute:
            if item.HasField("g"):
                made["attributes"][item.name] = {
                    "inputs": [port.name for port in item.g.input],
                    "outputs": [port.name for port in item.g.output],
                    "nodes": _nodes(item.g, found, names, path),
                }
        nodes.append(made)
    return nodes


def _node(node: Any, path: Path) -> dict[str, Any]:
    parts = [part for part in node.name.split("/") if part]
    if parts and re.fullmatch(rf"{re.escape(node.op_type)}(_\d+)?", parts[-1]):
        parts.pop()
    return {
        "operator": _operator(node),
        "name": node.name,
        "path": "/".join(parts) if "/" in node.name.strip("/") else "",
        "inputs": list(node.input),
        "outputs": list(node.output),
        "attributes": {item.name: _attribute_value(item, path) for item in node.attribute},
    }


def _attribute_value(item: Any, path: Path) -> Any:
    from onnx import AttributeProto, helper

    if item.type == AttributeProto.TENSOR:
        return _plain(reading.array(item.t, path))
    if item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR):
        return None  # a graph is added where its nodes are known; only operators that are refused have others
    value = helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (int, float)):
        return value
    return [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in value]


def _plain(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.reshape(-1).tolist()}


_RENAMED = {PAST: "P"}
"""A size that has a meaning in models here, which a file's inputs do not have."""


def _sum(text: str, alone: Collection[str]) -> str | None:
    """A size that is the sum of sizes of other axes, such as the length of a mask; None if it is not."""
    names = [part.strip() for part in text.split("+")]
    if len(names) < 2 or not all(_WHOLE.fullmatch(name) and name in alone for name in names):
        return None
    return " + ".join(_RENAMED.get(name, name) for name in names)


def _input(item: Any, place: int, alone: Collection[str]) -> dict[str, Any]:
    """An input's name, type and shape; free dimensions keep their names, or get one."""
    kind = item.type.tensor_type
    dtype = dtype_of(kind.elem_type)
    if not item.type.HasField("tensor_type") or dtype is None or not kind.HasField("shape"):
        raise ExportError("the type or the shape of the input cannot be read.", where=item.name)
    shape: list[int | str] = []
    for axis, dim in enumerate(kind.shape.dim):
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
            continue
        if (total := _sum(dim.dim_param, alone)) is not None:
            shape.append(total)
            continue
        name = _RENAMED.get(dim.dim_param) or re.sub(r"\W", "_", dim.dim_param)
        name = name or ("N" if axis == 0 else f"D{place}_{axis}")
        shape.append(name if _WHOLE.fullmatch(name) else f"D_{name}")
    return {"name": item.name, "dtype": dtype, "shape": shape}
