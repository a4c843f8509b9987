"""Which matrix products the ops `MatMul` and `Affine` are, on every device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph.spec import Spec


@dataclass(frozen=True)
class MatrixProduct:
    """C[i] (m, n) = op(A[i]) op(B[i]) + bias for each i of a batch, all row-major; C is contiguous.

    Args:
        dtype: "float32" or "float64".
        transpose_a: A is stored as (k, m).
        transpose_b: B is stored as (n, k).
        batch: how many products.
        stride_a: numbers from one A of a batch to the next; 0 if all share one.
        stride_b: likewise for B.
    """

    m: int
    n: int
    k: int
    dtype: str
    transpose_a: bool = False
    transpose_b: bool = False
    batch: int = 1
    stride_a: int = 0
    stride_b: int = 0


def matmul(op: Any, a: Spec, b: Spec) -> MatrixProduct:
    """The product of a `MatMul`, all sizes known.

    Raises:
        ShapeError: an operand is repeated along some axes of the batch only.
    """
    left, right, y = a.sizes, b.sizes, op.infer(a, b).sizes
    *batches, m, n = y
    k = left[-2] if op.transpose_a else left[-1]
    if len(right) == 2 and not op.transpose_a and left[:-2] == y[:-2]:
        # one tall product instead of many with the same right side
        return MatrixProduct(math.prod((*batches, m)), n, k, a.dtype, False, op.transpose_b)
    strides = _batch_stride(left, y), _batch_stride(right, y)
    return MatrixProduct(m, n, k, a.dtype, op.transpose_a, op.transpose_b, math.prod(batches), *strides)


def affine(x: Spec, weight: Spec) -> MatrixProduct:
    """The product of an `Affine`, all sizes known: x (..., K) times weight (K, N)."""
    k, n = weight.sizes
    return MatrixProduct(math.prod(x.sizes[:-1]), n, k, x.dtype)


def _batch_stride(operand: tuple[int, ...], output: tuple[int, ...]) -> int:
    """Numbers between the matrices of a batch; 0 if one matrix serves all."""
    if math.prod(operand[:-2]) == 1:
        return 0
    if operand[:-2] != output[:-2]:
        raise ShapeError(
            "an operand of a batched product is repeated along some axes only.", fix="use bm.ops.matmul."
        )
    return math.prod(operand[-2:])
