"""`MatMul` and `Affine` on the CPU: one matrix product each."""

from __future__ import annotations

from typing import Any

from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import matrix_product
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu import gemm
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch


def _matmul_over_reads(op: Any, a: Spec, b: Spec) -> tuple[int, ...]:
    is_column = b.sizes[-2 if op.transpose_b else -1] == 1  # the kernel then takes b for its left operand
    is_copied = op.transpose_a and gemm.copies_transposed(a.sizes[-1], a.dtype)
    return (0, 1) if is_column or is_copied else (1,)


@cpu_launches(writes_tiles=True, over_reads=_matmul_over_reads)
def matmul(call: Call) -> list[CpuLaunch]:
    a, b = call.input_buffers
    return gemm.launches(matrix_product.matmul(call), a, b, call.output_buffers[0], None, call.scratch)


@cpu_launches(writes_tiles=True, over_reads=lambda op, x, weight, bias: (1, 2))
def affine(call: Call) -> list[CpuLaunch]:
    x, weight, bias = call.input_buffers
    return gemm.launches(matrix_product.affine(call), x, weight, call.output_buffers[0], bias, call.scratch)
