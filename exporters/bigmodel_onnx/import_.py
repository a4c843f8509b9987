"""From a file to a trainable model: a layer whose definition is the file's graph."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ConfigError, ExportError
from bigmodel_core.nn.trace import current_trace
from bigmodel_onnx.plain import Structure, is_graph, read_by, with_inner

RAW = (
    *(TypeError, ValueError, LookupError, AttributeError, ArithmeticError),
    *(RecursionError, AssertionError, MemoryError),
)
"""What a file that contradicts itself may raise."""

_FIX = "run the file in ONNX Runtime as it is, or export it from simpler layers."

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


@dataclass(frozen=True, repr=False)
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
            operators = [node["operator"] for node in with_inner(parts["nodes"])]
            for key in ("inputs", "outputs", "constants", "parameters", "opset"):
                parts[key]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigError(
                "the structure is not that of an imported model.",
                where="OnnxModel",
                fix="use bm.from_onnx(path).",
            ) from error
        from bigmodel_onnx.reader import refuse_unknown

        refuse_unknown(operators)
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "_weights", {})

    def __repr__(self) -> str:
        shapes = [item["shape"] for item in self._parts["parameters"].values()]
        return f"<OnnxModel: {len(shapes)} arrays, {sum(map(math.prod, shapes))} parameters>"

    @property
    def input_specs(self) -> tuple[bm.Spec, ...]:
        """What the model takes."""
        parts: Structure = self._parts
        return tuple(bm.Spec(tuple(item["shape"]), item["dtype"]) for item in parts["inputs"])

    def __call__(self, *inputs: Any) -> Any:
        parts: Structure = self._parts
        trace = current_trace()
        if len(inputs) != len(parts["inputs"]):
            raise ConfigError(f"the model takes {len(parts['inputs'])} inputs, got {len(inputs)}.")
        known: dict[str, Any] = {
            item["name"]: value for item, value in zip(parts["inputs"], inputs, strict=True)
        }
        floats = {self._float_type(): trace.dtype}
        for name, item in parts["constants"].items():
            known[name] = _array({**item, "dtype": floats.get(item["dtype"], item["dtype"])})
        self._run(parts["nodes"], known, inputs, trace.graph.path)
        outputs = tuple(_value(self._item(name, known), trace, inputs) for name in parts["outputs"])
        return outputs[0] if len(outputs) == 1 else outputs

    def _run(
        self, nodes: Sequence[Structure], known: dict[str, Any], inputs: tuple[bm.Value, ...], base: str
    ) -> None:
        """Read nodes; what they give is added to what is known.

        Args:
            nodes: of the file's graph, or of one inside it.
            known: items by name.
            inputs: those of the model.
            base: the path of the model.
        """
        from bigmodel_onnx.nodes import Call
        from bigmodel_onnx.reader import read_node

        parts: Structure = self._parts
        trace = current_trace()
        for node in nodes:
            home = "/".join(filter(None, (base, node["path"])))
            with _named(node):
                items = [self._item(name, known) if name else None for name in node["inputs"]]
                attributes = {
                    key: self._function(value, known, inputs, base) if is_graph(value) else _attribute(value)
                    for key, value in node["attributes"].items()
                }
                with trace.graph.scope(home, node["operator"]):
                    call = Call(
                        *(node["operator"], items, attributes, parts["opset"], trace.graph, inputs),
                        *(self.training, {self._float_type(): trace.dtype}),
                        outputs=len(list(filter(None, node["outputs"]))),
                    )
                    result = read_node(call)
            results = result if isinstance(result, tuple) else (result,)
            known.update({name: item for name, item in zip(node["outputs"], results, strict=False) if name})

    def _function(
        self, graph: Structure, known: dict[str, Any], inputs: tuple[bm.Value, ...], base: str
    ) -> Callable[[Sequence[Any]], list[Any]]:
        """A graph of a node as a function of its inputs; it may read what is known around it."""
        parts: Structure = self._parts
        for name in read_by(graph):
            if name in parts["parameters"]:  # asked for here, where its path is the file's
                self._item(name, known)

        def run(items: Sequence[Any]) -> list[Any]:
            inside = {**known, **dict(zip(graph["inputs"], items, strict=True))}
            self._run(graph["nodes"], inside, inputs, base)
            return [self._item(name, inside) for name in graph["outputs"]]

        return run

    def _item(self, name: str, known: dict[str, Any]) -> Any:
        """A value, constant or shape by its name in the file; weights become parameters when first used."""
        if name not in known:
            parts: Structure = self._parts
            parameter = parts["parameters"].get(name)
            if parameter is None:
                raise ExportError(
                    f"'{name}' is not computed by any node that can be read.",
                    fix="export the model again, without that output.",
                )
            weights: Mapping[str, np.ndarray] = self._weights
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


@contextmanager
def _named(node: Mapping[str, Any]) -> Iterator[None]:
    """Errors name the node and its operator, and how to continue."""
    try:
        yield
    except BigmodelError as error:
        if error.where in (None, node["operator"]):
            error.where = node["name"] or node["operator"]
        if node["operator"] not in f"{error.where} {error.message}":
            error.where = f"{error.where} ({node['operator']})"
        error.fix = error.fix or _FIX
        raise
    except RAW as error:
        raise ExportError(
            f"{node['operator']} contradicts itself: {type(error).__name__}: {error}.",
            where=node["name"] or node["operator"],
            fix="export the model again, or run it in ONNX Runtime as it is.",
        ) from error


def _value(item: Any, trace: Any, inputs: tuple[bm.Value, ...]) -> bm.Value:
    from bigmodel_onnx.shapes import Dims

    if isinstance(item, Dims):
        return item.value(trace.graph)
    if not isinstance(item, (bm.Value, np.ndarray)):
        raise ExportError("an output of the file has as many rows as data decides.")
    return item if isinstance(item, bm.Value) else trace.graph.constant(item)


def _array(item: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(item["values"], item["dtype"]).reshape(item["shape"])


def _attribute(value: Any) -> Any:
    return _array(value) if isinstance(value, dict) else value


# Reading --------------------------------------------------------------------------------------------------


def from_onnx(path: str | Path) -> OnnxModel:
    """A trainable model from an ONNX file: built, its parameters are the file's weights.

    Args:
        path: the file; its sidecars are read from its own folder only.

    Raises:
        ExportError: the file is missing, damaged or unsafe, or uses operators that cannot be read.
    """
    from bigmodel_onnx import reading
    from bigmodel_onnx.functions import inlined
    from bigmodel_onnx.structure import structure_of

    path = Path(path)
    model = reading.read(path)
    try:
        structure, weights = structure_of(inlined(model), path)
        layer = OnnxModel(json.dumps(structure, sort_keys=True))
        object.__setattr__(layer, "_weights", weights)
        specs = layer.input_specs
        dtype = next((spec.dtype for spec in specs if spec.is_float), "float32")
        layer.build(*specs, dtype=dtype)
    except BigmodelError as error:
        if str(path) not in (error.where or ""):
            error.where = f"{path}, {error.where}" if error.where else str(path)
        raise
    except RAW as error:
        raise ExportError(
            f"the file contradicts itself: {type(error).__name__}: {error}.",
            where=str(path),
            fix="export the model again, or run it in ONNX Runtime as it is.",
        ) from error
    return layer
