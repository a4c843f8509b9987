"""The cross-entropy of a product with a large vocabulary on a CUDA device: all logits are scratch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cuda import gemm, softmax
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch
from bigmodel_core.kernels.cuda.sums import sums
from bigmodel_core.kernels.matrix_product import MatrixProduct


@cuda_launches
def vocabulary_loss(call: Call) -> list[CudaLaunch]:
    """The product, the losses, the gradients of the logits, and the products of those."""
    op, dtype, depth = call.op, call.dtype, call.inputs[0].sizes[-1]
    rows = math.prod(call.inputs[0].sizes[:-1])
    words = call.inputs[1].sizes[0 if op.transposed else 1]
    x, weight, labels = call.input(0), call.input_buffers[1], call.input(2 + op.biased).reshape(rows)
    logits, shift = call.temporary((rows, words)), call.temporary((rows,))
    bias = call.input_buffers[2] if op.biased else None
    p = MatrixProduct(rows, words, depth, dtype, False, op.transposed)
    losses = call.output(0).reshape(rows)
    found = [
        *gemm.launches(p, x.buffer, weight, logits.buffer, bias),
        *_launches(softmax.cross_entropy, call, [losses, shift], [logits, labels]),
    ]
    if not op.graded:
        return found
    upstream, slopes = call.input(3 + op.biased).reshape(rows), call.temporary((rows, words))
    found += _launches(softmax.cross_entropy_grad, call, [slopes], [upstream, logits, labels, shift])
    of_x = MatrixProduct(rows, depth, words, dtype, False, not op.transposed)
    found += gemm.launches(of_x, slopes.buffer, weight, call.output_buffers[1], None)
    pair = (slopes, x) if op.transposed else (x, slopes)
    sizes = (words, depth) if op.transposed else (depth, words)
    of_weight = MatrixProduct(*sizes, rows, dtype, True)
    found += gemm.launches(of_weight, pair[0].buffer, pair[1].buffer, call.output_buffers[2], None)
    if op.biased:
        found += sums(call, dtype, slopes.buffer, call.output_buffers[3], 1, rows, words)
    return found


def _launches(kernel: Any, call: Call, outputs: Sequence[Operand], inputs: Sequence[Operand]) -> list[Any]:
    """Those of a kernel of this device on other arrays."""
    part = replace(
        call,
        inputs=tuple(operand.spec for operand in inputs),
        outputs=tuple(operand.spec for operand in outputs),
        input_buffers=tuple(operand.buffer for operand in inputs),
        output_buffers=tuple(operand.buffer for operand in outputs),
    )
    return list(kernel.launches(part))
