"""From a file to a trainable model: a layer whose definition is the file's graph."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ConfigError, ExportError
from bigmodel_core.layer import current_trace

Structure = dict[str, Any]

_WHOLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_DENSE = """{
  "opset": 17, "outputs": ["y"], "constants": {},
  "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 7]}],
  "parameters": {
    "weight": {"shape": [7, 4], "dtype": "float32", "trainable": true},
    "bias": {"shape": [4], "dtype": "float32", "trainable": true}},
  "nodes": [{"operator": "Gemm", "name": "Gemm", "path": "", "attributes": {},
             "inputs": ["x", "weight", "bias"], "outputs": ["y"]}]
}"""
"""The structure of one dense layer, which shows what a structure is."""


@dataclass(frozen=True)
class OnnxModel(bm.Layer):
    """A model read from an ONNX file; `bm.from_onnx(path)` makes one.

    Args:
        structure: the file's graph without its weights, as JSON; a dense layer of four units by default.

    The numbers that the file's inputs are made of become those of the model's own type, float32 or float64.

    Raises:
        ConfigError: the structure cannot be read.
        ExportError: it uses operators that cannot be read; all of them are listed.
    """

    structure: str = _DENSE

    def __post_init__(self) -> None:
        try:
            parts = json.loads(self.structure)
            operators = [node["operator"] for node in parts["nodes"]]
            for key in ("inputs", "outputs", "constants", "parameters", "opset"):
                parts[key]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigError(
                "the structure is not that of an imported model.",
                where="OnnxModel",
                fix="use bm.from_onnx(path).",
            ) from error
        refuse_unknown(operators)
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "_weights", {})

    @property
    def input_specs(self) -> tuple[bm.Spec, ...]:
        """What the model takes."""
        parts: Structure = self._parts  # type: ignore[attr-defined]
        return tuple(bm.Spec(tuple(item["shape"]), item["dtype"]) for item in parts["inputs"])

    def __call__(self, *inputs: Any) -> Any:
        from bigmodel_onnx.nodes import READERS, Call

        parts: Structure = self._parts  # type: ignore[attr-defined]
        trace = current_trace()
        if len(inputs) != len(parts["inputs"]):
            raise ConfigError(f"the model takes {len(parts['inputs'])} inputs, got {len(inputs)}.")
        known: dict[str, Any] = {
            item["name"]: value for item, value in zip(parts["inputs"], inputs, strict=True)
        }
        floats = {self._float_type(): trace.dtype}
        for name, item in parts["constants"].items():
            known[name] = _array({**item, "dtype": floats.get(item["dtype"], item["dtype"])})
        for node in parts["nodes"]:
            items = [self._item(name, known) if name else None for name in node["inputs"]]
            attributes = {key: _attribute(value) for key, value in node["attributes"].items()}
            operator = node["operator"]
            call = Call(
                *(operator, items, attributes, parts["opset"], trace.graph, inputs, trace.training, floats),
                outputs=len(list(filter(None, node["outputs"]))),
            )
            home = "/".join(filter(None, (trace.graph.path, node["path"])))
            with trace.graph.scope(home, operator):
                try:
                    found = _followed(call)
                    result = READERS[operator](call) if found is None else found
                except BigmodelError as error:
                    error.where = error.where or node["name"] or operator
                    raise
            results = result if isinstance(result, tuple) else (result,)
            known.update({name: item for name, item in zip(node["outputs"], results, strict=False) if name})
        outputs = tuple(_value(self._item(name, known), trace, inputs) for name in parts["outputs"])
        return outputs[0] if len(outputs) == 1 else outputs

    def _item(self, name: str, known: dict[str, Any]) -> Any:
        """A value, constant or shape by its name in the file; weights become parameters when first used."""
        if name not in known:
            parts: Structure = self._parts  # type: ignore[attr-defined]
            parameter = parts["parameters"].get(name)
            if parameter is None:
                raise ExportError(f"'{name}' is used before it is computed.", fix="export the file again.")
            weights: Mapping[str, np.ndarray] = self._weights  # type: ignore[attr-defined]
            array = weights.get(name)
            initial: Any = "glorot_uniform" if len(parameter["shape"]) > 1 else 0.0
            if array is not None:
                initial = lambda generator, shape: array  # noqa: E731
            dtype = None if parameter["dtype"] == self._float_type() else parameter["dtype"]
            known[name] = self.parameter(
                name, parameter["shape"], initial, dtype=dtype, trainable=parameter["trainable"]
            )
        return known[name]

    def _float_type(self) -> str:
        """The type of the file's numbers."""
        return next((spec.dtype for spec in self.input_specs if spec.is_float), "float32")


