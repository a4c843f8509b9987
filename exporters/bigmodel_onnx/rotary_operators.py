"""How rotary position embeddings are read."""

from __future__ import annotations

from typing import Any

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.ops.rotary import Rotary
from bigmodel_onnx.nodes import Call, reads


@reads("RotaryEmbedding")
def _rotary(call: Call) -> Any:
    """Heads stand before the steps; where x has three axes, they are parts of the last one."""
    x, cosine, sine = (call.value(place) for place in range(3))
    if call.has(3):
        cosine, sine = (ops.gather(table, call.value(3)) for table in (cosine, sine))
    heads = call.get("num_heads", 0)
    if x.ndim == 3 and not heads:
        raise ExportError("RotaryEmbedding of three axes without num_heads cannot be read.")
    if not isinstance(cosine.shape[-1], int):
        raise ExportError("RotaryEmbedding of a free number of pairs cannot be read.")
    op = Rotary(bool(call.get("interleaved", 0)))
    if x.ndim == 4:
        return op(x, cosine, sine)
    n, steps, width = x.shape
    parted = ops.transpose(ops.reshape(x, (n, steps, heads, -1)), (0, 2, 1, 3))
    return ops.reshape(ops.transpose(op(parted, cosine, sine), (0, 2, 1, 3)), (n, steps, width))
