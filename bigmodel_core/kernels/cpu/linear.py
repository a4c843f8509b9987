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
    return gemm.over_reads(matrix_product.matmul(op, a, b))


def _affine_over_reads(op: Any, x: Spec, weight: Spec, bias: Spec) -> tuple[int, ...]:
    return gemm.over_reads(matrix_product.affine(x, weight), has_bias=True)


@cpu_launches(writes_tiles=True, over_reads=_matmul_over_reads)
def matmul(call: Call) -> list[CpuLaunch]:
    a, b = call.input_buffers
    return gemm.launches(
        matrix_product.matmul(call.op, *call.inputs),
        a,
        b,
        call.output_buffers[0],
        None,
        call.scratch,
        keeps_b=1 in call.unchanging,
    )


@cpu_launches(writes_tiles=True, over_reads=_affine_over_reads)
def affine(call: Call) -> list[CpuLaunch]:
    x, weight, bias = call.input_buffers
    return gemm.launches(
        matrix_product.affine(*call.inputs[:2]),
        x,
        weight,
        call.output_buffers[0],
        bias,
        call.scratch,
        keeps_b=1 in call.unchanging,
    )