def _followed(call: Any) -> Any:
    """The result where an operator works on shapes alone; None where it is an op of the graph."""
    from bigmodel_onnx.shapes import HANDLED, Dims, compute

    if call.operator not in HANDLED or any(item is None for item in call.items) or not call.items:
        return None
    items = [found for item in call.items if (found := Dims.of(item)) is not None]
    if len(items) < len(call.items):
        return None
    return compute(call.operator, items, call.get("axis", 0))


def _value(item: Any, trace: Any, inputs: tuple[bm.Value, ...]) -> bm.Value:
    from bigmodel_onnx.shapes import Dims

    if isinstance(item, Dims):
        return item.value(trace.graph, inputs)
    return item if isinstance(item, bm.Value) else trace.graph.constant(item)


def _readers() -> dict[str, Any]:
    """What reads each operator; the modules that fill the table are imported when a file is."""
    from bigmodel_onnx import (
        border_operators,
        image_operators,
        nodes,
        normalization_operators,
        operators,
        recurrent_operators,
        shape_operators,
    )

    assert border_operators and image_operators and normalization_operators and operators
    assert recurrent_operators and shape_operators
    return nodes.READERS


def refuse_unknown(operators: list[str]) -> None:
    """Raise ExportError with all operators that cannot be read."""
    readers = _readers()
    unknown = sorted({name for name in operators if name not in readers})
    if unknown:
        raise ExportError(
            f"the file has operators that cannot be read: {', '.join(unknown)}.",
            fix="run the file in ONNX Runtime as it is, or export it from simpler layers.",
        )


# Reading --------------------------------------------------------------------------------------------------


def from_onnx(path: str | Path) -> OnnxModel:
    """A trainable model from an ONNX file: built, its parameters are the file's weights.

    Args:
        path: the file; its sidecars are read from its own folder only.

    Raises:
        ExportError: the file is missing, damaged or unsafe, or uses operators that cannot be read.
    """
    from bigmodel_onnx import reading

    path = Path(path)
    model = reading.read(path)
    try:
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
        structure, weights = _structure(model, path)
        layer = OnnxModel(json.dumps(structure, sort_keys=True))
        object.__setattr__(layer, "_weights", weights)
        specs = layer.input_specs
        dtype = next((spec.dtype for spec in specs if spec.is_float), "float32")
        layer.build(*specs, dtype=dtype)
    except BigmodelError as error:
        if str(path) not in (error.where or ""):
            error.where = f"{path}, {error.where}" if error.where else str(path)
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ExportError(
            f"the file contradicts itself: {type(error).__name__}: {error}.",
            where=str(path),
            fix="export the model again, or run it in ONNX Runtime as it is.",
        ) from error
    return layer


_STATES = slice(5, 7)
_STATISTICS = {"BatchNormalization": slice(3, 5), "RNN": _STATES, "LSTM": _STATES, "GRU": _STATES}
"""The inputs of operators that training does not change: moments and initial states."""

_SETTINGS = {"Resize": slice(1, 3), "Upsample": slice(1, 2), "Pad": slice(2, 3), "Clip": slice(1, 3)}
"""The inputs of operators that are numbers to know while the graph is built."""


