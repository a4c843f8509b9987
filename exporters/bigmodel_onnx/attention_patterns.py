"""Attention to what a model remembers, as one operator that takes the past and gives the present."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph import Node, Value
from bigmodel_core.ops.attention import STEPS_FIRST, Attention
from bigmodel_core.ops.attention_onnx import flat, shown, with_zeros
from bigmodel_core.ops.carried import appended_to
from bigmodel_core.ops.shape import Transpose
from bigmodel_onnx.matching import Match, Uses


def remembering(node: Node, uses: Uses) -> Match | None:
    """Attention whose keys and values are those of earlier calls, and then of this one: all heads of a step
    are one axis for the operator, so that nothing is transposed."""
    op = node.op
    if not isinstance(op, Attention) or not op.causal or op.steps_first != (True, False, False):
        return None
    q, keys, values, *mask = node.inputs
    if keys.node is values.node:
        return None
    of_keys, of_values = _appended(keys), _appended(values)
    if of_keys is None or of_values is None or any(value.shape[1] != 1 for value in mask):
        return None
    (past_k, k), (past_v, v) = of_keys, of_values
    outputs = node.outputs[0].shape

    def write(emit: Any, q_: str, k_: str, v_: str, old_k: str, old_v: str, *mask_: str) -> Any:
        emit.inputs = (q.spec,)
        parts = [emit.reshape(name, flat(x.shape)) for name, x in ((q_, q), (k_, k), (v_, v))]
        seen = shown(emit, op, q.shape[1], keys.shape[2], next(iter(mask_), None))
        scale = {} if op.scale is None else {"scale": op.scale}
        heads = {"q_num_heads": q.shape[2], "kv_num_heads": k.shape[2]}
        y, *present = emit.Attention(*parts, seen, old_k, old_v, outputs=3, **heads, **scale)
        shape = (*(mask[0].shape[:1] if mask else (1,)), q.shape[1], 1)
        y = with_zeros(emit, y, seen, shape)
        return emit.reshape(y, outputs), None, *present

    return Match(node, (q, k, v, past_k, past_v, *mask), write, (keys.node, values.node))


def _appended(value: Value) -> tuple[Value, Value] | None:
    """The past, and what this call appends to it, steps before heads."""
    if appended_to(value.node) is None or value.ndim != 4:
        return None
    past, new = value.node.inputs
    is_turned = isinstance(new.node.op, Transpose) and new.node.op.permutation == STEPS_FIRST
    return (past, new.node.inputs[0]) if is_turned else None
