"""Matrix products: plain and batched, and the affine map of dense layers with its bias fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Dim, Spec, broadcast, dim_product, format_shape
from bigmodel_core.kernels.cpu import linear as cpu_kernels
from bigmodel_core.kernels.cuda import linear as cuda_kernels
from bigmodel_core.ops.low_rank import parts_apart
from bigmodel_core.ops.reduce import reduce_to
from bigmodel_core.ops.reduce import sum as sum_


def _floats(name: str, *specs: Spec) -> None:
    kinds = {spec.dtype for spec in specs}
    if len(kinds) > 1 or not specs[0].is_float:
        raise DtypeError(
            f"{name} needs operands of the same float type, got {' and '.join(sorted(kinds))}.",
            fix="convert them: x.astype('float32').",
        )


@dataclass(frozen=True)
class MatMul(Op):
    """The matrix product of the last two axes, either operand transposed; leading axes are a batch and
    broadcast.

    Args:
        transpose_a: take the left operand as (..., K, M) instead of (..., M, K).
        transpose_b: take the right operand as (..., N, K) instead of (..., K, N).
    """

    transpose_a: bool = False
    transpose_b: bool = False
    cpu = cpu_kernels.matmul
    cuda = cuda_kernels.matmul

    def infer(self, a: Spec, b: Spec) -> Spec:
        _floats("MatMul", a, b)
        if a.ndim < 2 or b.ndim < 2:
            raise ShapeError(
                f"a matrix product needs two dimensions or more, got {format_shape(a.shape)} and"
                f" {format_shape(b.shape)}.",
                fix="add an axis, x[:, None]; numbers are multiplied by *.",
            )
        m, k = a.shape[:-3:-1] if self.transpose_a else a.shape[-2:]
        k2, n = b.shape[:-3:-1] if self.transpose_b else b.shape[-2:]
        if k != k2:
            raise ShapeError(
                f"cannot multiply {format_shape(a.shape)} by {format_shape(b.shape)}: expected {k} and {k2}"
                " to be equal.",
                fix="the left operand needs as many columns as the right one has rows.",
            )
        return Spec((*broadcast(a.shape[:-2], b.shape[:-2]), m, n), a.dtype)

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(outputs[0].sizes) * inputs[0].sizes[-2 if self.transpose_a else -1]

    def terms(self, *inputs: Spec) -> Dim:
        """How many products of a number of each operand add up to a number of the output."""
        return inputs[0].shape[-2 if self.transpose_a else -1]

    def grad(self, dy: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
        ta, tb = self.transpose_a, self.transpose_b
        da = MatMul(tb, True)(b, dy) if ta else MatMul(False, not tb)(dy, b)
        if b.ndim == 2 and a.ndim > 2 and not ta:  # all rows of the batch add to one weight
            from bigmodel_core.ops.shape import reshape

            rows = dim_product(a.shape[:-1])
            flat_a, flat_dy = reshape(a, (rows, a.shape[-1])), reshape(dy, (rows, dy.shape[-1]))
            db = MatMul(True, False)(flat_dy, flat_a) if tb else MatMul(True, False)(flat_a, flat_dy)
        else:
            db = MatMul(True, ta)(dy, a) if tb else MatMul(not ta, False)(a, dy)
        return reduce_to(da, a.shape), reduce_to(db, b.shape)

    def onnx(self, emit: Any, a: Any, b: Any) -> Any:
        a = emit.swap_last(a) if self.transpose_a else a
        b = emit.swap_last(b) if self.transpose_b else b
        return emit.MatMul(a, b)


def matmul(a: Value, b: Value) -> Value:
    """The matrix product of the last two axes; leading axes are a batch and broadcast.

    A vector on the left is a row, one on the right a column; the result is without that axis, as in NumPy.

    Raises:
        ShapeError: the inner sizes differ, leading axes do not broadcast, or an operand is a number.
        DtypeError: the operands are not of one float type.
    """
    from bigmodel_core.ops.shape import broadcast_to, reshape

    if 1 in (a.ndim, b.ndim):
        left = reshape(a, (1, *a.shape)) if a.ndim == 1 else a
        right = reshape(b, (*b.shape, 1)) if b.ndim == 1 else b
        wide = matmul(left, right)
        down = wide.shape[-2:-1] if a.ndim > 1 else ()
        across = wide.shape[-1:] if b.ndim > 1 else ()
        return reshape(wide, (*wide.shape[:-2], *down, *across))
    batch = broadcast(a.shape[:-2], b.shape[:-2])
    if dim_product(a.shape[:-2]) != 1 and a.shape[:-2] != batch:
        a = broadcast_to(a, (*batch, *a.shape[-2:]))
    if dim_product(b.shape[:-2]) != 1 and b.shape[:-2] != batch:
        b = broadcast_to(b, (*batch, *b.shape[-2:]))
    return MatMul()(a, b)


@dataclass(frozen=True)
class Affine(Op):
    """x (..., K) times weight (K, N) plus bias (N,): a dense layer in one kernel."""

    cpu = cpu_kernels.affine
    cuda = cuda_kernels.affine

    def infer(self, x: Spec, weight: Spec, bias: Spec) -> Spec:
        _floats("Affine", x, weight, bias)
        if x.ndim < 1 or weight.ndim != 2 or bias.shape != weight.shape[1:]:
            raise ShapeError(
                f"expected x (..., K), weight (K, N) and bias (N,), got {format_shape(x.shape)}, "
                f"{format_shape(weight.shape)} and {format_shape(bias.shape)}."
            )
        if x.shape[-1] != weight.shape[0]:
            raise ShapeError(
                f"cannot multiply input {format_shape(x.shape)} by weight {format_shape(weight.shape)}: "
                f"expected {weight.shape[0]} input features, got {x.shape[-1]}.",
                fix=(
                    f"build the model with inputs of {weight.shape[0]} features, or let the layer infer its"
                    " input width."
                ),
            )
        return x.with_shape((*x.shape[:-1], weight.shape[1]))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(outputs[0].sizes) * inputs[0].sizes[-1]

    def grad(self, dy: Value, y: Value, x: Value, weight: Value, bias: Value) -> tuple[Value, Value, Value]:
        from bigmodel_core.ops.shape import reshape

        rows = dim_product(x.shape[:-1])
        flat_x, flat_dy = reshape(x, (rows, x.shape[-1])), reshape(dy, (rows, dy.shape[-1]))
        dx = reshape(MatMul(False, True)(flat_dy, weight), x.shape)
        return dx, MatMul(True, False)(flat_x, flat_dy), sum_(flat_dy, 0)

    def onnx(self, emit: Any, x: Any, weight: Any, bias: Any) -> Any:
        if emit.inputs[0].ndim == 2:
            return emit.Gemm(x, weight, bias)
        return emit.Add(emit.MatMul(x, weight), bias)


def affine(x: Value, weight: Value, bias: Value | None = None) -> Value:
    """x (..., K) times weight (K, N), plus bias (N,)."""
    if (parts := parts_apart(weight)) is not None:
        from bigmodel_core.ops.dropout import dropout

        op, whole, down, up = parts
        narrow = matmul(dropout(x, op.dropout), down)
        return affine(x, whole, bias) + matmul(narrow, up) * op.scale
    return matmul(x, weight) if bias is None else Affine()(x, weight, bias)


__all__ = ["affine", "matmul"]
