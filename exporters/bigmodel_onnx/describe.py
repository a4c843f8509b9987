"""What a file holds, read without running it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from bigmodel_core.errors import ExportError
from bigmodel_onnx import reading
from bigmodel_onnx.session import metadata_of

Dims = list[int | str]


def describe(path: Path) -> dict[str, Any]:
    """Layers, shapes, parameters, operators, versions and metadata of a file, as JSON-able values.

    `layers` has one entry for each node: its name, operator, output shape, parameters, and multiply-adds
    for one sample if the shapes tell (None if they do not).

    Raises:
        ExportError: the file is missing, damaged or unsafe.
    """
    model = reading.read(path)
    graph = model.graph
    shapes = _shapes(model)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    layers = []
    for node in graph.node:
        own = [weights[name] for name in node.input if name in weights]
        layers.append(
            {
                "name": node.name or node.op_type,
                "operator": node.op_type,
                "output_shape": shapes.get(node.output[0]) if node.output else None,
                "parameters": sum(_count(tensor) for tensor in own if _is_float(tensor)),
                "multiply_adds": _multiply_adds(node, shapes),
            }
        )
    sidecars = {
        entry.value
        for tensor in weights.values()
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {
        "path": str(path),
        "name": graph.name,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), None),
        "domains": sorted({item.domain for item in model.opset_import} - {"", "ai.onnx"}),
        "ir_version": model.ir_version,
        "bytes": path.stat().st_size + sum((path.parent / name).stat().st_size for name in sidecars),
        "sidecars": sorted(sidecars),
        "inputs": [_port(item) for item in graph.input if item.name not in weights],
        "outputs": [_port(item) for item in graph.output],
        "nodes": len(graph.node),
        "operators": dict(Counter(node.op_type for node in graph.node)),
        "parameters": sum(_count(tensor) for tensor in weights.values() if _is_float(tensor)),
        "layers": layers,
        "metadata": metadata_of(model),
    }


def _port(item: Any) -> dict[str, Any]:
    from onnx import TensorProto, helper

    if not item.type.HasField("tensor_type"):
        raise ExportError(f"'{item.name}' is not an array.", fix="only models of arrays can be described.")
    kind = item.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name.replace("object", "string")
    except KeyError:
        dtype = (
            TensorProto.DataType.Name(kind.elem_type)
            if kind.elem_type in TensorProto.DataType.values()
            else "?"
        )
    return {"name": item.name, "dtype": dtype, "shape": _dims(kind)}


def _dims(kind: Any) -> Dims | None:
    if not kind.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in kind.shape.dim]


def _shapes(model: Any) -> dict[str, Dims | None]:
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(model)
    except Exception:  # the shapes are a courtesy; what the file says itself remains
        inferred = model
    graph = inferred.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    known = {
        item.name: _dims(item.type.tensor_type) for item in (*graph.value_info, *graph.input, *graph.output)
    }
    return {**shapes, **known}


def _count(tensor: Any) -> int:
    return math.prod(tensor.dims)


def _is_float(tensor: Any) -> bool:
    return tensor.data_type in (tensor.FLOAT, tensor.DOUBLE, tensor.FLOAT16, tensor.BFLOAT16)


def _multiply_adds(node: Any, shapes: dict[str, Dims | None]) -> int | None:
    """Multiplications of a matrix product with every free dimension as 1; 0 for other operators."""
    if node.op_type not in ("Gemm", "MatMul"):
        return 0
    left, result = (shapes.get(names[0]) if names else None for names in (node.input, node.output))
    if not left or result is None:
        return None
    transposed = any(item.name == "transA" and item.i for item in node.attribute)
    inner = left[0 if transposed else -1]
    return math.prod(dim if isinstance(dim, int) else 1 for dim in [*result, inner])
