"""How normalisations are read."""

from __future__ import annotations

from typing import Any

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import dim_multiply, dim_product
from bigmodel_core.ops.batch_normalization import FixedNorm
from bigmodel_onnx.nodes import Call, reads


@reads("LayerNormalization")
def _layer_norm(call: Call) -> Any:
    x, scale = call.value(0), call.value(1)
    if call.get("axis", -1) not in (-1, x.ndim - 1):
        raise ExportError("LayerNormalization over several axes cannot be read.")
    if call.outputs > 1:
        raise ExportError("LayerNormalization with its mean as an output cannot be read.")
    shift = call.value(2) if call.has(2) else ops.zeros_like(scale)
    return ops.layer_norm(x, scale, shift, call.get("epsilon", 1e-5))


@reads("RMSNormalization")
def _rms_norm(call: Call) -> Any:
    x, axis = call.value(0), call.get("axis", -1)
    return ops.rms_norm(x, call.value(1), tuple(range(axis % x.ndim, x.ndim)), call.get("epsilon", 1e-5))


@reads("LRN")
def _local_response_norm(call: Call) -> Any:
    """Of an even size, one more channel counts after than before, unlike in PyTorch."""
    size, alpha, beta = call.get("size"), call.get("alpha", 1e-4), call.get("beta", 0.75)
    if not size % 2:
        raise ExportError(
            f"LRN over {size} channels, which are even, cannot be read.", fix="use an odd size."
        )
    return ops.local_response_norm(call.value(0), size, alpha, beta, call.get("bias", 1.0))


@reads("BatchNormalization")
def _batch_norm(call: Call) -> Any:
    """With the statistics of the file, which training does not change."""
    learns = bool(call.get("training_mode", 0)) or (call.opset < 7 and not call.get("is_test", 0))
    if learns or call.outputs > 1:
        raise ExportError("BatchNormalization in training mode cannot be read.", fix="export for inference.")
    if not call.get("spatial", 1):
        raise ExportError("BatchNormalization of single pixels cannot be read.")
    x, vectors, epsilon = (
        call.value(0),
        [call.value(place) for place in range(1, 5)],
        call.get("epsilon", 1e-5),
    )
    if x.ndim < 2:
        raise ExportError("BatchNormalization of numbers without channels cannot be read.")
    images = x if x.ndim == 4 else ops.reshape(x, (*x.shape[:2], dim_product(x.shape[2:]), 1))
    return ops.reshape(FixedNorm(epsilon)(images, *vectors), x.shape)


@reads("InstanceNormalization", "GroupNormalization")
def _group_norm(call: Call) -> Value:
    x, scale, shift = call.value(0), call.value(1), call.value(2)
    channels = x.shape[1]
    groups = call.get("num_groups", channels)
    width = dim_product(x.shape[1:])
    if not isinstance(width, int) or not isinstance(channels, int) or channels % groups:
        raise ExportError(f"{call.operator} of {x.shape} in {groups} groups cannot be read.")
    inner = width // groups
    rows = ops.reshape(x, (dim_multiply(x.shape[0], groups), inner))
    ones, zeros = (ops.broadcast_to(call.graph.constant(number, x.dtype), (inner,)) for number in (1.0, 0.0))
    normal = ops.layer_norm(rows, ones, zeros, call.get("epsilon", 1e-5))
    if call.operator == "GroupNormalization" and call.opset < 21:  # a number for each group
        shape = (x.shape[0], groups, inner)
        scaled = ops.reshape(normal, shape) * ops.reshape(scale, (-1, 1)) + ops.reshape(shift, (-1, 1))
        return ops.reshape(scaled, x.shape)
    column = (-1,) + (1,) * (x.ndim - 2)
    return ops.reshape(normal, x.shape) * ops.reshape(scale, column) + ops.reshape(shift, column)
