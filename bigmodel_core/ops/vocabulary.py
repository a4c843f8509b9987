"""The cross-entropy of a product of rows with a vocabulary, so large that its logits are not kept.

No model or loss applies it: plans put it where a product, its cross-entropy and their gradients are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, dim_product
from bigmodel_core.kernels.cpu import vocabulary as cpu_kernels
from bigmodel_core.kernels.cuda import vocabulary as cuda_kernels
from bigmodel_core.ops.linear import MatMul, affine
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import reshape
from bigmodel_core.ops.softmax import CrossEntropyGrad, SoftmaxCrossEntropy


@dataclass(frozen=True)
class VocabularyLoss(Op):
    """The losses of rows, and the gradients of what their logits are made of, by blocks of rows.

    Inputs: x (..., K), weight (K, V) or (V, K), bias (V,) if there is one, labels (...), and with gradients
    those of the losses, (...). Outputs: the losses (...), and with gradients those of x, weight and bias.

    Args:
        smoothing, ignore: as those of `SoftmaxCrossEntropy`.
        transposed: whether the weight is (V, K).
        biased: whether there is a bias.
        graded: whether the gradients are asked for.
    """

    smoothing: float
    ignore: int | None
    transposed: bool
    biased: bool
    graded: bool
    exported: ClassVar[bool] = False
    cpu = cpu_kernels.vocabulary_loss
    cuda = cuda_kernels.vocabulary_loss

    def infer(self, x: Spec, weight: Spec, *rest: Spec) -> tuple[Spec, ...]:
        losses = x.with_shape(x.shape[:-1])
        return (losses, x, weight, *rest[: self.biased]) if self.graded else (losses,)

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        rows = math.prod(inputs[0].sizes[:-1])
        return rows * math.prod(inputs[1].sizes) * (3 if self.graded else 1)

    def decomposed(self, *inputs: Value) -> Sequence[Value]:
        x, weight, *rest = inputs
        bias, (labels, *given) = (rest[0], rest[1:]) if self.biased else (None, rest)
        rows = reshape(x, (dim_product(x.shape[:-1]), x.shape[-1]))
        if self.transposed:
            logits = MatMul(False, True)(rows, weight)
            logits = logits if bias is None else logits + bias
        else:
            logits = affine(rows, weight, bias)
        flat = reshape(labels, (rows.shape[0],))
        losses, shift = SoftmaxCrossEntropy(self.smoothing, self.ignore)(logits, flat)
        found = [reshape(losses, labels.shape)]
        if self.graded:
            upstream = reshape(given[0], flat.shape)
            slopes = CrossEntropyGrad(self.smoothing, self.ignore)(upstream, logits, flat, shift)
            found.append(reshape(MatMul(False, not self.transposed)(slopes, weight), x.shape))
            pair = (slopes, rows) if self.transposed else (rows, slopes)
            found.append(MatMul(True, False)(*pair))
            if bias is not None:
                found.append(sum_(slopes, 0))
        return found
