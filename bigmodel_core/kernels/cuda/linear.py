"""`MatMul` and `Affine` on a CUDA device: one matrix product each."""

from __future__ import annotations

from bigmodel_core.kernels import matrix_product
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda import gemm
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch


@cuda_launches
def matmul(call: Call) -> list[CudaLaunch]:
    """The product of the last two axes; leading axes are a batch."""
    a, b = call.input_buffers
    return gemm.launches(matrix_product.matmul(call.op, *call.inputs), a, b, call.output_buffers[0], None)


@cuda_launches
def affine(call: Call) -> list[CudaLaunch]:
    """x (..., K) times weight (K, N) plus bias (N,)."""
    x, weight, bias = call.input_buffers
    return gemm.launches(matrix_product.affine(*call.inputs[:2]), x, weight, call.output_buffers[0], bias)
