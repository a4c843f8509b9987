"""A matrix with a product of two narrow ones added, as adapters of trained weights are."""

from __future__ import annotations

from dataclasses import dataclass

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, format_shape


@dataclass(frozen=True)
class LowRankSum(Op):
    """weight (K, N) + scale * down (K, R) @ up (R, N). It has no kernels.

    Args:
        scale: what the product counts.
        is_apart: whether a product with the sum is better computed as two: with the weight, and with one
            narrow matrix after the other, which spares the gradient of the whole weight.
        dropout: where they are apart, the probability that a number that meets the first is dropped.
    """

    scale: float
    is_apart: bool
    dropout: float = 0.0

    def infer(self, weight: Spec, down: Spec, up: Spec) -> Spec:
        if {down.dtype, up.dtype} != {weight.dtype}:
            raise DtypeError(f"LowRankSum cannot mix {weight.dtype}, {down.dtype} and {up.dtype}.")
        if weight.ndim != 2 or (*down.shape, *up.shape) != (
            weight.shape[0],
            down.shape[-1],
            down.shape[-1],
            weight.shape[1],
        ):
            shapes = ", ".join(format_shape(spec.shape) for spec in (weight, down, up))
            raise ShapeError(f"LowRankSum needs (K, N), (K, R) and (R, N), got {shapes}.")
        return weight

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        weight, down, up = inputs
        return (weight + down @ up * self.scale,)


def parts_apart(weight: Value) -> tuple[LowRankSum, Value, Value, Value] | None:
    """Of a sum that is better multiplied apart, the op, the weight and the narrow matrices; else None."""
    op = weight.node.op
    if not isinstance(op, LowRankSum) or not op.is_apart:
        return None
    whole, down, up = weight.node.inputs
    return op, whole, down, up


__all__: list[str] = []
