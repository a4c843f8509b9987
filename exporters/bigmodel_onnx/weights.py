"""Which numbers of a file are weights: decided by what reads them, wherever in the file they are kept.

Some exporters write weights as initializers, others as nodes: Constant, ConstantOfShape, or a Cast or
Identity of either. All of them are arrays that are known before the model runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS
from bigmodel_onnx import reading

LARGEST = 2**28
"""Bytes of weights that ConstantOfShape may stand for."""


@dataclass
class KnownArrays:
    """What of a graph is known before it runs.

    Args:
        arrays: initializers and the results of nodes that only these go into.
        nodes: the other nodes.
    """

    arrays: dict[str, np.ndarray]
    nodes: list[Any] = field(default_factory=list)


def known_arrays(graph: Any, arrays: Mapping[str, np.ndarray], path: Path) -> KnownArrays:
    """The arrays of a graph, under the names that nodes read them by.

    Raises:
        ExportError: a constant cannot be read, or is too large.
    """
    found = KnownArrays(dict(arrays))
    outputs = {item.name for item in graph.output}
    same: dict[str, str] = {}
    casts: dict[tuple[str, str], str] = {}
    for node in graph.node:
        inputs = [same.get(name, name) for name in node.input]
        if inputs != list(node.input):
            node = _with_inputs(node, inputs)
        given = [found.arrays.get(name) for name in inputs]
        compute = _SOURCES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        made = None
        if compute is not None and len(node.output) == 1 and all(array is not None for array in given):
            try:
                made = compute(node, given, path)
            except ExportError as error:
                error.where = error.where or node.name or node.op_type
                raise
        if made is None:
            found.nodes.append(node)
            continue
        name, source = node.output[0], inputs[0] if inputs else ""
        if node.op_type == "Cast":
            source = casts.setdefault((source, made.dtype.name), name)
        if node.op_type in ("Cast", "Identity") and source != name and name not in outputs:
            same[name] = source
            continue
        found.arrays[name] = made
        if node.op_type == "ConstantOfShape":  # the node stays where its numbers are no weights
            found.nodes.append(node)
    return found


def _with_inputs(node: Any, inputs: Sequence[str]) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(inputs)
    return copy


def _constant(node: Any, given: Sequence[Any], path: Path) -> np.ndarray:
    from onnx import helper

    for item in node.attribute:
        if item.name == "value":
            return reading.array(item.t, path)
        if item.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(item), np.int64)
        if item.name in ("value_float", "value_floats"):
            return np.asarray(helper.get_attribute_value(item), np.float32)
    raise ExportError("this kind of Constant cannot be read.", fix="store it as a dense tensor of numbers.")


def _constant_of_shape(node: Any, given: Sequence[Any], path: Path) -> np.ndarray | None:
    fill = next((reading.array(item.t, path) for item in node.attribute if item.name == "value"), None)
    fill = np.zeros(1, np.float32) if fill is None else fill
    shape = [int(size) for size in np.reshape(given[0], -1)]
    if fill.size != 1 or any(size < 0 for size in shape):
        raise ExportError(
            f"ConstantOfShape cannot make an array of {tuple(shape)} from {fill.size} numbers.",
            fix="export the model again.",
        )
    if math.prod(shape) * fill.itemsize > LARGEST:
        return None
    return np.broadcast_to(fill.reshape(()), shape)


def _cast(node: Any, given: Sequence[Any], path: Path) -> np.ndarray | None:
    """Half precision and integers as the floats that they are cast to."""
    from onnx import helper

    array: np.ndarray = given[0]
    to = next((item.i for item in node.attribute if item.name == "to" and item.i), 0)
    try:
        kind = helper.tensor_dtype_to_np_dtype(to)
    except KeyError:
        return None
    if kind.name in COMPUTED_FLOATS and array.dtype.name not in COMPUTED_FLOATS:
        return array.astype(kind)
    return None


_SOURCES: dict[str, Callable[..., Any]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Cast": _cast,
    "Identity": lambda node, given, path: given[0],
}
"""Nodes that stand for arrays, by operator."""


# Roles ---------------------------------------------------------------------------------------------------

_OPERANDS: dict[str, Collection[int]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1), "PRelu": (1,),
    "BatchNormalization": (1, 2, 3, 4), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2), "RNN": (1, 2, 3, 5), "GRU": (1, 2, 3, 5), "LSTM": (1, 2, 3, 5, 6, 7),
    "Gather": (0,),
}  # fmt: skip
"""The inputs of operators that are weights whatever they are called."""

_SCALES = ("Add", "Sub", "Mul", "Div")
"""Operators by which biases and scales are applied."""

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_MOVES = ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators whose first input is a weight where their output is."""

_SETTINGS = {
    "Resize": slice(1, 3), "Upsample": slice(1, 2), "Pad": slice(2, 3), "Clip": slice(1, 3),
    "NonMaxSuppression": slice(2, 5), "OneHot": slice(1, 3),
}  # fmt: skip
"""The inputs of operators that are numbers to know while the graph is built."""

_MASKED = 1e4
"""Numbers of this size are masks that keep something out of a softmax, and no weights."""


def weight_names(
    nodes: Sequence[Mapping[str, Any]], found: KnownArrays, initializers: Collection[str], *, own: bool
) -> set[str]:
    """The names of the arrays that become parameters.

    Floats with at least one axis that an initializer holds are weights; so are those of other nodes where an
    operator reads them as weights, biases or scales. Numbers that must be known while the graph is built,
    such as the bounds of Clip, are constants.

    Args:
        nodes: as `structure_of` has them.
        found: the arrays and nodes of the graph.
        initializers: the names of the file's initializers.
        own: whether bigmodel wrote the file, which names its constants.
    """
    roles: set[str] = set()
    maker = {name: node["operator"] for node in nodes for name in node["outputs"]}
    for node in reversed(nodes):
        operator, inputs = node["operator"], node["inputs"]
        roles |= {inputs[place] for place in _OPERANDS.get(operator, ()) if place < len(inputs)}
        if operator in _MOVES and inputs and roles & set(node["outputs"]):
            roles.add(inputs[0])
        if operator in _SCALES and len(inputs) == 2:
            if roles & set(node["outputs"]):
                roles |= set(inputs)
            for name, other in (inputs, inputs[::-1]):
                array = found.arrays.get(name)
                if array is None or other in found.arrays or not _is_scale(array):
                    continue
                if array.size > 1 or maker.get(other) in _PRODUCTS:
                    roles.add(name)
    fixed = {name for node in nodes for name in node["inputs"][_SETTINGS.get(node["operator"], slice(0, 0))]}
    names = {name for name in found.arrays if name in initializers or name in roles}
    return {
        name
        for name in names - fixed
        if found.arrays[name].ndim
        and found.arrays[name].dtype.kind == "f"
        and not (own and name in initializers and _is_own_constant(name))
    }


def _is_own_constant(name: str) -> bool:
    return name.startswith("constant_") and name.removeprefix("constant_").isdecimal()


def _is_scale(array: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        return array.dtype.kind == "f" and bool((np.abs(array) < _MASKED).all())
