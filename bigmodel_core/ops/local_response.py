"""Normalisation by the numbers of neighbouring channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, dim_product, format_shape
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.functions import square
from bigmodel_core.ops.pooling import AveragePool
from bigmodel_core.ops.shape import reshape


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """x (N, C, ...) / (k + alpha * mean of squares over `size` channels around each) ** beta.

    It has no kernels: squares, a pool over channels and a power are what it takes.
    """

    size: int
    alpha: float
    beta: float
    k: float

    def infer(self, x: Spec) -> Spec:
        check_floats("local_response_norm", x)
        if x.ndim < 3:
            raise ShapeError(
                f"local_response_norm needs (N, C, ...) with three dimensions or more, got"
                f" {format_shape(x.shape)}."
            )
        return x

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """The pool is one over rows, with pixels in the place of channels, of images with channels last."""
        (x,) = inputs
        rows = reshape(square(x), (*x.shape[:2], 1, dim_product(x.shape[2:])))
        before, after = self.size // 2, (self.size - 1) // 2
        means = AveragePool((self.size, 1), (1, 1), (before, 0, after, 0), layout="NHWC")(rows)
        return (x / (reshape(means, x.shape) * self.alpha + self.k) ** self.beta,)

    def onnx(self, emit: Any, x: Any) -> Any:
        shape = emit.inputs[0].shape
        if self.size % 2:  # the operator of images, in ONNX Runtime
            is_image = len(shape) == 4
            images = x if is_image else emit.reshape(x, (*shape[:2], 1, dim_product(shape[2:])))
            found = emit.LRN(images, size=self.size, alpha=self.alpha, beta=self.beta, bias=self.k)
            return found if is_image else emit.Reshape(found, emit.shape(shape))
        rows = emit.reshape(x, (shape[0], 1, shape[1], dim_product(shape[2:])))
        pads = [self.size // 2, 0, (self.size - 1) // 2, 0]
        means = emit.AveragePool(
            emit.Mul(rows, rows), kernel_shape=[self.size, 1], pads=pads, count_include_pad=1
        )
        spread = emit.Add(emit.Mul(means, emit.const(self.alpha)), emit.const(self.k))
        return emit.Reshape(emit.Div(rows, emit.Pow(spread, emit.const(self.beta))), emit.shape(shape))


def local_response_norm(
    x: Value, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Value:
    """x (N, C, ...) / (k + alpha * mean of squares over `size` neighbouring channels) ** beta (Krizhevsky et
    al., 2012).

    Of an even `size`, one more channel counts before than after; channels that do not exist count as zeros.

    Raises:
        ConfigError: the size is no positive integer.
        ShapeError: x has fewer than three dimensions.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(
            f"the size of local_response_norm is {size!r}.", fix="use an integer of at least 1."
        )
    return LocalResponseNorm(size, float(alpha), float(beta), float(k))(x)


__all__ = ["local_response_norm"]