def _structure(model: Any, path: Path) -> tuple[Structure, dict[str, np.ndarray]]:
    """The graph as plain values, and the weights by name."""
    from bigmodel_onnx import reading

    graph = model.graph
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    nodes = [_node(node, path) for node in graph.node if node.op_type != "Constant"]
    refuse_unknown([node["operator"] for node in nodes])
    own = model.producer_name == "bigmodel"
    kept, fixed = (
        {name for node in graph.node if node.op_type in table for name in node.input[table[node.op_type]]}
        for table in (_STATISTICS, _SETTINGS)
    )
    constants = {node.output[0]: _constant(node, path) for node in graph.node if node.op_type == "Constant"}
    parameters, weights = {}, {}
    for tensor in graph.initializer:
        array = reading.array(tensor, path)
        if array.dtype.name not in ("float32", "float64", "int64", "int32", "uint8", "bool"):
            raise ExportError(f"numbers of type {array.dtype.name} cannot be read.", where=tensor.name)
        if (
            tensor.name in fixed
            or array.ndim == 0
            or array.dtype.kind != "f"
            or (own and re.fullmatch(r"constant_\d+", tensor.name))
        ):
            constants[tensor.name] = array
            continue
        trainable = tensor.name not in kept
        parameters[tensor.name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "trainable": trainable,
        }
        weights[tensor.name] = array
    names = {tensor.name for tensor in graph.initializer}
    structure = {
        "opset": opset,
        "inputs": [
            _input(item, place) for place, item in enumerate(i for i in graph.input if i.name not in names)
        ],
        "outputs": [item.name for item in graph.output],
        "nodes": nodes,
        "constants": {name: _plain(array) for name, array in constants.items()},
        "parameters": parameters,
    }
    return structure, weights


def _node(node: Any, path: Path) -> dict[str, Any]:
    parts = [part for part in node.name.split("/") if part]
    if parts and re.fullmatch(rf"{re.escape(node.op_type)}(_\d+)?", parts[-1]):
        parts.pop()
    foreign = node.domain not in ("", "ai.onnx")
    return {
        "operator": f"{node.domain}.{node.op_type}" if foreign else node.op_type,
        "name": node.name,
        "path": "/".join(parts) if "/" in node.name.strip("/") else "",
        "inputs": list(node.input),
        "outputs": list(node.output),
        "attributes": {item.name: _attribute_value(item, path) for item in node.attribute},
    }


def _attribute_value(item: Any, path: Path) -> Any:
    from onnx import AttributeProto, helper

    from bigmodel_onnx import reading

    if item.type == AttributeProto.TENSOR:
        return _plain(reading.array(item.t, path))
    if item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR):
        return None  # only operators that are refused have these
    value = helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (int, float)):
        return value
    return [part.decode("utf-8", "replace") if isinstance(part, bytes) else part for part in value]


def _constant(node: Any, path: Path) -> np.ndarray:
    from onnx import helper

    from bigmodel_onnx import reading

    for item in node.attribute:
        if item.name == "value":
            return reading.array(item.t, path)
        if item.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(item), np.int64)
        if item.name in ("value_float", "value_floats"):
            return np.asarray(helper.get_attribute_value(item), np.float32)
    raise ExportError("this kind of Constant cannot be read.", where=node.name or "Constant")


def _plain(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.reshape(-1).tolist()}


def _array(item: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(item["values"], item["dtype"]).reshape(item["shape"])


def _attribute(value: Any) -> Any:
    return _array(value) if isinstance(value, dict) else value


def _input(item: Any, place: int) -> dict[str, Any]:
    """An input's name, type and shape; free dimensions keep their names, or get one."""
    from bigmodel_onnx.nodes import DTYPES

    kind = item.type.tensor_type
    if not item.type.HasField("tensor_type") or kind.elem_type not in DTYPES or not kind.HasField("shape"):
        raise ExportError("the type or the shape of the input cannot be read.", where=item.name)
    shape: list[int | str] = []
    for axis, dim in enumerate(kind.shape.dim):
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
            continue
        name = re.sub(r"\W", "_", dim.dim_param) or ("N" if axis == 0 else f"D{place}_{axis}")
        shape.append(name if _WHOLE.fullmatch(name) else f"D_{name}")
    return {"name": item.name, "dtype": DTYPES[kind.elem_type], "shape": shape}
