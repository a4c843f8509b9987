"""How attention is read."""

from __future__ import annotations

from typing import Any

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Value
from bigmodel_onnx.nodes import Call, reads


@reads("Attention")
def _attention(call: Call) -> Any:
    """Heads stand before the steps; where operands have three axes, they are parts of the last one."""
    if call.get("softcap", 0.0) or call.outputs > 3:
        raise ExportError("Attention with softcap, or that gives its scores, cannot be read.")
    q, k, v = (call.value(place) for place in range(3))
    is_flat = q.ndim == 3
    if is_flat:
        heads = [call.get("q_num_heads"), *(call.get("kv_num_heads"),) * 2]
        if not all(heads):
            raise ExportError("Attention of three axes without numbers of heads cannot be read.")
        q, k, v = (_split(x, count) for x, count in zip((q, k, v), heads, strict=True))
    before = None
    if call.has(4):
        before = call.value(4)
        k, v = ops.concatenate([before, k], 2), ops.concatenate([call.value(5), v], 2)
    mask = call.value(3) if call.has(3) else None
    causal = bool(call.get("is_causal", 0))
    if causal and before is None and k.shape[2] != q.shape[2]:  # counted from the first key
        first = ops.reshape(ops.positions(k, 2), (1, -1)) <= ops.reshape(ops.positions(q, 2), (-1, 1))
        causal = False
        if mask is None or mask.dtype == "bool":
            mask = first if mask is None else ops.logical_and(mask, first)
        else:
            mask = ops.where(first, mask, -float("inf"))
    y = ops.attention(q, k, v, mask, causal=causal, scale=call.get("scale"))
    if is_flat:
        y = ops.transpose(y, (0, 2, 1, 3))
        y = ops.reshape(y, (*y.shape[:2], -1))
    return y if call.outputs == 1 else (y, k, v)


def _split(x: Value, heads: int) -> Value:
    n, steps, _ = x.shape
    return ops.transpose(ops.reshape(x, (n, steps, heads, -1)), (0, 2, 1, 3))
