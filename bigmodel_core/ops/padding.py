"""Zero padding and nearest-neighbour upsampling of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import ShapeError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec, dim_add, dim_multiply, format_shape
from bigmodel_core.kernels.cpu import padding as cpu_kernels
from bigmodel_core.kernels.cuda import padding as cuda_kernels
from bigmodel_core.ops.images import ImageOp, Padding, Pair, bound_padding, pair


@dataclass(frozen=True)
class Pad2d(ImageOp):
    """Images (N, C, H, W) with zeros around them.

    Args:
        border: rows above, columns left, rows below, columns right.
    """

    border: Padding = (0, 0, 0, 0)
    cpu = cpu_kernels.pad2d
    cuda = cuda_kernels.pad2d

    def bind(self, sizes: Mapping[str, int]) -> Pad2d:
        border = bound_padding(self.border, sizes)
        if any(int(side) < 0 for side in border):
            raise ShapeError(
                f"the padding {format_shape(self.border)} would be {border}.", fix="pad by 0 or more."
            )
        return replace(self, border=border)

    def infer(self, x: Spec) -> Spec:
        n, channels, height, width = self.sizes(x)
        top, left, below, right = self.border
        return x.with_shape(
            self.arranged(
                n, channels, dim_add(height, dim_add(top, below)), dim_add(width, dim_add(left, right))
            )
        )

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        from bigmodel_core.ops.slicing import Slice

        _, _, height, width = self.sizes(x.spec)
        down = 2 if self.layout == "NCHW" else 1
        rows = Slice(down, self.border[0], height)(dy)
        return (Slice(down + 1, self.border[1], width)(rows),)

    def onnx(self, emit: Any, x: Any) -> Any:
        top, left, below, right = self.border
        return emit.Pad(x, emit.shape((0, 0, top, left, 0, 0, below, right)), emit.const(0.0))


def zero_pad(x: Value, border: Padding) -> Value:
    """Images (N, C, H, W) padded with rows and columns of zeros; how many may depend on free sizes."""
    return Pad2d(border)(x)


def upsample_nearest(x: Value, factor: int | Pair) -> Value:
    """Each pixel of images (N, C, H, W) repeated `factor` times down and across."""
    from bigmodel_core.ops.shape import broadcast_to, reshape

    down, across = pair(factor, "factor")
    n, channels, height, width = ImageOp().sizes(x.spec)
    apart = reshape(x, (n, channels, height, 1, width, 1))
    repeated = broadcast_to(apart, (n, channels, height, down, width, across))
    return reshape(repeated, (n, channels, dim_multiply(height, down), dim_multiply(width, across)))


__all__ = ["upsample_nearest", "zero_pad"]
