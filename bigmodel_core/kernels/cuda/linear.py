"""`MatMul` and `Affine` on a CUDA device: one matrix product each."""

from __future__ import annotations

from bigmodel_core.kernels import matrix_product
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cuda import gemm
from bigmodel_core.kernels.cuda.launch import Launch


def matmul(call: Call) -> list[Launch]:
    """The product of the last two axes; leading axes are a batch."""
    a, b = call.input_buffers
    return gemm.launches(matrix_product.matmul(call), a, b, call.output_buffers[0], None)


def affine(call: Call) -> list[Launch]:
    """x (..., K) times weight (K, N) plus bias (N,)."""
    x, weight, bias = call.input_buffers
    return gemm.launches(matrix_product.affine(call), x, weight, call.output_buffers[0], bias)
