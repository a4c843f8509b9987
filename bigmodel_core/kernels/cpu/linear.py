"""`MatMul` and `Affine` on the CPU: one matrix product each."""

from __future__ import annotations

from bigmodel_core.kernels import matrix_product
from bigmodel_core.kernels.array import Call, NativeKernel
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.launch import Launch


def _matmul(call: Call) -> list[Launch]:
    a, b = call.input_buffers
    return gemm.launches(matrix_product.matmul(call), a, b, call.output_buffers[0], None, call.scratch)


def _affine(call: Call) -> list[Launch]:
    x, weight, bias = call.input_buffers
    return gemm.launches(matrix_product.affine(call), x, weight, call.output_buffers[0], bias, call.scratch)


matmul = NativeKernel(_matmul)
affine = NativeKernel(_affine)
