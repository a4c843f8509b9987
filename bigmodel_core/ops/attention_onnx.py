"""Attention as the operator of ONNX, since opset 23.

The operator counts causality from the first key, and not all runtimes give zeros where a step sees no key. So
what is seen is given as a mask, and such steps are zeroed behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bigmodel_core.graph.spec import Dim, Shape, dim_multiply, dim_subtract

if TYPE_CHECKING:
    from bigmodel_core.ops.attention import _Attention


def written(emit: Any, op: _Attention, operands: Sequence[Any], mask: Any) -> Any:
    """The output, as `Attention` gives it.

    Args:
        emit: adds nodes.
        op: the attention.
        operands: query, key and value.
        mask: what is seen, or None.
    """
    specs = emit.inputs[:3]
    steps, keys = (x.shape[1 if first else 2] for x, first in zip(specs[:2], op.steps_first[:2], strict=True))
    of_mask = emit.inputs[3].shape if op.has_mask else (1, 1)
    is_flat = all(op.steps_first) and steps == keys and of_mask[1] == 1
    scale = {} if op.scale is None else {"scale": op.scale}
    if is_flat:  # the heads of a step are one axis, and nothing is transposed
        operands = [emit.reshape(x, flat(spec.shape)) for x, spec in zip(operands, specs, strict=True)]
        scale |= {"q_num_heads": specs[0].shape[2], "kv_num_heads": specs[1].shape[2]}
    else:
        turned = zip(operands, op.steps_first, strict=True)
        operands = [emit.Transpose(x, perm=[0, 2, 1, 3]) if first else x for x, first in turned]
    if op.has_mask or (op.causal and steps != keys):
        seen = whole = shown(emit, op, steps, keys, mask)
        if not op.causal:  # runtimes want a mask for each step
            whole = emit.expand(seen, (*of_mask[:2], steps, keys))
        y = emit.Attention(*operands, whole, **scale)
        rows = steps if op.causal else emit.inputs[3].shape[2]
        y = with_zeros(emit, y, seen, (of_mask[0], rows, 1) if is_flat else None)
    else:
        y = emit.Attention(*operands, is_causal=int(op.causal), **scale)
    if is_flat:
        return emit.reshape(y, emit.outputs[0].shape)
    return emit.Transpose(y, perm=[0, 2, 1, 3]) if op.steps_first[0] else y


def flat(shape: Shape) -> Shape:
    """(N, T, heads, width) with the heads of a step as one axis."""
    return (*shape[:2], dim_multiply(*shape[2:]))


def shown(emit: Any, op: _Attention, steps: Dim, keys: Dim, mask: Any) -> Any:
    """Truth values that broadcast to (N, heads, steps, keys), where a key is seen.

    Args:
        emit: adds nodes.
        op: the attention.
        steps, keys: how many.
        mask: that of the op, or None.
    """
    if not op.causal:
        return mask
    before, size = (emit.dimension_size(dim, "int64") for dim in (dim_subtract(keys, steps), keys))
    zero, one = emit.const(0, "int64"), emit.const(1, "int64")
    ends = emit.Unsqueeze(emit.Range(before, size, one), emit.ints((1,)))
    causal = emit.LessOrEqual(emit.Range(zero, size, one), ends)
    return causal if mask is None else emit.And(mask, causal)


def with_zeros(emit: Any, y: Any, seen: Any, shape: Shape | None = None) -> Any:
    """The output, with zeros where a step sees no key.

    Args:
        emit: adds nodes.
        y: the output, (N, heads, steps, width), or as `shape` says.
        seen: what is seen.
        shape: of truth values for each step that broadcast to y, if not (N, heads, steps, 1).
    """
    most = emit.reduce("ReduceMax", emit.cast(seen, "int32"), (-1,), True)
    sees = emit.Greater(most, emit.const(0, "int32"))
    return emit.Where(sees if shape is None else emit.reshape(sees, shape), y, emit.const(0.0))
